"""A chain of coupled oscillators: V = Σ x_i² − Σ x_i x_{i+1}, solved by its normal modes."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from schmidt.operators.differential import Schrodinger
from schmidt.operators.measures import Lebesgue
from schmidt.operators.networks import Ansatz, BoundedInputs, GaussianEnvelope
from schmidt.operators.ritz import confining
from schmidt.operators.training import Training
from schmidt.problems import separable
from schmidt.problems.hermite import hermite_functions
from schmidt.problems.oscillator import amplitude
from schmidt.problems.problem import Exact, Problem
from schmidt.problems.rotated import RotatedGaussian
from schmidt.problems.trunk import trunk

MOST = 16


def chain(x: Tensor) -> Tensor:
    return x.pow(2).sum(1) - (x[:, 1:] * x[:, :-1]).sum(1)


def stiffness(dim: int) -> np.ndarray:
    """α_k = 1 − cos(kπ/(d+1)), k = 1 … d: eigenvalues of the quadratic form V."""
    return 1 - np.cos(np.arange(1, dim + 1) * math.pi / (dim + 1))


def normal_modes(dim: int) -> np.ndarray:
    """Column k: √(2/(d+1)) sin(ikπ/(d+1)), the direction of stiffness α_k."""
    k = np.arange(1, dim + 1)
    return math.sqrt(2 / (dim + 1)) * np.sin(np.outer(k, k) * math.pi / (dim + 1))


def levels(dim: int) -> list[separable.Level]:
    """(2n + 1)√α_k along every normal mode."""

    def along(frequency: float) -> separable.Level:
        return lambda n: (2 * n + 1) * frequency

    return [along(frequency) for frequency in np.sqrt(stiffness(dim)).tolist()]


def functions(x: np.ndarray, count: int) -> np.ndarray:
    """Products of Hermite functions of α_k^{1/4} q_k, q the normal coordinates: (N, d) → (N, L)."""
    dim = x.shape[1]
    chosen = separable.states(levels(dim), count)
    widths = stiffness(dim) ** 0.25
    q = x @ normal_modes(dim)
    sizes = separable.highest(chosen)
    axes = zip(q.T, widths, sizes, strict=True)
    tables = [math.sqrt(w) * hermite_functions(w * t, n + 1) for t, w, n in axes]
    return separable.products(tables, chosen)


def network(kind: str, modes: int, dim: int, largest: float) -> nn.Module:
    inputs = BoundedInputs(dim, (4.0,), cusp=False)
    # between the decay of the soft and of the stiff directions, and learned
    envelope = GaussianEnvelope(torch.full((modes,), 0.7))
    body = trunk(kind, inputs.features, modes)
    return Ansatz(body, envelope, inputs=inputs, amplitude=amplitude(largest, dim))


def _covariance(chosen: list[separable.State], dim: int) -> np.ndarray:
    """Along q_k somewhat wider than the widest state, whose ⟨q_k²⟩ is (n_k + ½)/√α_k."""
    quanta = np.array(separable.highest(chosen))
    spread = (0.75 + quanta / 2) / np.sqrt(stiffness(dim))
    q = normal_modes(dim)
    return (q * spread) @ q.T


def coupled_oscillators(dim: int = 5) -> Problem:
    """−T = −∇² + Σ x_i² − Σ x_i x_{i+1} − c: energies Σ_k (2n_k + 1)√α_k.

    Separable in the normal coordinates only, which the networks are not given. The modes are the
    complete levels with at most 16 states in all; the next level is at T = 0.

    Args:
        dim: d ≥ 2.
    """
    dim = separable.checked_dimension("coupled-oscillators", dim, least=2)
    axes = levels(dim)
    modes, shift = separable.whole_levels(axes, MOST)
    ground = separable.energies(axes, 1)[0]
    proposal = RotatedGaussian(_covariance(separable.states(axes, modes), dim))
    return Problem(
        name="coupled-oscillators",
        summary=f"chain of {dim} coupled oscillators, T = ∇² − Σx_i² + Σx_i x_i₊₁ + {shift:.4g}",
        form=Schrodinger(chain, Lebesgue(proposal)) + shift,
        modes=modes,
        network=lambda kind, count: network(kind, count, dim, shift - ground),
        exact=Exact(lambda L: shift - separable.energies(axes, L), functions),
        training=Training(steps=2400, batch=1024 if dim <= 2 else 2048, lr=1e-2, extra_shift=shift),
        energy=lambda v: shift - v,
        extent=(-6.0, 6.0),
        space=lambda count: confining(chain, dim, count),
    )
