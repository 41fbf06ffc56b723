"""The entries of a matrix that were observed, and what a low-rank matrix is there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

BLOCK = 1 << 16
"""Numbers per block of gathered factor rows: half a megabyte, which stays in the cache."""


@dataclass(frozen=True)
class Observed:
    """P_Ω(X): entries in order of their rows, then of their columns.

    Attributes:
        shape: (m, n).
        starts: (m + 1,) row i has the entries ``starts[i]:starts[i + 1]``.
        columns: (N,) column of each entry.
        values: (N,) float64.
    """

    shape: tuple[int, int]
    starts: np.ndarray
    columns: np.ndarray
    values: np.ndarray

    @classmethod
    def of(
        cls, rows: np.ndarray, columns: np.ndarray, values: np.ndarray, shape: tuple[int, int]
    ) -> Observed:
        """Entries in any order; no place may occur twice."""
        order = np.lexsort((columns, rows))
        counts = np.bincount(rows, minlength=shape[0])
        starts = np.concatenate([[0], np.cumsum(counts)])
        return cls(shape, starts, columns[order].astype(np.intp), values[order].astype(float))

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def rows(self) -> np.ndarray:
        """(N,) row of each entry."""
        return np.repeat(np.arange(self.shape[0]), np.diff(self.starts))

    @cached_property
    def row_counts(self) -> np.ndarray:
        """(m,) entries per row."""
        return np.diff(self.starts)

    @cached_property
    def column_counts(self) -> np.ndarray:
        """(n,) entries per column."""
        return np.bincount(self.columns, minlength=self.shape[1])

    def with_values(self, values: np.ndarray) -> Observed:
        """The same places with other values."""
        return Observed(self.shape, self.starts, self.columns, values)

    def matrix(self, values: np.ndarray | None = None) -> sparse.csr_array:
        """The values, or others at the same places, as a sparse matrix with zeros elsewhere."""
        data = self.values if values is None else values
        return sparse.csr_array((data, self.columns, self.starts), shape=self.shape)

    def transposed(self) -> Observed:
        """The same entries of the transposed matrix."""
        return Observed.of(self.columns, self.rows, self.values, self.shape[::-1])

    def row_sums(self, values: np.ndarray) -> np.ndarray:
        """(m,) sums over the entries of each row."""
        return np.bincount(self.rows, values, self.shape[0])

    def column_sums(self, values: np.ndarray) -> np.ndarray:
        """(n,) sums over the entries of each column."""
        return np.bincount(self.columns, values, self.shape[1])

    def low_rank(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """(left rightᵀ)_ij at the entries, without forming the product."""
        return product_at(left, right, self.rows, self.columns)

    def split(self, fraction: float, rng: np.random.Generator) -> tuple[Observed, Observed]:
        """Two parts at random: the first with 1 − ``fraction`` of the entries, and the rest."""
        held = np.zeros(len(self), dtype=bool)
        count = max(1, round(fraction * len(self)))
        held[rng.choice(len(self), size=count, replace=False)] = True
        kept, out = (
            Observed.of(self.rows[part], self.columns[part], self.values[part], self.shape)
            for part in (~held, held)
        )
        return kept, out


def product_at(
    left: np.ndarray, right: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """(left rightᵀ)_ij at the places (rows, columns).

    Args:
        left, right: (m, k) and (n, k).
        rows, columns: (N,) places.

    Returns:
        (N,). Cost O(Nk), in blocks whose gathered rows stay in the cache, because this product is
        what an iteration of any solver here spends its time on.
    """
    out = np.zeros(len(rows))
    rank = left.shape[1]
    if rank == 0:
        return out
    step = max(256, BLOCK // rank)
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        a, b = left.take(rows[part], axis=0), right.take(columns[part], axis=0)
        np.einsum("ij,ij->i", a, b, out=out[part])
    return out
