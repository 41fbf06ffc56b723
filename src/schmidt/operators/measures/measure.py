"""Measures: weighted points at random, fixed ones to evaluate on, densities, products, fields."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from schmidt.arrays import tensor
from schmidt.operators.measures import cube
from schmidt.operators.measures.proposals import Proposal
from schmidt.parameters import Number, check


@dataclass(frozen=True)
class Points:
    """Points ``x`` (N, d) – or indices (N,) – and ``weight`` (N,) with Σ weight h(x) ≈ ∫ h dμ."""

    x: Tensor
    weight: Tensor

    def __post_init__(self) -> None:
        if self.weight.shape != self.x.shape[:1]:
            raise ValueError(
                f"{self.x.shape[0]} points need weights of shape ({self.x.shape[0]},), "
                f"got {tuple(self.weight.shape)}"
            )

    def __len__(self) -> int:
        return len(self.weight)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Points:
        """On another device, in another dtype (indices stay integers)."""
        x = self.x.to(device=device, dtype=dtype if self.x.is_floating_point() else None)
        return Points(x, self.weight.to(device=device, dtype=dtype))

    def part(self, index: slice) -> Points:
        return Points(self.x[index], self.weight[index])


Field = Callable[[Tensor], Tensor | float]
"""A scalar field: points (B, d) to values (B,), or to one number for all of them."""


def cast(values: Tensor | float, x: Tensor, name: str) -> Tensor:
    """What a field returned at points x, on their device and in their precision."""
    dtype = x.dtype if x.is_floating_point() else torch.float64
    if not isinstance(values, Tensor):
        return torch.as_tensor(values, dtype=dtype, device=x.device)
    if values.is_complex():
        raise ValueError(f"{name} must be real, got {values.dtype}")
    return values.to(x.device, dtype)


def evaluate(field: Field, x: Tensor, name: str) -> Tensor:
    """The values (B,) of a field at points (B, d); ``name`` says in errors which field it is."""
    values = cast(field(x), x, name)
    if values.ndim == 0:
        return values.expand(len(x))
    if values.shape != x.shape[:1]:
        raise ValueError(
            f"{name} must map points (B, d) to values (B,): it gave {tuple(values.shape)} for "
            f"points {tuple(x.shape)}"
        )
    return values


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
        check({"size": Number(1, whole=True)}, size=size)
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
