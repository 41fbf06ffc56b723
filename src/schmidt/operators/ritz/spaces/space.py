"""Spaces: where functions live – which features span them, and at which points they are seen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from schmidt.operators.jet import Function, Jet, JetModule
from schmidt.operators.measures import Lebesgue, Measure, Points, Proposal, Weighted
from schmidt.operators.measures.measure import Field
from schmidt.operators.ritz.trunk import TrunkFeatures


class Frame(JetModule):
    """A module applied to z = A⁻¹(x − centre)."""

    centre: Tensor
    inverse: Tensor

    def __init__(self, module: JetModule, centre: Tensor, lengths: Tensor) -> None:
        super().__init__()
        self.module: Any = module
        self.register_buffer("centre", centre.double())
        self.register_buffer("inverse", torch.linalg.inv(lengths.double()).T.contiguous())

    @property
    def features(self) -> int:
        return int(self.module.features)

    def propagate(self, u: Jet) -> Jet:
        moved = u + (-self.centre)
        return self.module.propagate(Jet(moved.streams @ self.inverse, u.dim, u.order))


GRID_DIMENSIONS = 3
VIOLATION = 1e-6
"""Of boundary conditions, relative to the largest value."""


@dataclass(frozen=True)
class FeatureChoice:
    """What the search chooses, in the space's own units.

    Attributes:
        width: units per hidden layer.
        points: about how many points the equation is imposed on.
        scale: factor of the length scales of the inputs.
        gain: of the trunk's weights: how rough the features are.
        decay: factor of the envelopes' rates.
        envelopes: how many envelopes M.
        depth: hidden layers.
        seed: of the trunk's weights.
    """

    width: int
    points: int
    _: KW_ONLY
    scale: float = 1.0
    gain: float = 1.0
    decay: float = 1.0
    envelopes: int = 1
    depth: int = 2
    seed: int = 0

    def scaled(self, name: str, factor: float) -> FeatureChoice:
        """The same with one of the numbers multiplied; counts are rounded, at least 1."""
        old = getattr(self, name)
        new = old * factor
        return replace(self, **{name: max(1, round(new)) if isinstance(old, int) else new})


def vector(value: float | Sequence[float] | Tensor, dim: int, name: str) -> Tensor:
    """A number or one per axis, as (d,) float64."""
    v = torch.as_tensor(value, dtype=torch.float64)
    if v.ndim and v.shape != (dim,):
        raise ValueError(f"{name} must be a number or have {dim} entries, got {tuple(v.shape)}")
    return v.expand(dim).clone()


def square(value: float | Sequence[float] | Tensor, dim: int, name: str) -> Tensor:
    """A number, one per axis, or a matrix, as (d, d) float64."""
    v = torch.as_tensor(value, dtype=torch.float64)
    if v.ndim < 2:
        return torch.diag(vector(v, dim, name))
    if v.shape != (dim, dim):
        raise ValueError(f"{name} must have shape ({dim}, {dim}), got {tuple(v.shape)}")
    return v.clone()


@torch.no_grad()
def seen(features: Function, mix: Tensor, x: Tensor) -> Tensor:
    """Values of functions at points: (N, L)."""
    return features(x).to(mix.dtype) @ mix


def listed(which: Tensor) -> str:
    """The numbers, from 1, of those that are True."""
    return ", ".join(str(int(i) + 1) for i in torch.nonzero(which).flatten())


class Space(ABC):
    """Functions on a domain of R^d, for the Ritz solver.

    Attributes:
        dim: d.
        ladders: (name of a :class:`FeatureChoice` field, factor): where the search walks.
        accurate: :meth:`rule` is a quadrature that converges fast (d ≤ 3).
        remarks: what a user should know of results found here.
    """

    dim: int
    ladders: tuple[tuple[str, float], ...] = (("gain", 1.6),)
    remarks: tuple[str, ...] = ()

    def __init__(self, dim: int, density: Field | None = None) -> None:
        if dim < 1:
            raise ValueError(f"a space has at least one dimension, got {dim}")
        self.dim, self.density = dim, density

    @property
    def accurate(self) -> bool:
        return self.dim <= GRID_DIMENSIONS

    @abstractmethod
    def start(self, modes: int) -> FeatureChoice:
        """Where the search begins."""

    @abstractmethod
    def inputs(self, choice: FeatureChoice) -> JetModule:
        """The map of the coordinates that the trunk sees."""

    @abstractmethod
    def envelopes(self, choice: FeatureChoice) -> JetModule | None:
        """Factors for decay or boundary values."""

    @abstractmethod
    def proposal(self) -> Proposal:
        """Where points are drawn."""

    def allows(self, choice: FeatureChoice) -> bool:
        """Whether a choice makes sense here; keeps the search inside."""
        return 0.05 <= choice.gain <= 32 and 0.05 <= choice.scale <= 20 and choice.envelopes <= 8

    def neighbours(self, fineness: float = 1.0) -> Iterator[tuple[str, float]]:
        """Where the search can go from any choice: (name of a number, factor of one step).

        Numbers that count are multiplied by the ladder's factor, others by its power
        ``fineness``, up and down; points only become more.
        """
        for name, factor in self.ladders:
            counts = isinstance(getattr(FeatureChoice(1, 1), name), int)
            rung = factor if counts else factor**fineness
            yield name, rung
            if name != "points":
                yield name, 1 / rung

    def features(self, choice: FeatureChoice) -> TrunkFeatures:
        return TrunkFeatures(
            self.inputs(choice),
            self.envelopes(choice),
            width=choice.width,
            depth=choice.depth,
            gain=choice.gain,
            seed=choice.seed,
        )

    def measure(self) -> Measure:
        """dx, or density·dx."""
        plain = Lebesgue(self.proposal())
        return plain if self.density is None else Weighted(plain, self.density)

    def rule(self, n: int) -> Points:
        """About n points to impose the equation on: a quadrature for d ≤ 3, Sobol points beyond."""
        if self.accurate:
            found = self.measure().rule(self.per_axis(n))
            if found is not None:
                return found
        return self.fresh(n, torch.Generator().manual_seed(1))

    def per_axis(self, n: int) -> int:
        """Points per axis of a rule of about n points."""
        return max(4, round(n ** (1 / self.dim)))

    def fresh(self, n: int, generator: torch.Generator) -> Points:
        """n random points, independent of :meth:`rule`; weighted sums are unbiased."""
        return self.measure().fresh(n, generator)

    def independent(self, n: int, generator: torch.Generator) -> Points:
        """About n random points to judge on, spread as evenly as this space allows; unbiased."""
        return self.measure().sample(n, generator)

    def singularities(self) -> Tensor:
        """(c, d) points where T f may be unbounded unless f has the right cusp."""
        return torch.zeros(0, self.dim, dtype=torch.float64)

    def violations(self, features: Function, mix: Tensor) -> list[str]:
        """Sentences on how functions that a user brings break the conditions of this space: values
        on walls, periodicity, decay. Features of the space's own keep them by construction."""
        return []

    def refocused(self, points: Points, states: Jet) -> Space:
        """The same space with coordinates and points fitted to found states (jets of order 1)."""
        return self
