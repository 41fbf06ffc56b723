"""A measure with a density relative to another one."""

from __future__ import annotations

import torch
from torch import Tensor

from schmidt.operators.measures.field import Field, evaluate
from schmidt.operators.measures.measure import Measure
from schmidt.operators.measures.points import Points


class Weighted(Measure):
    """ρ(x) μ(dx): the points of μ, with their weights times ρ.

    Args:
        measure: μ. If it is itself a Weighted, the densities multiply.
        density: ρ ≥ 0, points (B, d) → (B,), or a number.
    """

    def __init__(self, measure: Measure, density: Field) -> None:
        self.base: Measure = measure
        self.fields: tuple[Field, ...] = (density,)
        if isinstance(measure, Weighted):
            self.base, self.fields = measure.base, (*measure.fields, density)
        self.dim = measure.dim

    def density(self, x: Tensor) -> Tensor:
        """ρ at points (B, d), relative to the innermost measure."""
        values = evaluate(self.fields[0], x, "the density")
        for field in self.fields[1:]:
            values = values * evaluate(field, x, "the density")
        good = (values >= 0) & values.isfinite()
        if not bool(good.all()):
            i = int(torch.nonzero(~good)[0])
            raise ValueError(
                f"a density must be finite and not negative: it is {float(values[i])} at "
                f"x = {x[i].tolist()}"
            )
        return values

    def _weigh(self, points: Points) -> Points:
        return Points(points.x, points.weight * self.density(points.x).detach())

    def sample(self, n: int, generator: torch.Generator) -> Points:
        return self._weigh(self.base.sample(n, generator))

    def rule(self, n: int | None = None) -> Points | None:
        rule = self.base.rule(n)
        return None if rule is None else self._weigh(rule)

    def fresh(self, n: int, generator: torch.Generator) -> Points:
        return self._weigh(self.base.fresh(n, generator))

    def evaluation(self, n: int | None = None) -> Points:
        return self._weigh(self.base.evaluation(n))
