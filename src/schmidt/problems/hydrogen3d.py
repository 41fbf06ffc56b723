"""The hydrogen atom in space: T = ∇² + 1/|x|."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.special import eval_genlaguerre, lpmv
from torch import nn

from schmidt.operators.differential import Schrodinger
from schmidt.operators.measures import Lebesgue, Radial
from schmidt.operators.networks import Ansatz, BoundedInputs, ExponentialEnvelope
from schmidt.operators.ritz import confining
from schmidt.operators.training import Training
from schmidt.problems.hydrogen import coulomb
from schmidt.problems.problem import Exact, Problem, by_level
from schmidt.problems.trunk import trunk

SCALES = (2.0, 10.0, 40.0)


def values(count: int) -> np.ndarray:
    """1/(4n²) with multiplicity n², n ≥ 1."""
    return by_level(lambda n: (0.25 / (n + 1) ** 2, (n + 1) ** 2), count)


def states(count: int) -> list[tuple[int, int, int]]:
    """Quantum numbers (n, l, m), 0 ≤ l < n, −l ≤ m ≤ l, in the order of the spectrum."""
    found: list[tuple[int, int, int]] = []
    n = 0
    while len(found) < count:
        n += 1
        found += [(n, l, m) for l in range(n) for m in range(-l, l + 1)]
    return found[:count]


def functions(x: np.ndarray, count: int) -> np.ndarray:
    """R_nl(r) Y_lm(x/r), normalised in L²(R³): (N, 3) → (N, count).

    R_nl = n^{−3/2} √((n−l−1)!/(2n (n+l)!)) ρ^l e^{−ρ/2} L_{n−l−1}^{2l+1}(ρ) with ρ = r/n, the
    textbook formula (Griffiths & Schroeter 2018, eq. 4.89) for a Bohr radius of 2.
    """
    r = np.linalg.norm(x, axis=1)
    cosine = np.divide(x[:, 2], r, out=np.ones_like(r), where=r > 0)
    angle = np.arctan2(x[:, 1], x[:, 0])
    waves = [_radial(r, n, l) * _harmonic(cosine, angle, l, m) for n, l, m in states(count)]
    return np.stack(waves, 1)


def _radial(r: np.ndarray, n: int, l: int) -> np.ndarray:
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


def network(kind: str, modes: int) -> nn.Module:
    inputs = BoundedInputs(3, SCALES, cusp=True)
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
        network=network,
        exact=Exact(values, functions),
        training=Training(steps=2400, batch=2048, lr=1e-2, extra_shift=0.1),
        energy=lambda v: -v,
        extent=(-60.0, 60.0),
        zoom=True,
        space=lambda count: confining(coulomb, 3, count),
    )
