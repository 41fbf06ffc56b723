"""Products of measures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from schmidt.operators.measures.measure import (
    EVALUATION_LIMIT,
    EVALUATION_POINTS,
    EVALUATION_SEED,
    Indices,
    Measure,
)
from schmidt.operators.measures.points import Points
from schmidt.operators.measures.weighted import Weighted

ENOUGH = 2**13
"""The fewest points that stand for the factors without a rule, beside the rules of the others."""


class Product(Measure):
    """The product of measures on consecutive blocks of coordinates, independently sampled."""

    def __init__(self, *factors: Measure) -> None:
        if not factors:
            raise ValueError("a product measure needs at least one factor")
        for f in factors:
            if isinstance(f.base if isinstance(f, Weighted) else f, Indices):
                raise ValueError(
                    "Indices cannot be a factor of a product: its points are integers, not "
                    "vectors of coordinates. Use Data([[0.0], [1.0], …], weight=[1.0, 1.0, …]), "
                    "which makes the index a coordinate"
                )
        self.factors = factors
        self.dim = sum(f.dim for f in factors)

    def sample(self, n: int, generator: torch.Generator) -> Points:
        return _paired([f.sample(n, generator) for f in self.factors], generator)

    def fresh(self, n: int, generator: torch.Generator) -> Points:
        return _paired([f.fresh(n, generator) for f in self.factors], generator)

    def rule(self, n: int | None = None) -> Points | None:
        """All combinations of the factors' rules, if all have one and they stay below a million."""
        for per_axis in (None, 80, 36) if n is None else (n,):
            rules = [r for f in self.factors if (r := f.rule(per_axis)) is not None]
            if len(rules) < len(self.factors):
                return None
            if _size(rules) <= EVALUATION_LIMIT:
                return _combined(rules)
        return None

    def evaluation(self, n: int | None = None) -> Points:
        """All combinations of the factors' points while they stay below a million, else samples.

        ``n`` is per axis for factors with a rule. Factors without one get their default number of
        points, or as many as the million leaves room for.
        """
        for per_axis in (None, 80, 36) if n is None else (n,):
            parts = [f.rule(per_axis) for f in self.factors]
            rough = [i for i, part in enumerate(parts) if part is None]
            if len(rough) == len(parts):
                return super().evaluation(n)
            if rough:
                room = EVALUATION_LIMIT // _size([p for p in parts if p is not None])
                share = min(EVALUATION_POINTS, math.floor((room + 0.5) ** (1 / len(rough))))
                if share < ENOUGH:
                    continue
                for i in rough:
                    # a power of two, which Sobol points like best
                    parts[i] = self.factors[i].evaluation(2 ** (share.bit_length() - 1))
            points = [p for p in parts if p is not None]
            if _size(points) <= EVALUATION_LIMIT:
                return _combined(points)
        generator = torch.Generator().manual_seed(EVALUATION_SEED)
        return self.fresh(max(n or 0, EVALUATION_POINTS), generator)


def _size(parts: Sequence[Points]) -> int:
    return math.prod(len(p) for p in parts)


def _paired(parts: Sequence[Points], generator: torch.Generator) -> Points:
    """Points of every factor joined at random."""
    size = min(len(p) for p in parts)
    order = [torch.randperm(len(p), generator=generator)[:size] for p in parts]
    x = torch.cat([p.x[i] for p, i in zip(parts, order, strict=True)], 1)
    mass = [p.weight[i] * (len(p) / size) for p, i in zip(parts, order, strict=True)]
    return Points(x, torch.stack(mass).prod(0) * size ** (len(parts) - 1))


def _combined(parts: Sequence[Points]) -> Points:
    """All combinations of the factors' points."""
    index = torch.cartesian_prod(*[torch.arange(len(p)) for p in parts])
    index = index.reshape(-1, len(parts)).T
    x = torch.cat([p.x[i] for p, i in zip(parts, index, strict=True)], 1)
    weight = torch.stack([p.weight[i] for p, i in zip(parts, index, strict=True)]).prod(0)
    return Points(x, weight)
