"""The harmonic oscillator: T = ∇² − |x|² + c (in the plane: Ryu et al. 2024, E.1.2)."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from schmidt.operators.differential import Schrodinger
from schmidt.operators.measures import Gaussian, Lebesgue, Radial, UniformBox
from schmidt.operators.networks import Ansatz, BoundedInputs, GaussianEnvelope
from schmidt.operators.ritz import confining
from schmidt.operators.training import Training
from schmidt.problems import separable
from schmidt.problems.hermite import hermite_functions
from schmidt.problems.problem import Exact, Problem, by_level
from schmidt.problems.trunk import trunk

SHIFT = 16.0
MOST = 28


def harmonic(x: Tensor) -> Tensor:
    return x.pow(2).sum(1)


def level(n: int) -> float:
    """2n + 1, on one axis."""
    return 2.0 * n + 1


def values(count: int, dim: int) -> np.ndarray:
    """Energies 2N + d with multiplicity C(N+d−1, d−1)."""
    return by_level(lambda n: (2.0 * n + dim, math.comb(n + dim - 1, dim - 1)), count)


def states(count: int, dim: int = 2) -> list[separable.State]:
    """Quantum numbers (n_1, …, n_d) by their sum."""
    return separable.states([level] * dim, count)


def functions(x: np.ndarray, count: int) -> np.ndarray:
    """Products of Hermite functions, normalised in L²(R^d): (N, d) → (N, count)."""
    chosen = states(count, x.shape[1])
    sizes = separable.highest(chosen)
    tables = [hermite_functions(t, n + 1) for t, n in zip(x.T, sizes, strict=True)]
    return separable.products(tables, chosen)


def _radii() -> Radial:
    """Smooth functions need no fine core; angular momenta up to 6 need as many angles as radii."""
    return Radial(2, scale=0.7, outer=6.65, inner=5e-4, aspect=1.25)


def _measure(dim: int, top: int) -> Lebesgue:
    """For states with up to ``top`` quanta, whose mean square on an axis is ½ + top/d or so."""
    if dim == 1:
        reach = math.sqrt(2 * top + 1) + 3.5
        return Lebesgue(UniformBox(-reach, reach, 1), "lattice")
    if dim == 2:
        return Lebesgue(_radii())
    return Lebesgue(Gaussian(math.sqrt(0.5 + (top + 0.5) / dim), dim))


def network(kind: str, modes: int, largest: float = SHIFT - 2, dim: int = 2) -> nn.Module:
    inputs = BoundedInputs(dim, (3.0,), cusp=False)
    # decay rates are learned: the right one, 1, is not given away
    envelope = GaussianEnvelope(torch.full((modes,), 0.7))
    body = trunk(kind, inputs.features, modes, disjoint=(24, 24))
    return Ansatz(body, envelope, inputs=inputs, amplitude=amplitude(largest, dim))


def amplitude(largest: float, dim: int) -> float:
    """√σ₁ times the size of normalised functions, which falls as π^{−d/4}; √σ₁ in the plane."""
    return math.sqrt(largest) * math.pi ** ((2 - dim) / 4)


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
        exact=Exact(lambda L: shift - values(L, 2), functions),
        training=Training(steps=2400, batch=768, lr=2e-2, extra_shift=16.0, shift_until=0.6),
        energy=lambda v: shift - v,
        extent=(-6.0, 6.0),
        space=lambda count: confining(harmonic, 2, count),
    )


def oscillator(dim: int = 5) -> Problem:
    """−T = −∇² + |x|² − c in d dimensions: energies 2N + d, C(N+d−1, d−1)-fold.

    The modes are the complete levels with at most 28 states in all; the next level is at T = 0.

    Args:
        dim: d.
    """
    dim = separable.checked_dimension("oscillator", dim)
    modes, shift = separable.whole_levels([level] * dim, MOST)
    top = round((shift - dim) / 2) - 1
    reach = math.sqrt(2 * top + 1) + 2.0
    return Problem(
        name="oscillator",
        summary=f"harmonic oscillator, d = {dim}, T = ∇² − |x|² + {shift:g}",
        form=Schrodinger(harmonic, _measure(dim, top)) + shift,
        modes=modes,
        network=lambda kind, count: network(kind, count, shift - dim, dim),
        exact=Exact(lambda L: shift - values(L, dim), functions),
        training=Training(
            steps=2400,
            batch=768 if dim <= 2 else 2048,
            lr=2e-2,
            extra_shift=shift,
            shift_until=0.6,
        ),
        energy=lambda v: shift - v,
        extent=(-reach, reach),
        space=lambda count: confining(harmonic, dim, count),
    )
