"""Measures: a way to draw weighted points, and fixed points to evaluate on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from schmidt.arrays import tensor
from schmidt.operators.measures import cube
from schmidt.operators.measures.points import Points
from schmidt.operators.measures.proposals import Proposal

EVALUATION_POINTS = 2**16
EVALUATION_LIMIT = 2**20
EVALUATION_SEED = 20240721


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
        rule = self.rule(n)
        if rule is not None:
            return rule
        generator = torch.Generator().manual_seed(EVALUATION_SEED)
        return self.fresh(n or EVALUATION_POINTS, generator)

    def rule(self, n: int | None = None) -> Points | None:
        """A fine quadrature with ``n`` points per axis (default: enough), or None."""
        return None

    def fresh(self, n: int, generator: torch.Generator) -> Points:
        """``n`` random points for judging without a rule, spread as evenly as can be."""
        return self.sample(n, generator)


class _Proposed(Measure):
    def __init__(self, proposal: Proposal, sampling: str | None = None) -> None:
        self.proposal = proposal
        self.dim = proposal.dim
        self.spread = cube.sampling(sampling or proposal.sampling)

    def sample(self, n: int, generator: torch.Generator) -> Points:
        if n < 1:
            raise ValueError(f"cannot sample {n} points")
        return self._weigh(self.spread(n, self.proposal.aspect, generator))

    def fresh(self, n: int, generator: torch.Generator) -> Points:
        return self._weigh(cube.sobol(n, self.proposal.aspect, generator))

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

    def rule(self, n: int | None = None) -> Points | None:
        rule = self.proposal.rule(n)
        return None if rule is None else Points(*rule)


class Distribution(_Proposed):
    """The probability measure p(x) dx itself: weights 1/N. For kernels under a known law."""

    def _weigh(self, u: Tensor) -> Points:
        x = self.proposal.transform(u)
        return Points(x, x.new_full((len(x),), 1 / len(x)))

    def rule(self, n: int | None = None) -> Points | None:
        rule = self.proposal.rule(n)
        if rule is None:
            return None
        x, w = rule
        mass = w * self.proposal.density(x)
        total = float(mass.sum())
        # rules are made for dx: one that cannot integrate p itself is of no use here
        return Points(x, mass / total) if abs(total - 1) < 1e-3 else None


class Data(Measure):
    """The empirical measure of given points: minibatches without replacement.

    Args:
        x: (n, d) points.
        weight: (n,) their masses; default 1/n each.
    """

    def __init__(self, x: Any, weight: Any | None = None) -> None:
        self.x = tensor(x)
        if self.x.ndim != 2 or len(self.x) == 0:
            raise ValueError(f"data must have shape (points, d), got {tuple(self.x.shape)}")
        if self.x.is_floating_point() and not bool(self.x.isfinite().all()):
            raise ValueError("the data contain NaN or Inf; remove those rows first")
        size = len(self.x)
        equal = torch.full((size,), 1 / size, dtype=torch.float64)
        mass = equal if weight is None else tensor(weight).double()
        if not bool(((mass >= 0) & mass.isfinite()).all()):
            raise ValueError("masses must be finite and not negative")
        self.points = Points(self.x, mass)
        self.dim = self.x.shape[1]

    def sample(self, n: int, generator: torch.Generator) -> Points:
        return _subset(self.points, n, generator)

    def rule(self, n: int | None = None) -> Points | None:
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

    def rule(self, n: int | None = None) -> Points | None:
        return self.points


def _subset(points: Points, n: int, generator: torch.Generator) -> Points:
    size = len(points)
    if n < 1:
        raise ValueError(f"cannot sample {n} points")
    if n >= size:
        return points
    chosen = torch.randperm(size, generator=generator)[:n]
    return Points(points.x[chosen], points.weight[chosen] * (size / n))
