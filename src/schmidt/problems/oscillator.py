"""Harmonic oscillators: T = ∇² − |x|² + c (Ryu et al. 2024, E.1.2), and chains of coupled ones."""

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
from schmidt.problems.problem import ExactSpectrum, Problem, by_level, signed, trunk
from schmidt.problems.separable import hermite_functions

SHIFT = 16.0
MOST_OSCILLATOR = 28


def harmonic(x: Tensor) -> Tensor:
    return x.pow(2).sum(1)


def oscillator_level(n: int) -> float:
    """2n + 1, on one axis."""
    return 2.0 * n + 1


def oscillator_values(count: int, dim: int) -> np.ndarray:
    """Energies 2N + d with multiplicity C(N+d−1, d−1)."""
    return by_level(lambda n: (2.0 * n + dim, math.comb(n + dim - 1, dim - 1)), count)


def oscillator_states(count: int, dim: int = 2) -> list[separable.State]:
    """Quantum numbers (n_1, …, n_d) by their sum."""
    return separable.states([oscillator_level] * dim, count)


def oscillator_functions(x: np.ndarray, count: int) -> np.ndarray:
    """Products of Hermite functions, normalised in L²(R^d): (N, d) → (N, count)."""
    chosen = oscillator_states(count, x.shape[1])
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


def oscillator_network(
    kind: str, modes: int, largest: float = SHIFT - 2, dim: int = 2
) -> nn.Module:
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
        summary=f"harmonic oscillator in the plane, T = ∇² − |x|² {signed(shift)}",
        form=Schrodinger(harmonic, Lebesgue(_radii())) + shift,
        modes=28,
        network=lambda kind, modes: oscillator_network(kind, modes, shift - 2),
        exact=ExactSpectrum(lambda L: shift - oscillator_values(L, 2), oscillator_functions),
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
    modes, shift = separable.whole_levels([oscillator_level] * dim, MOST_OSCILLATOR)
    top = round((shift - dim) / 2) - 1
    reach = math.sqrt(2 * top + 1) + 2.0
    return Problem(
        name="oscillator",
        summary=f"harmonic oscillator, d = {dim}, T = ∇² − |x|² {signed(shift)}",
        form=Schrodinger(harmonic, _measure(dim, top)) + shift,
        modes=modes,
        network=lambda kind, count: oscillator_network(kind, count, shift - dim, dim),
        exact=ExactSpectrum(lambda L: shift - oscillator_values(L, dim), oscillator_functions),
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


class RotatedGaussian(Gaussian):
    """N(0, C) by its principal axes: a :class:`Gaussian` with independent axes, turned.

    Args:
        covariance: C, symmetric and positive.
    """

    def __init__(self, covariance: np.ndarray) -> None:
        variances, axes = np.linalg.eigh(covariance)
        if not variances[0] > 0:
            raise ValueError("the covariance of a Gaussian must be positive definite")
        super().__init__(np.sqrt(variances).tolist(), len(variances))
        self.axes = torch.from_numpy(axes)

    def transform(self, u: Tensor) -> Tensor:
        return super().transform(u) @ self.axes.T

    def density(self, x: Tensor) -> Tensor:
        return super().density(x @ self.axes.to(x))

    def rule(self, n: int | None = None) -> tuple[Tensor, Tensor] | None:
        rule = super().rule(n)
        return None if rule is None else (rule[0] @ self.axes.T, rule[1])


MOST_CHAIN = 16


def chain(x: Tensor) -> Tensor:
    return x.pow(2).sum(1) - (x[:, 1:] * x[:, :-1]).sum(1)


def stiffness(dim: int) -> np.ndarray:
    """α_k = 1 − cos(kπ/(d+1)), k = 1 … d: eigenvalues of the quadratic form V."""
    return 1 - np.cos(np.arange(1, dim + 1) * math.pi / (dim + 1))


def normal_modes(dim: int) -> np.ndarray:
    """Column k: √(2/(d+1)) sin(ikπ/(d+1)), the direction of stiffness α_k."""
    k = np.arange(1, dim + 1)
    return math.sqrt(2 / (dim + 1)) * np.sin(np.outer(k, k) * math.pi / (dim + 1))


def chain_levels(dim: int) -> list[separable.Level]:
    """(2n + 1)√α_k along every normal mode."""

    def along(frequency: float) -> separable.Level:
        return lambda n: (2 * n + 1) * frequency

    return [along(frequency) for frequency in np.sqrt(stiffness(dim)).tolist()]


def chain_functions(x: np.ndarray, count: int) -> np.ndarray:
    """Products of Hermite functions of α_k^{1/4} q_k, q the normal coordinates: (N, d) → (N, L)."""
    dim = x.shape[1]
    chosen = separable.states(chain_levels(dim), count)
    widths = stiffness(dim) ** 0.25
    q = x @ normal_modes(dim)
    sizes = separable.highest(chosen)
    axes = zip(q.T, widths, sizes, strict=True)
    tables = [math.sqrt(w) * hermite_functions(w * t, n + 1) for t, w, n in axes]
    return separable.products(tables, chosen)


def chain_network(kind: str, modes: int, dim: int, largest: float) -> nn.Module:
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
    axes = chain_levels(dim)
    modes, shift = separable.whole_levels(axes, MOST_CHAIN)
    ground = separable.energies(axes, 1)[0]
    proposal = RotatedGaussian(_covariance(separable.states(axes, modes), dim))
    return Problem(
        name="coupled-oscillators",
        summary=f"chain of {dim} coupled oscillators, T = ∇² − Σx_i² + Σx_i x_i₊₁ {signed(shift)}",
        form=Schrodinger(chain, Lebesgue(proposal)) + shift,
        modes=modes,
        network=lambda kind, count: chain_network(kind, count, dim, shift - ground),
        exact=ExactSpectrum(lambda L: shift - separable.energies(axes, L), chain_functions),
        training=Training(steps=2400, batch=1024 if dim <= 2 else 2048, lr=1e-2, extra_shift=shift),
        energy=lambda v: shift - v,
        extent=(-6.0, 6.0),
        space=lambda count: confining(chain, dim, count),
    )
