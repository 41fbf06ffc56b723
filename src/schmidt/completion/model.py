"""What a completed matrix is made of: biases, and a low-rank part in the form U diag(d) Vᵀ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schmidt.completion.observed import Observed, product_at

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

    def __mul__(self, unit: float) -> Biases:
        """The same in other units; the penalties, which count entries, stay."""
        return Biases(self.mean * unit, self.rows * unit, self.columns * unit, self.penalties)

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


@dataclass(frozen=True)
class LowRank:
    """M = U diag(d) Vᵀ with orthonormal columns and d descending; the rank may be 0."""

    left: np.ndarray
    values: np.ndarray
    right: np.ndarray

    @classmethod
    def zero(cls, shape: tuple[int, int]) -> LowRank:
        """Rank 0."""
        return cls(np.zeros((shape[0], 0)), np.zeros(0), np.zeros((shape[1], 0)))

    @classmethod
    def of_product(cls, left: np.ndarray, right: np.ndarray) -> LowRank:
        """left rightᵀ; O((m + n)k²)."""
        q, r = np.linalg.qr(left)
        p, t = np.linalg.qr(right)
        u, d, vh = np.linalg.svd(r @ t.T)
        return cls(q @ u, d, p @ vh.T)

    @property
    def rank(self) -> int:
        """The number of terms."""
        return len(self.values)

    def truncate(self, rank: int) -> LowRank:
        """The first terms."""
        return LowRank(self.left[:, :rank], self.values[:rank], self.right[:, :rank])

    def balanced(self) -> tuple[np.ndarray, np.ndarray]:
        """A = U √d and B = V √d: M = ABᵀ, and the split with the least ½(‖A‖² + ‖B‖²) = ‖M‖_*."""
        root = np.sqrt(self.values)
        return self.left * root, self.right * root

    def at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """M_ij at the places (rows, columns)."""
        return product_at(self.left * self.values, self.right, rows, columns)


@dataclass(frozen=True)
class Model:
    """X_ij ≈ μ + b_i + c_j + M_ij."""

    biases: Biases
    part: LowRank

    def __mul__(self, unit: float) -> Model:
        """The same in other units of the values."""
        part = LowRank(self.part.left, self.part.values * unit, self.part.right)
        return Model(self.biases * unit, part)

    def at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """The model at the places (rows, columns); O(Nk)."""
        return self.biases.at(rows, columns) + self.part.at(rows, columns)

    def residual(self, x: Observed) -> np.ndarray:
        """P_Ω(X − model), in the order of the entries."""
        return x.values - self.at(x.rows, x.columns)

    def objective(self, x: Observed, penalty: float) -> float:
        """½‖P_Ω(X − model)‖² + ½ρ_b ‖b‖² + ½ρ_c ‖c‖² + λ‖M‖_*, jointly convex in b, c and M."""
        e = self.residual(x)
        b = self.biases
        ridge = sum(
            rho * float(bias @ bias)
            for rho, bias in zip(b.penalties, (b.rows, b.columns), strict=True)
            if np.isfinite(rho)
        )
        return 0.5 * float(e @ e) + 0.5 * ridge + penalty * float(self.part.values.sum())
