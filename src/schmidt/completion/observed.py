"""The entries of a matrix that were observed, and what a low-rank matrix is there.

Whatever is drawn at random for an entry, a row or a column – the held-out part, a start – is drawn
from a *key* of it, a hash of its label or of its content, and never from its position: the same
table in another order gives the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.special import ndtri

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
        labels: (m,) and (n,) uint64 hashes of the labels of rows and columns; None where these
            are mere positions.
    """

    shape: tuple[int, int]
    starts: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    labels: Keys | None = None

    @classmethod
    def of(
        cls,
        rows: np.ndarray,
        columns: np.ndarray,
        values: np.ndarray,
        shape: tuple[int, int],
        labels: Keys | None = None,
    ) -> Observed:
        """Entries in any order; no place may occur twice."""
        order = np.argsort(rows.astype(np.int64) * max(shape[1], 1) + columns)
        counts = np.bincount(rows, minlength=shape[0])
        starts = np.concatenate([[0], np.cumsum(counts)])
        ordered = columns[order].astype(np.intp), values[order].astype(float)
        return cls(shape, starts, *ordered, labels)

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

    @cached_property
    def keys(self) -> Keys:
        """(m,) and (n,) different numbers, from the labels or else from the content."""
        rows, columns = _content(self) if self.labels is None else self.labels
        return _distinct(rows), _distinct(columns)

    def normals(self, side: int, count: int, seed: int) -> np.ndarray:
        """Standard normal numbers (m or n, count) for the rows (``side`` 0) or columns (1)."""
        along = _mix(np.arange(count, dtype=np.uint64) ^ _mix(np.array([seed], dtype=np.uint64)))
        bits = _mix(self.keys[side][:, None] + along)
        return np.asarray(ndtri(((bits >> np.uint64(11)).astype(float) + 0.5) * 2.0**-53))

    def with_values(self, values: np.ndarray) -> Observed:
        """The same places with other values."""
        return Observed(self.shape, self.starts, self.columns, values, self.labels)

    def matrix(self, values: np.ndarray | None = None) -> sparse.csr_array:
        """The values, or others at the same places, as a sparse matrix with zeros elsewhere."""
        data = self.values if values is None else values
        return sparse.csr_array((data, self.columns, self.starts), shape=self.shape)

    def transposed(self) -> Observed:
        """The same entries of the transposed matrix."""
        labels = None if self.labels is None else self.labels[::-1]
        return Observed.of(self.columns, self.rows, self.values, self.shape[::-1], labels)

    def row_sums(self, values: np.ndarray) -> np.ndarray:
        """(m,) sums over the entries of each row."""
        return np.bincount(self.rows, values, self.shape[0])

    def column_sums(self, values: np.ndarray) -> np.ndarray:
        """(n,) sums over the entries of each column."""
        return np.bincount(self.columns, values, self.shape[1])

    def low_rank(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """(left rightᵀ)_ij at the entries, without forming the product."""
        return product_at(left, right, self.rows, self.columns)

    def folds(self, fraction: float, count: int, seed: int) -> list[tuple[Observed, Observed]]:
        """Pairs of parts: all but ``fraction`` of the entries, and the rest; no rest meets another.

        Which entries go where depends on the keys of their rows and columns and the seed alone.

        Args:
            fraction: of the entries in each rest.
            count: how many pairs, at most 1 / ``fraction``.
            seed: another one gives other parts.
        """
        rows, columns = self.keys
        start = _mix(np.array([seed], dtype=np.uint64))
        order = np.argsort(_mix(rows[self.rows] ^ _mix(columns[self.columns] + start)))
        size = max(1, round(fraction * len(self)))
        out = []
        for i in range(count):
            held = np.zeros(len(self), dtype=bool)
            held[order[i * size : (i + 1) * size]] = True
            out.append((self._part(~held), self._part(held)))
        return out

    def _part(self, kept: np.ndarray) -> Observed:
        starts = np.concatenate([[0], np.cumsum(np.bincount(self.rows[kept], None, self.shape[0]))])
        return Observed(self.shape, starts, self.columns[kept], self.values[kept], self.keys)


def unit_of(values: np.ndarray) -> float:
    """A power of four near the largest magnitude, so that neither squares nor roots lose digits."""
    largest = float(np.abs(values).max())
    return float(4.0 ** np.floor((np.frexp(largest)[1] - 1) / 2)) if largest else 1.0


Keys = tuple[np.ndarray, np.ndarray]


def _mix(numbers: np.ndarray) -> np.ndarray:
    """The finalizer of splitmix64 (Steele, Lea and Flood 2014): one bit turns half of all."""
    z = numbers + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


def _distinct(keys: np.ndarray) -> np.ndarray:
    """Equal keys made different, by counting them."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(keys)]
    place = np.arange(len(keys))
    again = (place - np.maximum.accumulate(np.where(first, place, 0))).astype(np.uint64)
    out = np.empty_like(keys)
    out[order] = _mix(ordered ^ _mix(again))
    return out


def _content(x: Observed) -> Keys:
    """Numbers for rows and columns from what stands in them, whatever the order of both.

    Three rounds in which a row adds up its values, each mixed with the number of its column, and
    a column does so with its rows (Weisfeiler and Leman 1968).
    """
    values = _mix((x.values + 0.0).view(np.uint64))
    rows, columns = (np.zeros(size, dtype=np.uint64) for size in x.shape)
    for _ in range(3):
        new = np.zeros_like(rows), np.zeros_like(columns)
        np.add.at(new[0], x.rows, _mix(values ^ columns[x.columns]))
        np.add.at(new[1], x.columns, _mix(values + _mix(rows[x.rows])))
        rows, columns = _mix(new[0]), _mix(new[1])
    return rows, columns


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
