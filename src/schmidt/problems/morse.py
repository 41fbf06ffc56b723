"""Two Morse oscillators: T = ∇² − Σ D (1 − e^{−a x_i})² + c in the plane."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.special import eval_genlaguerre
from torch import Tensor, nn

from schmidt.operators.differential import Schrodinger
from schmidt.operators.measures import Lebesgue, UniformBox
from schmidt.operators.networks import Ansatz, GaussianEnvelope, ScaledInputs
from schmidt.operators.ritz import confining
from schmidt.operators.training import Training
from schmidt.problems import separable
from schmidt.problems.problem import Exact, Problem
from schmidt.problems.trunk import trunk

DEPTH, RANGE = 64.0, 0.5
SPAN = math.sqrt(DEPTH) / RANGE
WINDOW = (-2.5, 7.0)
MOST = 16


def morse_potential(x: Tensor) -> Tensor:
    return DEPTH * (1 - (-RANGE * x).exp()).pow(2).sum(1)


def level(n: int) -> float:
    """2a√D (n+½) − a²(n+½)² for n < √D/a − ½ (Morse 1929); no bound states beyond."""
    if n >= SPAN - 0.5:
        return math.inf
    return 2 * RANGE * math.sqrt(DEPTH) * (n + 0.5) - (RANGE * (n + 0.5)) ** 2


def morse_functions(t: np.ndarray, count: int) -> np.ndarray:
    """N_n z^s e^{−z/2} L_n^{2s}(z), z = 2λe^{−ax}, s = λ − n − ½, λ = √D/a: (N,) → (N, count)."""
    log_z = math.log(2 * SPAN) - RANGE * t
    z = np.exp(log_z)
    out = np.empty((len(t), count))
    for n in range(count):
        s = SPAN - n - 0.5
        log_norm = math.log(2 * s * RANGE) + math.lgamma(n + 1) - math.lgamma(2 * SPAN - n)
        out[:, n] = np.exp(log_norm / 2 + s * log_z - z / 2) * eval_genlaguerre(n, 2 * s, z)
    return out


def functions(x: np.ndarray, count: int) -> np.ndarray:
    """Products of Morse's functions, normalised in L²(R²): (N, 2) → (N, count)."""
    chosen = separable.states([level] * 2, count)
    sizes = separable.highest(chosen)
    tables = [morse_functions(t, n + 1) for t, n in zip(x.T, sizes, strict=True)]
    return separable.products(tables, chosen)


def network(kind: str, modes: int, largest: float) -> nn.Module:
    inputs = ScaledInputs(2, scale=1.0, centre=0.7)
    body = trunk(kind, inputs.features, modes)
    envelope = GaussianEnvelope(torch.full((modes,), 1.5))
    return Ansatz(body, envelope, inputs=inputs, amplitude=math.sqrt(largest))


def morse() -> Problem:
    """Energies Σ_i 2a√D (n_i+½) − a²(n_i+½)², D = 64, a = ½: 16 bound levels on every axis.

    The modes are the complete levels with at most 16 states in all; the next level is at T = 0.
    """
    axes = [level] * 2
    modes, shift = separable.whole_levels(axes, MOST)
    # where one axis may break up, the continuum begins
    bound = sum(e < level(0) + DEPTH for e in separable.energies(axes, 100))
    return Problem(
        name="morse",
        summary=f"two Morse oscillators, T = ∇² − Σ 64(1 − e^(−x_i/2))² + {shift:g}",
        form=Schrodinger(morse_potential, Lebesgue(UniformBox(*WINDOW, 2), "lattice")) + shift,
        modes=modes,
        network=lambda kind, count: network(kind, count, shift),
        exact=Exact(lambda L: shift - separable.energies(axes, L), functions),
        training=Training(steps=2400, batch=1600, lr=1e-2, extra_shift=shift),
        energy=lambda v: shift - v,
        extent=(-2.0, 4.0),
        max_modes=bound,
        space=lambda count: confining(morse_potential, 2, count),
    )
