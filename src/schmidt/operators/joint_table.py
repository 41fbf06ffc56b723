"""The dependence kernel of a joint law that is known exactly: a table of probabilities."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from schmidt.arrays import tensor
from schmidt.operators.form import Form, Sample, inner
from schmidt.operators.jet import Jet
from schmidt.operators.measures import Points


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
