"""The harmonic oscillator in the plane: T = ∇² − |x|² + c (Ryu et al. 2024, E.1.2)."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.special import eval_hermite
from torch import Tensor, nn

from schmidt.operators.differential import Schrodinger
from schmidt.operators.measures import Lebesgue, Radial
from schmidt.operators.networks import (
    Ansatz,
    BoundedInputs,
    DisjointMLP,
    GaussianEnvelope,
    SharedMLP,
)
from schmidt.operators.training import Training
from schmidt.problems.problem import Exact, Problem, by_level

SHIFT = 16.0


def harmonic(x: Tensor) -> Tensor:
    return x.pow(2).sum(1)


def states(count: int) -> list[tuple[int, int]]:
    """Quantum numbers (n_x, n_y) by n_x + n_y."""
    shells = range(math.isqrt(2 * count) + 2)
    return [(n - m, m) for n in shells for m in range(n + 1)][:count]


def _hermite(t: np.ndarray, n: int) -> np.ndarray:
    norm = math.exp(-0.5 * (n * math.log(2) + math.lgamma(n + 1))) / math.pi**0.25
    return norm * np.exp(-t * t / 2) * eval_hermite(n, t)


def functions(x: np.ndarray, count: int) -> np.ndarray:
    """Products of Hermite functions, normalised: (N, 2) → (N, count)."""
    return np.stack([_hermite(x[:, 0], a) * _hermite(x[:, 1], b) for a, b in states(count)], 1)


def _radii() -> Radial:
    """Smooth functions need no fine core; angular momenta up to 6 need as many angles as radii."""
    return Radial(2, scale=0.7, outer=6.65, inner=5e-4, aspect=1.25)


def network(kind: str, modes: int, largest: float = SHIFT - 2) -> nn.Module:
    inputs = BoundedInputs(2, (3.0,), cusp=False)
    trunk: DisjointMLP | SharedMLP
    if kind == "shared":
        trunk = SharedMLP(inputs.features, modes, (128, 128))
    else:
        trunk = DisjointMLP(inputs.features, modes, (24, 24))
    # decay rates are learned: the right one, 1, is not given away
    envelope = GaussianEnvelope(torch.full((modes,), 0.7))
    return Ansatz(trunk, envelope, inputs=inputs, amplitude=math.sqrt(largest))


def oscillator2d(shift: float = SHIFT) -> Problem:
    """−T = −∇² + |x|² − c: energies 2(n+1), (n+1)-fold; positive part of T: 2(n+1) < c.

    Args:
        shift: c. With the default 16 there are 28 positive states; further modes become zero
            functions.
    """
    if not shift > 2:
        raise ValueError(f"the shift must exceed the lowest energy 2, got {shift}")
    return Problem(
        name="oscillator2d",
        summary=f"harmonic oscillator in the plane, T = ∇² − |x|² + {shift:g}",
        form=Schrodinger(harmonic, Lebesgue(_radii())) + shift,
        modes=28,
        network=lambda kind, modes: network(kind, modes, shift - 2),
        exact=Exact(lambda L: by_level(lambda n: (shift - 2 * (n + 1), n + 1), L), functions),
        training=Training(steps=2400, batch=768, lr=2e-2, extra_shift=16.0, shift_until=0.6),
        energy=lambda v: shift - v,
        extent=(-6.0, 6.0),
    )
