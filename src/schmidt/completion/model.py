"""What a completed matrix is made of: biases and a low-rank part in the form U diag(d) Vᵀ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schmidt.completion.biases import Biases
from schmidt.completion.observed import Observed, product_at


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
