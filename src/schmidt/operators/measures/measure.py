"""Measures: a way to draw weighted points, and fixed points to evaluate on."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from schmidt.operators.measures import cube
from schmidt.operators.measures.points import Points
from schmidt.operators.measures.proposals import Proposal

EVALUATION_POINTS = 2**16
EVALUATION_LIMIT = 2**20
EVALUATION_SEED = 20240721


def _tensor(a: Any) -> Tensor:
    # a copy of an array, because torch takes neither reversed nor read-only views
    return a if isinstance(a, Tensor) else torch.from_numpy(np.array(a))


class Measure(ABC):
    """μ on a domain. Points are made in float64; the fit casts them to its own dtype."""

    dim: int

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator) -> Points:
        """About ``n`` random points whose weighted sums are unbiased for ∫ … dμ."""

    def evaluation(self, n: int | None = None) -> Points:
        """Fixed points to judge results on, never used in training.

        A fine quadrature where there is one (d ≤ 3; ``n`` per axis), else ``n`` fresh Sobol points.
        """
        return self.sample(n or EVALUATION_POINTS, torch.Generator().manual_seed(EVALUATION_SEED))


class _Proposed(Measure):
    def __init__(self, proposal: Proposal, sampling: str | None = None) -> None:
        self.proposal = proposal
        self.dim = proposal.dim
        self.spread = cube.sampling(sampling or proposal.sampling)

    def sample(self, n: int, generator: torch.Generator) -> Points:
        if n < 1:
            raise ValueError(f"cannot sample {n} points")
        return self._weigh(self.spread(n, self.proposal.aspect, generator))

    def _weigh(self, u: Tensor) -> Points:
        raise NotImplementedError


class Lebesgue(_Proposed):
    """dx, through a proposal density: weights 1/(N p(x)) (importance sampling, D.3).

    Args:
        proposal: density p, positive wherever the functions live.
        sampling: "lattice" (randomly shifted grid), "stratified" (jittered), "sobol" or "plain";
            default: what suits the proposal.
    """

    def _weigh(self, u: Tensor) -> Points:
        x = self.proposal.transform(u)
        return Points(x, self.proposal.weights(u, x) / len(x))

    def evaluation(self, n: int | None = None) -> Points:
        rule = self.proposal.rule(n)
        if rule is None:
            generator = torch.Generator().manual_seed(EVALUATION_SEED)
            return Lebesgue(self.proposal, "sobol").sample(n or EVALUATION_POINTS, generator)
        return Points(*rule)


class Distribution(_Proposed):
    """The probability measure p(x) dx itself: weights 1/N. For kernels under a known law."""

    def _weigh(self, u: Tensor) -> Points:
        x = self.proposal.transform(u)
        return Points(x, x.new_full((len(x),), 1 / len(x)))

    def evaluation(self, n: int | None = None) -> Points:
        rule = self.proposal.rule(n)
        if rule is not None:
            x, w = rule
            mass = w * self.proposal.density(x)
            # rules are made for dx: one that cannot integrate p itself is of no use here
            if abs(float(mass.sum()) - 1) < 1e-3:
                return Points(x, mass)
        generator = torch.Generator().manual_seed(EVALUATION_SEED)
        return Distribution(self.proposal, "sobol").sample(n or EVALUATION_POINTS, generator)


class Data(Measure):
    """The empirical measure of given points: minibatches without replacement.

    Args:
        x: (n, d) points.
        weight: (n,) their masses; default 1/n each.
    """

    def __init__(self, x: Any, weight: Any | None = None) -> None:
        self.x = _tensor(x)
        if self.x.ndim != 2 or len(self.x) == 0:
            raise ValueError(f"data must have shape (points, d), got {tuple(self.x.shape)}")
        if self.x.is_floating_point() and not bool(self.x.isfinite().all()):
            raise ValueError("the data contain NaN or Inf; remove those rows first")
        size = len(self.x)
        equal = torch.full((size,), 1 / size, dtype=torch.float64)
        mass = equal if weight is None else _tensor(weight).double()
        if not bool(((mass >= 0) & mass.isfinite()).all()):
            raise ValueError("masses must be finite and not negative")
        self.points = Points(self.x, mass)
        self.dim = self.x.shape[1]

    def sample(self, n: int, generator: torch.Generator) -> Points:
        return _subset(self.points, n, generator)

    def evaluation(self, n: int | None = None) -> Points:
        return self.points


class Indices(Measure):
    """Counting measure on {0, …, size − 1}: the domain of a matrix."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"an index set needs at least one element, got size={size}")
        self.size = size
        self.dim = 1
        self.points = Points(torch.arange(size), torch.ones(size, dtype=torch.float64))

    def sample(self, n: int, generator: torch.Generator) -> Points:
        return _subset(self.points, n, generator)

    def evaluation(self, n: int | None = None) -> Points:
        return self.points


def _subset(points: Points, n: int, generator: torch.Generator) -> Points:
    size = len(points)
    if n < 1:
        raise ValueError(f"cannot sample {n} points")
    if n >= size:
        return points
    chosen = torch.randperm(size, generator=generator)[:n]
    return Points(points.x[chosen], points.weight[chosen] * (size / n))


class Product(Measure):
    """The product of measures on consecutive blocks of coordinates, independently sampled."""

    def __init__(self, *factors: Measure) -> None:
        if not factors:
            raise ValueError("a product measure needs at least one factor")
        self.factors = factors
        self.dim = sum(f.dim for f in factors)

    def sample(self, n: int, generator: torch.Generator) -> Points:
        drawn = [f.sample(n, generator) for f in self.factors]
        size = min(len(p) for p in drawn)
        order = [torch.randperm(len(p), generator=generator)[:size] for p in drawn]
        x = torch.cat([p.x[i] for p, i in zip(drawn, order, strict=True)], 1)
        mass = [p.weight[i] * (len(p) / size) for p, i in zip(drawn, order, strict=True)]
        weight = torch.stack(mass).prod(0) * size ** (len(drawn) - 1)
        return Points(x, weight)

    def evaluation(self, n: int | None = None) -> Points:
        """All combinations of the factors' points while they stay below a million, else samples."""
        for per_axis in (None, 80, 36) if n is None else (n,):
            rules: Sequence[Points] = [f.evaluation(per_axis) for f in self.factors]
            if math.prod(len(p) for p in rules) <= EVALUATION_LIMIT:
                return self._combine(rules)
        return super().evaluation(n)

    @staticmethod
    def _combine(rules: Sequence[Points]) -> Points:
        index = torch.cartesian_prod(*[torch.arange(len(p)) for p in rules])
        index = index.reshape(-1, len(rules)).T
        x = torch.cat([p.x[i] for p, i in zip(rules, index, strict=True)], 1)
        weight = torch.stack([p.weight[i] for p, i in zip(rules, index, strict=True)]).prod(0)
        return Points(x, weight)
