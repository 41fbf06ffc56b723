"""The hydrogen atom, T = ∇² + 1/|x|: in the plane (Ryu et al. 2024, E.1.1) and in space."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.special import eval_genlaguerre, lpmv
from torch import Tensor, nn

from schmidt.operators.differential import Schrodinger
from schmidt.operators.measures import Lebesgue, Radial
from schmidt.operators.networks import (
    Ansatz,
    BoundedInputs,
    DisjointMLP,
    ExponentialEnvelope,
    SharedMLP,
)
from schmidt.operators.ritz import confining
from schmidt.operators.training import Training
from schmidt.problems.problem import ExactSpectrum, Problem, by_level, trunk

SCALES = (2.0, 10.0, 40.0)


def coulomb(x: Tensor) -> Tensor:
    return -1 / x.norm(dim=1)


def values2d(count: int) -> np.ndarray:
    """(2n+1)⁻² with multiplicity 2n+1."""
    return by_level(lambda n: (1 / (2 * n + 1) ** 2, 2 * n + 1), count)


def states2d(count: int) -> list[tuple[int, int]]:
    """Quantum numbers (n, l), −n ≤ l ≤ n, in the order of the spectrum."""
    shells = [(n, m) for n in range(math.isqrt(count) + 1) for m in range(-n, n + 1)]
    return shells[:count]


def functions2d(x: np.ndarray, count: int) -> np.ndarray:
    """Eq. (21), normalised in L²(R²): (N, 2) → (N, count)."""
    r, angle = np.hypot(x[:, 0], x[:, 1]), np.arctan2(x[:, 1], x[:, 0])
    return np.stack([_radial2d(r, n, abs(m)) * _angular(angle, m) for n, m in states2d(count)], 1)


def _radial2d(r: np.ndarray, n: int, m: int) -> np.ndarray:
    # ₁F₁(−k; 2m+1; z) = k! (2m)!/(k+2m)! L_k^{2m}(z) turns (21) into a Laguerre polynomial
    beta, k = 1 / (n + 0.5), n - m
    log_norm = 0.5 * (math.lgamma(k + 1) - math.lgamma(n + m + 1) - math.log(2 * n + 1))
    z = beta * r
    return beta * math.exp(log_norm) * z**m * np.exp(-z / 2) * eval_genlaguerre(k, 2 * m, z)


def _angular(angle: np.ndarray, m: int) -> np.ndarray:
    if m == 0:
        return np.full_like(angle, 1 / math.sqrt(2 * math.pi))
    wave = np.cos(m * angle) if m > 0 else np.sin(-m * angle)
    return wave / math.sqrt(math.pi)


def network2d(kind: str, modes: int) -> nn.Module:
    inputs = BoundedInputs(2, SCALES, cusp=True)
    trunk: DisjointMLP | SharedMLP
    if kind == "shared":
        trunk = SharedMLP(inputs.features, modes, (128, 128))
    else:
        trunk = DisjointMLP(inputs.features, modes, (32, 32))
    return Ansatz(trunk, ExponentialEnvelope(torch.logspace(0, -1.2, modes)), inputs=inputs)


def hydrogen2d() -> Problem:
    """Bound states of ∇² + 1/|x|; every level (2n+1)⁻² is (2n+1)-fold degenerate."""
    return Problem(
        name="hydrogen2d",
        summary="hydrogen atom in the plane, T = ∇² + 1/|x|",
        form=Schrodinger(coulomb, Lebesgue(Radial(2, scale=4.0, outer=160.0))),
        modes=16,
        network=network2d,
        exact=ExactSpectrum(values2d, functions2d),
        training=Training(steps=2400, batch=896, lr=1e-2, extra_shift=0.3),
        energy=lambda v: -v,
        extent=(-100.0, 100.0),
        zoom=True,
        space=lambda count: confining(coulomb, 2, count),
    )


SCALES3D = (2.0, 10.0, 40.0)


def values3d(count: int) -> np.ndarray:
    """1/(4n²) with multiplicity n², n ≥ 1."""
    return by_level(lambda n: (0.25 / (n + 1) ** 2, (n + 1) ** 2), count)


def states3d(count: int) -> list[tuple[int, int, int]]:
    """Quantum numbers (n, l, m), 0 ≤ l < n, −l ≤ m ≤ l, in the order of the spectrum."""
    found: list[tuple[int, int, int]] = []
    n = 0
    while len(found) < count:
        n += 1
        found += [(n, l, m) for l in range(n) for m in range(-l, l + 1)]
    return found[:count]


def functions3d(x: np.ndarray, count: int) -> np.ndarray:
    """R_nl(r) Y_lm(x/r), normalised in L²(R³): (N, 3) → (N, count).

    R_nl = n^{−3/2} √((n−l−1)!/(2n (n+l)!)) ρ^l e^{−ρ/2} L_{n−l−1}^{2l+1}(ρ) with ρ = r/n, the
    textbook formula (Griffiths & Schroeter 2018, eq. 4.89) for a Bohr radius of 2.
    """
    r = np.linalg.norm(x, axis=1)
    cosine = np.divide(x[:, 2], r, out=np.ones_like(r), where=r > 0)
    angle = np.arctan2(x[:, 1], x[:, 0])
    waves = [_radial3d(r, n, l) * _harmonic(cosine, angle, l, m) for n, l, m in states3d(count)]
    return np.stack(waves, 1)


def _radial3d(r: np.ndarray, n: int, l: int) -> np.ndarray:
    rho, k = r / n, n - l - 1
    log_norm = 0.5 * (math.lgamma(k + 1) - math.lgamma(n + l + 1) - math.log(2 * n))
    wave = rho**l * np.exp(-rho / 2) * eval_genlaguerre(k, 2 * l + 1, rho)
    return n**-1.5 * math.exp(log_norm) * wave


def _harmonic(cosine: np.ndarray, angle: np.ndarray, l: int, m: int) -> np.ndarray:
    """Real spherical harmonics: cosines of |m|φ for m > 0, sines for m < 0."""
    k = abs(m)
    log_norm = 0.5 * (math.lgamma(l - k + 1) - math.lgamma(l + k + 1))
    height = math.sqrt((2 * l + 1) / (4 * math.pi)) * math.exp(log_norm) * lpmv(k, l, cosine)
    if m == 0:
        return height
    return math.sqrt(2) * height * (np.cos(k * angle) if m > 0 else np.sin(k * angle))


def network3d(kind: str, modes: int) -> nn.Module:
    inputs = BoundedInputs(3, SCALES3D, cusp=True)
    envelope = ExponentialEnvelope(torch.logspace(-0.2, -1.0, modes))
    # the functions spread over large balls, and are small
    return Ansatz(trunk(kind, inputs.features, modes), envelope, inputs=inputs, amplitude=0.15)


def hydrogen3d() -> Problem:
    """Bound states of ∇² + 1/|x| in space; every level 1/(4n²) is n²-fold degenerate."""
    return Problem(
        name="hydrogen3d",
        summary="hydrogen atom in space, T = ∇² + 1/|x|",
        form=Schrodinger(coulomb, Lebesgue(Radial(3, scale=4.0, outer=160.0))),
        modes=14,
        network=network3d,
        exact=ExactSpectrum(values3d, functions3d),
        training=Training(steps=2400, batch=2048, lr=1e-2, extra_shift=0.1),
        energy=lambda v: -v,
        extent=(-60.0, 60.0),
        zoom=True,
        space=lambda count: confining(coulomb, 3, count),
    )
