"""Free particles: in boxes, T = ∇² + c, zero on the boundary; and waves on the torus."""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor, nn

from schmidt.operators.differential import Schrodinger
from schmidt.operators.measures import Lebesgue, SmoothBox, UniformBox
from schmidt.operators.networks import Ansatz, BoxMask, PeriodicInputs, ScaledInputs
from schmidt.operators.ritz import BoxSpace, TorusSpace
from schmidt.operators.training import Training
from schmidt.problems import separable
from schmidt.problems.problem import ExactSpectrum, Problem, signed, trunk

MOST_IN_BOX = 16


def free(x: Tensor) -> Tensor:
    return x.new_zeros(len(x))


def box_level(n: int) -> float:
    """(n+1)², in units of π², on one axis."""
    return float((n + 1) ** 2)


def box_values(count: int, dim: int) -> np.ndarray:
    """π² Σ n_i², n_i ≥ 1."""
    return math.pi**2 * separable.energies([box_level] * dim, count)


def box_functions(x: np.ndarray, count: int) -> np.ndarray:
    """Π √2 sin(n_i π x_i), normalised in L²([0, 1]^d): (N, d) → (N, count)."""
    chosen = separable.states([box_level] * x.shape[1], count)
    sizes = separable.highest(chosen)
    tables = [
        math.sqrt(2) * np.sin(np.outer(t, np.pi * np.arange(1, n + 2)))
        for t, n in zip(x.T, sizes, strict=True)
    ]
    return separable.products(tables, chosen)


def box_network(kind: str, modes: int, dim: int, largest: float) -> nn.Module:
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
    modes, following = separable.whole_levels([box_level] * dim, MOST_IN_BOX)
    shift = following * math.pi**2
    # points near the walls, where functions are small, are wasted in many dimensions
    measure = Lebesgue(SmoothBox(0.0, 1.0, dim) if dim <= 3 else UniformBox(0.0, 1.0, dim))
    return Problem(
        name="box",
        summary=f"particle in a box, d = {dim}, T = ∇² + {following:g}π² on [0, 1]^{dim}",
        form=Schrodinger(free, measure) + shift,
        modes=modes,
        network=lambda kind, count: box_network(kind, count, dim, shift),
        exact=ExactSpectrum(lambda L: shift - box_values(L, dim), box_functions),
        training=Training(steps=2000, batch=1400 if dim <= 2 else 2048, lr=1e-2, extra_shift=shift),
        energy=lambda v: shift - v,
        extent=(0.0, 1.0),
        whole=True,
        space=lambda count: BoxSpace(dim),
    )


WELL_SHIFT = 29 * math.pi**2


def well2d(shift: float = WELL_SHIFT) -> Problem:
    """Energies π²(n_x² + n_y²); with the default shift 29π² the first 17 are the positive part."""
    if not shift > 2 * math.pi**2:
        raise ValueError(f"the shift must exceed the lowest energy 2π², got {shift}")
    return Problem(
        name="well2d",
        summary=f"infinite square well, T = ∇² {signed(shift / math.pi**2)}π² on [0, 1]²",
        form=Schrodinger(free, Lebesgue(SmoothBox(0.0, 1.0, 2))) + shift,
        modes=15,
        network=lambda kind, modes: box_network(kind, modes, 2, WELL_SHIFT),
        exact=ExactSpectrum(lambda L: shift - box_values(L, 2), box_functions),
        training=Training(steps=2000, batch=1400, lr=1e-2, extra_shift=29 * math.pi**2),
        energy=lambda v: shift - v,
        extent=(0.0, 1.0),
        whole=True,
        space=lambda count: BoxSpace(2),
    )


MOST_ON_TORUS = 13


def torus_level(n: int) -> float:
    """0, 1, 1, 4, 4, 9, 9, … on one axis: the constant, then cosine and sine of every k."""
    return float(((n + 1) // 2) ** 2)


def waves(t: np.ndarray, count: int) -> np.ndarray:
    """1, cos t, sin t, cos 2t, … normalised in L²([0, 2π]): (N,) → (N, count)."""
    out = np.full((len(t), count), 1 / math.sqrt(2 * math.pi))
    for n in range(1, count):
        k = (n + 1) // 2
        out[:, n] = (np.cos if n % 2 else np.sin)(k * t) / math.sqrt(math.pi)
    return out


def torus_functions(x: np.ndarray, count: int) -> np.ndarray:
    """Products of cosines and sines, normalised in L²([0, 2π]^d): (N, d) → (N, count)."""
    chosen = separable.states([torus_level] * x.shape[1], count)
    sizes = separable.highest(chosen)
    tables = [waves(t, n + 1) for t, n in zip(x.T, sizes, strict=True)]
    return separable.products(tables, chosen)


def periodic_measure(dim: int) -> Lebesgue:
    """dx on [0, 2π]^d by randomly shifted grids, exact for all but high frequencies (d ≤ 3)."""
    return Lebesgue(UniformBox(0.0, 2 * math.pi, dim), "lattice")


def torus_network(kind: str, modes: int, dim: int, largest: float) -> nn.Module:
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
    axes = [torus_level] * dim
    modes, shift = separable.whole_levels(axes, MOST_ON_TORUS)
    return Problem(
        name="torus",
        summary=f"waves on the torus, d = {dim}, T = ∇² {signed(shift)} on [0, 2π]^{dim}, periodic",
        form=Schrodinger(free, periodic_measure(dim)) + shift,
        modes=modes,
        network=lambda kind, count: torus_network(kind, count, dim, shift),
        exact=ExactSpectrum(lambda L: shift - separable.energies(axes, L), torus_functions),
        training=Training(steps=2000, batch=800 if dim <= 2 else 2048, lr=1e-2, extra_shift=shift),
        energy=lambda v: shift - v,
        extent=(0.0, 2 * math.pi),
        whole=True,
        space=lambda count: TorusSpace(dim),
    )
