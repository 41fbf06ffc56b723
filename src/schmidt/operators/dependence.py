"""The canonical dependence kernel of two variables, known through pairs of samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from schmidt.arrays import tensor
from schmidt.operators.form import Form, Sample
from schmidt.operators.jet import Jet
from schmidt.operators.measures import Points

PairSampler = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
"""(n, generator) → x (n, d), y (n, d'): n independent pairs of p(x, y)."""


class Dependence(Form):
    """K(y, x) = p(x, y)/(p(x)p(y)) − 1 from L²(p(x)) to L²(p(y)), through pairs (sec. 4.2).

    ⟨g|K f⟩ = E_{p(x,y)}[g(y)f(x)] − E[g]E[f]: the constant first mode, which carries no dependence,
    is taken out. The estimate from n pairs is unbiased (the sample covariance).

    Args:
        pairs: (x, y), arrays with one row per pair; or a function that draws pairs.
        held_out: pairs to judge on; default: the given pairs, or drawn ones.

    Singular values are canonical correlations; the first is Hirschfeld–Gebelein–Rényi's.
    """

    self_adjoint = False
    one_space = False
    additive = False

    def __init__(
        self, pairs: tuple[Any, Any] | PairSampler, held_out: tuple[Any, Any] | None = None
    ) -> None:
        self.draw = pairs if callable(pairs) else None
        self.pairs = None if callable(pairs) else _checked(pairs)
        self.held_out = None if held_out is None else _checked(held_out)

    def sample(self, n: int, generator: torch.Generator) -> Sample:
        if self.draw is not None:
            return _sample(*_checked(self.draw(n, generator)))
        assert self.pairs is not None
        x, y = self.pairs
        chosen = torch.randint(len(x), (n,), generator=generator)
        return _sample(x[chosen], y[chosen])

    def evaluation(self, n: int | None = None) -> Sample:
        known = self.held_out or self.pairs
        return super().evaluation(n) if known is None else _sample(*known)

    def matrix(self, g: Jet, f: Jet, sample: Sample) -> Tensor:
        left, right = g.value, f.value
        n = len(left)
        left, right = left - left.mean(0), right - right.mean(0)
        return torch.einsum("bi...,bj...->ij", left, right) / (n - 1)


def _checked(pairs: tuple[Any, Any]) -> tuple[Tensor, Tensor]:
    x, y = (tensor(side) for side in pairs)
    if len(x) != len(y) or len(x) < 2:
        raise ValueError(f"pairs need as many x as y, and at least two: got {len(x)} and {len(y)}")
    for name, side in (("x", x), ("y", y)):
        if side.is_floating_point() and not bool(side.isfinite().all()):
            raise ValueError(
                f"the {name} of the pairs contain NaN or Inf; remove those pairs first"
            )
    return x, y


def _sample(x: Tensor, y: Tensor) -> Sample:
    weight = torch.full((len(x),), 1 / len(x), dtype=torch.float64)
    return Sample(Points(x, weight), Points(y, weight))
