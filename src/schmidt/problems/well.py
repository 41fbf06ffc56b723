"""A particle in a square box: T = ∇² + c on [0, 1]², zero on the boundary."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor, nn

from schmidt.operators.differential import Schrodinger
from schmidt.operators.measures import Lebesgue, SmoothBox
from schmidt.operators.networks import Ansatz, BoxMask, DisjointMLP, ScaledInputs, SharedMLP
from schmidt.operators.training import Training
from schmidt.problems.problem import Exact, Problem

SHIFT = 29 * math.pi**2


def free(x: Tensor) -> Tensor:
    return x.new_zeros(len(x))


def states(count: int) -> list[tuple[int, int]]:
    """Quantum numbers (n_x, n_y) ≥ 1 by n_x² + n_y²."""
    size = 2 + math.isqrt(4 * count)
    pairs = [(a, b) for a in range(1, size) for b in range(1, size)]
    return sorted(pairs, key=lambda p: (p[0] ** 2 + p[1] ** 2, p))[:count]


def functions(x: np.ndarray, count: int) -> np.ndarray:
    """2 sin(n_x π x) sin(n_y π y): (N, 2) → (N, count)."""
    waves = [np.sin(a * np.pi * x[:, 0]) * np.sin(b * np.pi * x[:, 1]) for a, b in states(count)]
    return 2 * np.stack(waves, 1)


def network(kind: str, modes: int) -> nn.Module:
    inputs = ScaledInputs(2, scale=0.25, centre=0.5)
    trunk: DisjointMLP | SharedMLP
    if kind == "shared":
        trunk = SharedMLP(inputs.features, modes, (128, 128))
    else:
        trunk = DisjointMLP(inputs.features, modes, (32, 32))
    return Ansatz(trunk, BoxMask(0.0, 1.0), inputs=inputs, amplitude=math.sqrt(SHIFT))


def well2d(shift: float = SHIFT) -> Problem:
    """Energies π²(n_x² + n_y²); with the default shift 29π² the first 15 are the positive part."""
    if not shift > 2 * math.pi**2:
        raise ValueError(f"the shift must exceed the lowest energy 2π², got {shift}")
    return Problem(
        name="well2d",
        summary=f"infinite square well, T = ∇² + {shift / math.pi**2:g}π² on [0, 1]²",
        form=Schrodinger(free, Lebesgue(SmoothBox(0.0, 1.0, 2))) + shift,
        modes=15,
        network=network,
        exact=Exact(
            lambda L: np.array([shift - math.pi**2 * (a * a + b * b) for a, b in states(L)]),
            functions,
        ),
        training=Training(steps=2000, batch=1400, lr=1e-2, extra_shift=29 * math.pi**2),
        energy=lambda v: shift - v,
        extent=(0.0, 1.0),
    )
