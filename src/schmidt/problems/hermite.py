"""Hermite functions, and matrices of polynomials and derivatives in their basis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import eigh


def hermite_functions(t: np.ndarray, count: int) -> np.ndarray:
    """h_0 … h_{count−1}, normalised in L²(R): (N,) → (N, count).

    By h_{n+1} = √(2/(n+1)) t h_n − √(n/(n+1)) h_{n−1}, which neither overflows nor cancels.
    """
    out = np.empty((len(t), count))
    out[:, 0] = np.pi**-0.25 * np.exp(-t * t / 2)
    if count > 1:
        out[:, 1] = np.sqrt(2) * t * out[:, 0]
    for n in range(1, count - 1):
        out[:, n + 1] = np.sqrt(2 / (n + 1)) * t * out[:, n] - np.sqrt(n / (n + 1)) * out[:, n - 1]
    return out


def multiplication(coefficients: Sequence[float], size: int, scale: float = 1.0) -> np.ndarray:
    """⟨h_m|Σ_k c_k x^k|h_n⟩ for x = scale·t, exactly: (size, size)."""
    padded = size + len(coefficients)
    side = scale * np.sqrt(np.arange(1, padded) / 2)
    x = np.diag(side, 1) + np.diag(side, -1)
    total = np.zeros((padded, padded))
    for c in reversed(coefficients):
        total = total @ x + c * np.eye(padded)
    return total[:size, :size]


def kinetic(size: int, scale: float = 1.0) -> np.ndarray:
    """⟨h_m|−d²/dx²|h_n⟩ for x = scale·t, by −d²/dt² + t² = 2n + 1: (size, size)."""
    number = np.diag(2.0 * np.arange(size) + 1)
    return (number - multiplication((0.0, 0.0, 1.0), size)) / scale**2


def polynomial_well(
    coefficients: Sequence[float], size: int, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, ascending, and eigenvectors of −d²/dx² + Σ_k c_k x^k in ``size`` Hermite
    functions of x/scale (Galerkin's method)."""
    values, vectors = eigh(kinetic(size, scale) + multiplication(coefficients, size, scale))
    return values, vectors
