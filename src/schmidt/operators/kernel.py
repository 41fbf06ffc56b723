"""Integral operators (K f)(y) = ∫ k(y, x) f(x) μ(dx)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from schmidt.operators.form import Form, Sample
from schmidt.operators.jet import Jet
from schmidt.operators.measures import Measure, Points
from schmidt.operators.measures.measure import EVALUATION_SEED

KernelFunction = Callable[[Tensor, Tensor], Tensor]
"""k(y, x): points (N, d'), (M, d) to the matrix (N, M)."""

BLOCK = 2**24
"""Kernel values held at once."""

MOST_POINTS = 2**13
"""Points to judge on: more would take minutes, not give digits."""


class Kernel(Form):
    """An integral operator from L²(X, μ) to L²(Y, ν), by default on one space.

    Args:
        kernel: k(y, x), points (N, d'), (M, d) → (N, M).
        domain: μ, for the argument x.
        codomain: ν, for y; default μ.
        symmetric: True if k(x, y) = k(y, x) and X = Y; default: to be measured if X = Y.

    x and y are drawn independently, so the estimate of ⟨g|Kf⟩ over all B² pairs is unbiased. Cost
    per step: B² kernel values and O(B²L).
    """

    additive = False
    solving_points = 2**11

    def __init__(
        self,
        kernel: KernelFunction,
        domain: Measure,
        codomain: Measure | None = None,
        *,
        symmetric: bool | None = None,
    ) -> None:
        if symmetric and codomain is not None and codomain is not domain:
            raise ValueError("a symmetric kernel lives on one space: leave codomain out")
        self.kernel = kernel
        self.domain = domain
        self.codomain = domain if codomain is None else codomain
        self.one_space = self.codomain is domain
        self.self_adjoint = symmetric if self.one_space else False

    def sample(self, n: int, generator: torch.Generator) -> Sample:
        return Sample(self.domain.sample(n, generator), self.codomain.sample(n, generator))

    def evaluation(self, n: int | None = None) -> Sample:
        x = _judging_points(self.domain, n)
        return Sample(x, x if self.one_space else _judging_points(self.codomain, n))

    def quadrature(self) -> Sample | None:
        sides = self.domain.rule(), self.codomain.rule()
        if any(side is None or len(side) > MOST_POINTS for side in sides):
            return None
        return self.evaluation()

    def _values(self, y: Tensor, x: Tensor) -> Tensor:
        values = self.kernel(y, x).to(x)
        if values.shape != (len(y), len(x)):
            raise ValueError(
                f"the kernel must return shape ({len(y)}, {len(x)}), got {tuple(values.shape)}"
            )
        return values

    def action(self, f: Jet, sample: Sample) -> Tensor:
        """(K f)(y) at the points of Y, estimated from those of X."""
        weighted = f.value * sample.x.weight.reshape(-1, *[1] * (f.value.ndim - 1))
        rows = max(1, BLOCK // len(sample.x))
        parts = [
            torch.tensordot(self._values(y, sample.x.x), weighted, dims=1)
            for y in sample.y.x.split(rows)
        ]
        return torch.cat(parts)

    def matrix(self, g: Jet, f: Jet, sample: Sample) -> Tensor:
        image = self.action(f, sample)
        weighted = g.value * sample.y.weight.reshape(-1, *[1] * (g.value.ndim - 1))
        return torch.einsum("bi...,bj...->ij", weighted, image)


def _judging_points(measure: Measure, n: int | None) -> Points:
    points = measure.evaluation(n)
    if len(points) <= MOST_POINTS:
        return points
    return measure.fresh(MOST_POINTS, torch.Generator().manual_seed(EVALUATION_SEED))
