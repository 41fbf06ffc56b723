"""Waves on the torus: T = ∇² + c on [0, 2π]^d, periodic."""

from __future__ import annotations

import math

import numpy as np
from torch import nn

from schmidt.operators.differential import Schrodinger
from schmidt.operators.measures import Lebesgue, UniformBox
from schmidt.operators.networks import Ansatz, PeriodicInputs
from schmidt.operators.ritz import TorusSpace
from schmidt.operators.training import Training
from schmidt.problems import separable
from schmidt.problems.box import free
from schmidt.problems.problem import Exact, Problem
from schmidt.problems.trunk import trunk

MOST = 13


def level(n: int) -> float:
    """0, 1, 1, 4, 4, 9, 9, … on one axis: the constant, then cosine and sine of every k."""
    return float(((n + 1) // 2) ** 2)


def waves(t: np.ndarray, count: int) -> np.ndarray:
    """1, cos t, sin t, cos 2t, … normalised in L²([0, 2π]): (N,) → (N, count)."""
    out = np.full((len(t), count), 1 / math.sqrt(2 * math.pi))
    for n in range(1, count):
        k = (n + 1) // 2
        out[:, n] = (np.cos if n % 2 else np.sin)(k * t) / math.sqrt(math.pi)
    return out


def functions(x: np.ndarray, count: int) -> np.ndarray:
    """Products of cosines and sines, normalised in L²([0, 2π]^d): (N, d) → (N, count)."""
    chosen = separable.states([level] * x.shape[1], count)
    sizes = separable.highest(chosen)
    tables = [waves(t, n + 1) for t, n in zip(x.T, sizes, strict=True)]
    return separable.products(tables, chosen)


def periodic_measure(dim: int) -> Lebesgue:
    """dx on [0, 2π]^d by randomly shifted grids, exact for all but high frequencies (d ≤ 3)."""
    return Lebesgue(UniformBox(0.0, 2 * math.pi, dim), "lattice")


def network(kind: str, modes: int, dim: int, largest: float) -> nn.Module:
    inputs = PeriodicInputs(dim)
    # normalised functions are of size (2π)^{−d/2}
    amplitude = math.sqrt(largest) * (2 * math.pi) ** (-dim / 2)
    return Ansatz(trunk(kind, inputs.features, modes), inputs=inputs, amplitude=amplitude)


def torus(dim: int = 2) -> Problem:
    """Eigenvalues c − |k|² for wave vectors k of integers.

    The modes are the complete levels with at most 13 states in all; the next level is at T = 0.

    Args:
        dim: d.
    """
    dim = separable.checked_dimension("torus", dim)
    axes = [level] * dim
    modes, shift = separable.whole_levels(axes, MOST)
    return Problem(
        name="torus",
        summary=f"waves on the torus, d = {dim}, T = ∇² + {shift:g} on [0, 2π]^{dim}, periodic",
        form=Schrodinger(free, periodic_measure(dim)) + shift,
        modes=modes,
        network=lambda kind, count: network(kind, count, dim, shift),
        exact=Exact(lambda L: shift - separable.energies(axes, L), functions),
        training=Training(steps=2000, batch=800 if dim <= 2 else 2048, lr=1e-2, extra_shift=shift),
        energy=lambda v: shift - v,
        extent=(0.0, 2 * math.pi),
        space=lambda count: TorusSpace(dim),
    )
