"""The dependence kernel of a joint law that is known exactly: a table of probabilities."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from schmidt.arrays import tensor
from schmidt.operators.form import Form, Sample, inner
from schmidt.operators.jet import Jet
from schmidt.operators.measures import Points
from schmidt.operators.pairs import GivenPairs, LoaderPairs, PairSampler, checked_pairs

LEAST_TO_PART = 8
"""Pairs; of fewer, no half can judge the other."""


class Dependence(Form):
    """K(y, x) = p(x, y)/(p(x)p(y)) − 1 from L²(p(x)) to L²(p(y)), through pairs (sec. 4.2).

    ⟨g|K f⟩ = E_{p(x,y)}[g(y)f(x)] − E[g]E[f]: the constant first mode, which carries no dependence,
    is taken out. The estimate from n pairs is unbiased (the sample covariance: products of means
    run over different pairs only).

    Args:
        pairs: (x, y) or (x, y, weight), arrays with one row per pair; or a function that draws
            pairs, such as the samplers in ``pairs.py``. Weights are masses on any scale. Given
            pairs are drawn in proportion to them; weights that a sampler returns are used as they
            are, relative to their sum in the sample, in all means – also those that gradients are
            made of.
        held_out: pairs to judge on; default: the given pairs, or drawn ones.
        centred: False keeps the constant mode: the kernel p(x, y)/(p(x)p(y)).
        biased: divide by n instead of n − 1. Right where the pairs with their weights are the whole
            law, and not a sample of it.

    Singular values are canonical correlations; the first is Hirschfeld–Gebelein–Rényi's.
    """

    self_adjoint = False
    one_space = False
    additive = False
    solving_points = 2**15

    def __init__(
        self,
        pairs: tuple[Any, ...] | PairSampler,
        held_out: tuple[Any, ...] | None = None,
        *,
        centred: bool = True,
        biased: bool = False,
    ) -> None:
        self.draw: PairSampler = pairs if callable(pairs) else GivenPairs(*pairs)
        self.held_out = None if held_out is None else GivenPairs(*held_out)
        self.centred, self.biased = centred, biased
        self.repeatable = not _has_loader(self.draw)

    def sample(self, n: int, generator: torch.Generator) -> Sample:
        x, y, *weight = self.draw(n, generator)
        if not isinstance(self.draw, GivenPairs):
            x, y = checked_pairs(x, y)
        return _sample(x, y, weight[0] if weight else None)

    def evaluation(self, n: int | None = None) -> Sample:
        known = self.held_out or (self.draw if isinstance(self.draw, GivenPairs) else None)
        return super().evaluation(n) if known is None else _sample(known.x, known.y, known.weight)

    def solving(self, generator: torch.Generator) -> tuple[Sample, Sample]:
        """Given pairs are parted, so that no pair judges what it has made."""
        given = self.draw
        if not isinstance(given, GivenPairs) or len(given) < LEAST_TO_PART:
            return super().solving(generator)
        order = torch.randperm(len(given), generator=generator)
        halves = [h[: self.solving_points] for h in order.tensor_split(2)]
        if self.held_out is None:
            first, second = (given.only(h) for h in halves)
        else:
            first, second = given.only(order[: self.solving_points]), self.held_out
        return _sample(first.x, first.y, first.weight), _sample(second.x, second.y, second.weight)

    @property
    def with_constant(self) -> Dependence:
        """The same pairs with the constant mode kept."""
        other = Dependence(self.draw, centred=False, biased=self.biased)
        other.held_out = self.held_out
        return other

    def matrix(self, g: Jet, f: Jet, sample: Sample) -> Tensor:
        w = sample.x.weight
        left, right = g.value, f.value
        if self.centred:
            left, right = left - _mean(left, w), right - _mean(right, w)
        out = inner(left, right, w)
        return out / (1 - w.square().sum()) if self.centred and not self.biased else out


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return torch.tensordot(weight, values, dims=1)


def _has_loader(draw: Any) -> bool:
    """Whether pairs come from a loader, whose randomness is its own."""
    inside = getattr(draw, "pairs", None)
    return isinstance(draw, LoaderPairs) or (inside is not None and _has_loader(inside))


def _sample(x: Tensor, y: Tensor, weight: Tensor | None) -> Sample:
    if weight is None:
        weight = torch.ones(len(x), dtype=torch.float64)
    weight = weight.double() / weight.double().sum()
    return Sample(Points(x, weight), Points(y, weight))


class JointTable(Form):
    """K(y, x) = P(x, y)/(p(x)q(y)) − 1 of a table P, exactly (correspondence analysis).

    Its singular values are those of D_x^{-1/2}(P − p qᵀ)D_y^{-1/2}.

    Args:
        table: (n, m) not negative, on any scale; rows are values of x, columns values of y. Rows
            and columns of zeros are refused.
        x, y: the points that rows and columns stand for, (n, d) and (m, d'), for networks of
            coordinates; default: indices, for an :class:`~schmidt.operators.IndexTable`.
        centred: False keeps the constant mode with singular value 1.

    Every sample is the whole table, whatever number is asked for.
    """

    self_adjoint = False
    one_space = False
    additive = False

    def __init__(
        self, table: Any, x: Any | None = None, y: Any | None = None, *, centred: bool = True
    ) -> None:
        p = tensor(table).double()
        if p.ndim != 2 or not bool((p.isfinite() & (p >= 0)).all()):
            raise ValueError("a joint table must be a matrix of finite numbers, none negative")
        self.table = p / p.sum()
        self.centred = centred
        margins = self.table.sum(1), self.table.sum(0)
        for name, margin in zip(("row", "column"), margins, strict=True):
            if not bool((margin > 0).all()):
                raise ValueError(f"{name} {int(margin.argmin())} of the joint table is zero")
        points = [
            torch.arange(len(margin)) if given is None else tensor(given)
            for given, margin in zip((x, y), margins, strict=True)
        ]
        self.whole = Sample(*(Points(*side) for side in zip(points, margins, strict=True)))

    def sample(self, n: int, generator: torch.Generator) -> Sample:
        return self.whole

    def evaluation(self, n: int | None = None) -> Sample:
        return self.whole

    def quadrature(self) -> Sample | None:
        return self.whole

    @property
    def with_constant(self) -> JointTable:
        """The same table with the constant mode kept."""
        return JointTable(self.table, self.whole.x.x, self.whole.y.x, centred=False)

    def matrix(self, g: Jet, f: Jet, sample: Sample) -> Tensor:
        left, right = g.value, f.value
        out = left.T @ (self.table.to(right).T @ right)
        if self.centred:
            one = left.new_ones(1)
            mean_g = inner(left, one.expand(len(left), 1), sample.y.weight)
            mean_f = inner(right, one.expand(len(right), 1), sample.x.weight)
            out = out - mean_g @ mean_f.T
        return out
