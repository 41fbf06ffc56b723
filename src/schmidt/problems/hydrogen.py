"""The hydrogen atom in the plane: T = ∇² + 1/|x| (Ryu et al. 2024, E.1.1; Yang et al. 1991)."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.special import eval_genlaguerre
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
from schmidt.problems.problem import Exact, Problem, by_level

SCALES = (2.0, 10.0, 40.0)


def coulomb(x: Tensor) -> Tensor:
    return -1 / x.norm(dim=1)


def values(count: int) -> np.ndarray:
    """(2n+1)⁻² with multiplicity 2n+1."""
    return by_level(lambda n: (1 / (2 * n + 1) ** 2, 2 * n + 1), count)


def states(count: int) -> list[tuple[int, int]]:
    """Quantum numbers (n, l), −n ≤ l ≤ n, in the order of the spectrum."""
    shells = [(n, m) for n in range(math.isqrt(count) + 1) for m in range(-n, n + 1)]
    return shells[:count]


def functions(x: np.ndarray, count: int) -> np.ndarray:
    """Eq. (21), normalised in L²(R²): (N, 2) → (N, count)."""
    r, angle = np.hypot(x[:, 0], x[:, 1]), np.arctan2(x[:, 1], x[:, 0])
    return np.stack([_radial(r, n, abs(m)) * _angular(angle, m) for n, m in states(count)], 1)


def _radial(r: np.ndarray, n: int, m: int) -> np.ndarray:
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


def network(kind: str, modes: int) -> nn.Module:
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
        network=network,
        exact=Exact(values, functions),
        training=Training(steps=2400, batch=896, lr=1e-2, extra_shift=0.3),
        energy=lambda v: -v,
        extent=(-100.0, 100.0),
        zoom=True,
        space=lambda count: confining(coulomb, 2, count),
    )
