"""Row and column biases: what a user rates on average, what a film is rated on average."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schmidt.completion.observed import Observed

ROUNDS, TINY = 30, 1e-12


@dataclass(frozen=True)
class Biases:
    """X_ij ≈ μ + b_i + c_j, with the ridge penalties ½ρ_b ‖b‖² + ½ρ_c ‖c‖².

    Attributes:
        mean: μ, the mean of all entries.
        rows, columns: (m,) b and (n,) c; zero where nothing was observed.
        penalties: ρ_b and ρ_c, in entries: a bias that rests on ρ entries is halved. They are large
            where rows, or columns, do not differ beyond chance; infinite where there are no biases.
    """

    mean: float
    rows: np.ndarray
    columns: np.ndarray
    penalties: tuple[float, float]

    @classmethod
    def none(cls, shape: tuple[int, int]) -> Biases:
        """No mean and no biases."""
        return cls(0.0, np.zeros(shape[0]), np.zeros(shape[1]), (np.inf, np.inf))

    def at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """μ + b_i + c_j at the places (rows, columns)."""
        return self.mean + self.rows[rows] + self.columns[columns]


def refit_rows(x: Observed, biases: Biases, residual: np.ndarray) -> tuple[Biases, np.ndarray]:
    """b minimising ½‖residual‖² + ½ρ‖b‖² with all else fixed, and the new residual; O(N)."""
    rho = biases.penalties[0]
    if not np.isfinite(rho):
        return biases, residual
    counts = x.row_counts
    new = (x.row_sums(residual) + counts * biases.rows) / np.maximum(counts + rho, TINY)
    change = new - biases.rows
    return Biases(biases.mean, new, biases.columns, biases.penalties), residual - change[x.rows]


def refit_columns(x: Observed, biases: Biases, residual: np.ndarray) -> tuple[Biases, np.ndarray]:
    """c, as :func:`refit_rows` does b."""
    rho = biases.penalties[1]
    if not np.isfinite(rho):
        return biases, residual
    counts = x.column_counts
    new = (x.column_sums(residual) + counts * biases.columns) / np.maximum(counts + rho, TINY)
    change = new - biases.columns
    return Biases(biases.mean, biases.rows, new, biases.penalties), residual - change[x.columns]


def fit_biases(x: Observed, penalties: tuple[float, float] | None = None) -> Biases:
    """Mean and biases by alternating ridge regressions.

    Args:
        x: the observed entries.
        penalties: ρ_b and ρ_c; by default σ²/τ_b² and σ²/τ_c² of the random-effects model
            X_ij = μ + b_i + c_j + ε_ij with variances τ_b², τ_c², σ², which expectation
            maximisation estimates in the same rounds (Searle et al. 1992, ch. 8).

    Returns:
        The biases. Cost O(N) per round, 30 rounds.
    """
    mean = float(x.values.mean())
    zero = Biases(mean, np.zeros(x.shape[0]), np.zeros(x.shape[1]), penalties or (1.0, 1.0))
    biases, residual = zero, x.values - mean
    for _ in range(ROUNDS):
        biases, residual = refit_columns(x, biases, residual)
        biases, residual = refit_rows(x, biases, residual)
        if penalties is None:
            biases = _reweighted(x, biases, residual)
    return biases


def _reweighted(x: Observed, biases: Biases, residual: np.ndarray) -> Biases:
    """ρ = σ²/τ², where τ² = mean of b² + its posterior variance σ²/(count + ρ)."""
    sides = (
        (biases.rows, x.row_counts, biases.penalties[0]),
        (biases.columns, x.column_counts, biases.penalties[1]),
    )
    spent = sum(float((counts / np.maximum(counts + rho, TINY)).sum()) for _, counts, rho in sides)
    noise = float(residual @ residual) / max(len(residual) - spent, 1)
    found = []
    for b, counts, rho in sides:
        seen = counts > 0
        variance = float(np.mean(b[seen] ** 2 + noise / (counts[seen] + rho)))
        found.append(noise / max(variance, TINY * noise, np.finfo(float).tiny))
    return Biases(biases.mean, biases.rows, biases.columns, (found[0], found[1]))
