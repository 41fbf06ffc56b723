"""A cosine potential on the torus: T = ∇² − Σ cos x_i + c, solved by Mathieu functions."""

from __future__ import annotations

import math

import numpy as np
from scipy.linalg import eigh_tridiagonal
from scipy.special import mathieu_a, mathieu_b
from torch import Tensor

from schmidt.operators.differential import Schrodinger
from schmidt.operators.ritz import TorusSpace
from schmidt.operators.training import Training
from schmidt.problems import separable
from schmidt.problems.problem import Exact, Problem
from schmidt.problems.torus import network, periodic_measure, waves

MOST = 16


def cosines(x: Tensor) -> Tensor:
    return x.cos().sum(1)


def level(n: int) -> float:
    """−f″ + cos(x) f = λ f with period 2π: λ_n = a_n(2)/4 for even n, b_{n+1}(2)/4 for odd n.

    With x = 2z it is Mathieu's equation y″ + (4λ − 4 cos 2z) y = 0, so q = 2; the characteristic
    values of even order belong to functions of period π in z (DLMF 28.2).
    """
    return float(mathieu_b(n + 1, 2.0) if n % 2 else mathieu_a(n, 2.0)) / 4


def galerkin(odd: bool, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Values and vectors of −d² + cos among ``size`` normalised cosines, or sines if ``odd``."""
    k = np.arange(size) + odd
    side = np.full(size - 1, 0.5)
    if not odd:
        side[0] = math.sqrt(0.5)
    values, vectors = eigh_tridiagonal(k.astype(float) ** 2, side)
    return values, vectors


def mathieu_functions(t: np.ndarray, count: int) -> np.ndarray:
    """The functions of the lowest levels, normalised in L²([0, 2π]): (N,) → (N, count)."""
    size = count // 2 + 24
    basis = waves(t, 2 * size)
    out = np.empty((len(t), count))
    # waves alternate: 1, cos t, sin t, cos 2t, sin 2t, …
    cosine_waves = basis[:, [0, *range(1, 2 * size, 2)]]
    sine_waves = basis[:, 2::2]
    for odd, wave in ((False, cosine_waves), (True, sine_waves)):
        _, vectors = galerkin(odd, wave.shape[1])
        kept = (count + (not odd)) // 2
        out[:, odd::2] = wave @ vectors[:, :kept]
    return out


def functions(x: np.ndarray, count: int) -> np.ndarray:
    """Products of Mathieu functions, normalised in L²([0, 2π]^d): (N, d) → (N, count)."""
    chosen = separable.states([level] * x.shape[1], count)
    sizes = separable.highest(chosen)
    tables = [mathieu_functions(t, n + 1) for t, n in zip(x.T, sizes, strict=True)]
    return separable.products(tables, chosen)


def cosine(dim: int = 2) -> Problem:
    """−T = −∇² + Σ cos x_i − c on [0, 2π]^d, periodic: sums of Mathieu's characteristic values.

    The modes are the complete levels with at most 16 states in all; the next level is at T = 0.

    Args:
        dim: d.
    """
    dim = separable.checked_dimension("cosine", dim)
    axes = [level] * dim
    modes, shift = separable.whole_levels(axes, MOST)
    ground = dim * level(0)
    return Problem(
        name="cosine",
        summary=f"cosine potential on the torus, d = {dim}, T = ∇² − Σcos x_i + {shift:.4g}",
        form=Schrodinger(cosines, periodic_measure(dim)) + shift,
        modes=modes,
        network=lambda kind, count: network(kind, count, dim, shift - ground),
        exact=Exact(lambda L: shift - separable.energies(axes, L), functions),
        training=Training(
            steps=2000, batch=800 if dim <= 2 else 2048, lr=1e-2, extra_shift=shift - ground
        ),
        energy=lambda v: shift - v,
        extent=(0.0, 2 * math.pi),
        space=lambda count: TorusSpace(dim),
    )
