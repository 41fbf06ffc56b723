"""Functions on a box that vanish on its walls, and periodic functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from schmidt.operators.jet import Function, Jet, JetModule
from schmidt.operators.measures import Periodic, Proposal, UniformBox
from schmidt.operators.measures.measure import Field
from schmidt.operators.networks import BoxMask, PeriodicInputs
from schmidt.operators.ritz.spaces.space import (
    VIOLATION,
    FeatureChoice,
    Frame,
    Space,
    listed,
    seen,
    vector,
)

Sides = float | Sequence[float] | Tensor


def _sides(low: Sides, high: Sides, dim: int) -> tuple[Tensor, Tensor]:
    a, b = vector(low, dim, "low"), vector(high, dim, "high")
    if not bool((a < b).all()):
        raise ValueError(f"a box needs low < high on every axis, got {low} and {high}")
    return a, b


class _Waves(JetModule):
    """cos πt_i and 2t_i − 1 of coordinates t in [0, 1]^d."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.features = 2 * dim

    def propagate(self, u: Jet) -> Jet:
        phase = u * math.pi
        c, s = phase.value.cos(), phase.value.sin()
        return Jet.cat([phase.chain(c, -s, -c), (u + (-0.5)) * 2.0])


class _Walls(JetModule):
    """Π sin πt_i, and if asked Π 4t_i(1 − t_i): zero on the walls, one in the middle."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.polynomial = BoxMask(0.0, 1.0)

    def propagate(self, u: Jet) -> Jet:
        phase = u * math.pi
        c, s = phase.value.cos(), phase.value.sin()
        sine = phase.chain(s, c, -s).prod()
        if self.count == 1:
            return sine
        return Jet.cat([sine, self.polynomial.propagate(u)])


class BoxSpace(Space):
    """Functions on Π [low_i, high_i] that vanish on the walls (Dirichlet).

    Args:
        dim: d.
        low, high: numbers, or one per axis.
    """

    ladders: tuple[tuple[str, float], ...] = (("gain", 1.6), ("envelopes", 2.0))

    def __init__(
        self, dim: int, *, low: Sides = 0.0, high: Sides = 1.0, density: Field | None = None
    ) -> None:
        super().__init__(dim, density)
        self.low, self.high = _sides(low, high, dim)
        if not self.accurate:
            self.ladders = (*self.ladders, ("points", 2.0))

    def start(self, modes: int) -> FeatureChoice:
        if self.accurate:
            return FeatureChoice(width=32, points=1500)
        return FeatureChoice(width=96, points=4096, gain=0.5)

    def allows(self, choice: FeatureChoice) -> bool:
        return super().allows(choice) and choice.envelopes <= 2

    def inputs(self, choice: FeatureChoice) -> JetModule:
        return Frame(_Waves(self.dim), self.low, torch.diag(self.high - self.low))

    def envelopes(self, choice: FeatureChoice) -> JetModule:
        return Frame(_Walls(choice.envelopes), self.low, torch.diag(self.high - self.low))

    def proposal(self) -> Proposal:
        return UniformBox(self.low.tolist(), self.high.tolist(), self.dim)

    def violations(self, features: Function, mix: Tensor) -> list[str]:
        """Functions must vanish on every wall."""
        inside = self._probe()
        walls = []
        for axis in range(self.dim):
            for side in (self.low, self.high):
                at = inside.clone()
                at[:, axis] = side[axis]
                walls.append(at)
        f, edge = seen(features, mix, inside), seen(features, mix, torch.cat(walls))
        bad = edge.abs().amax(0) > VIOLATION * f.abs().amax(0)
        if not bool(bad.any()):
            return []
        return [
            f"functions {listed(bad)} do not vanish on the walls of the box: the values are not "
            "those of the operator with zero boundary values; multiply the features by a mask"
        ]

    def _probe(self) -> Tensor:
        u = torch.rand(512, self.dim, generator=torch.Generator().manual_seed(6)).double()
        return self.low + u * (self.high - self.low)


class TorusSpace(Space):
    """Periodic functions on [0, period]^d."""

    ladders: tuple[tuple[str, float], ...] = (("gain", 1.6), ("envelopes", 2.0))

    def __init__(
        self, dim: int, period: float = 2 * math.pi, *, density: Field | None = None
    ) -> None:
        super().__init__(dim, density)
        if not period > 0:
            raise ValueError(f"the period must be positive, got {period}")
        self.period = float(period)
        if not self.accurate:
            self.ladders = (*self.ladders, ("points", 2.0))

    def start(self, modes: int) -> FeatureChoice:
        if self.accurate:
            return FeatureChoice(width=48, points=1500)
        return FeatureChoice(width=96, points=4096, gain=0.5)

    def allows(self, choice: FeatureChoice) -> bool:
        return super().allows(choice) and choice.envelopes <= 4

    def inputs(self, choice: FeatureChoice) -> JetModule:
        # "envelopes" counts harmonics here: periodic functions need no envelope
        return PeriodicInputs(self.dim, period=self.period, harmonics=choice.envelopes)

    def envelopes(self, choice: FeatureChoice) -> None:
        return None

    def proposal(self) -> Proposal:
        return Periodic(self.period, self.dim)

    def violations(self, features: Function, mix: Tensor) -> list[str]:
        """Functions and their slopes must be periodic."""
        u = torch.rand(512, self.dim, generator=torch.Generator().manual_seed(6)).double()
        x = u * self.period
        f = seen(features, mix, x)
        bad = torch.zeros(f.shape[1], dtype=torch.bool)
        for axis in range(self.dim):
            at = x.clone()
            at[:, axis] += self.period
            bad |= (seen(features, mix, at) - f).abs().amax(0) > VIOLATION * f.abs().amax(0)
        if not bool(bad.any()):
            return []
        return [f"functions {listed(bad)} are not periodic: the values are of another operator"]
