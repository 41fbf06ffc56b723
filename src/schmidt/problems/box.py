"""A particle in a box: T = ∇² + c on [0, 1]^d, zero on the boundary."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor, nn

from schmidt.operators.differential import Schrodinger
from schmidt.operators.measures import Lebesgue, SmoothBox, UniformBox
from schmidt.operators.networks import Ansatz, BoxMask, ScaledInputs
from schmidt.operators.ritz import BoxSpace
from schmidt.operators.training import Training
from schmidt.problems import separable
from schmidt.problems.problem import Exact, Problem
from schmidt.problems.trunk import trunk

MOST = 16


def free(x: Tensor) -> Tensor:
    return x.new_zeros(len(x))


def level(n: int) -> float:
    """(n+1)², in units of π², on one axis."""
    return float((n + 1) ** 2)


def values(count: int, dim: int) -> np.ndarray:
    """π² Σ n_i², n_i ≥ 1."""
    return math.pi**2 * separable.energies([level] * dim, count)


def functions(x: np.ndarray, count: int) -> np.ndarray:
    """Π √2 sin(n_i π x_i), normalised in L²([0, 1]^d): (N, d) → (N, count)."""
    chosen = separable.states([level] * x.shape[1], count)
    sizes = separable.highest(chosen)
    tables = [
        math.sqrt(2) * np.sin(np.outer(t, np.pi * np.arange(1, n + 2)))
        for t, n in zip(x.T, sizes, strict=True)
    ]
    return separable.products(tables, chosen)


def network(kind: str, modes: int, dim: int, largest: float) -> nn.Module:
    inputs = ScaledInputs(dim, scale=0.25, centre=0.5)
    body = trunk(kind, inputs.features, modes)
    return Ansatz(body, BoxMask(0.0, 1.0), inputs=inputs, amplitude=math.sqrt(largest))


def box(dim: int = 5) -> Problem:
    """Energies π² Σ n_i², n_i ≥ 1.

    The modes are the complete levels with at most 16 states in all; the next level is at T = 0.

    Args:
        dim: d.
    """
    dim = separable.checked_dimension("box", dim)
    modes, following = separable.whole_levels([level] * dim, MOST)
    shift = following * math.pi**2
    # points near the walls, where functions are small, are wasted in many dimensions
    measure = Lebesgue(SmoothBox(0.0, 1.0, dim) if dim <= 3 else UniformBox(0.0, 1.0, dim))
    return Problem(
        name="box",
        summary=f"particle in a box, d = {dim}, T = ∇² + {following:g}π² on [0, 1]^{dim}",
        form=Schrodinger(free, measure) + shift,
        modes=modes,
        network=lambda kind, count: network(kind, count, dim, shift),
        exact=Exact(lambda L: shift - values(L, dim), functions),
        training=Training(steps=2000, batch=1400 if dim <= 2 else 2048, lr=1e-2, extra_shift=shift),
        energy=lambda v: shift - v,
        extent=(0.0, 1.0),
        space=lambda count: BoxSpace(dim),
    )
