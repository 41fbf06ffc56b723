"""Ridge regression of every row at once: a_i minimises ½Σ_j (x_ij − f_j·a_i)² + ½Σ_l p_l a_il²."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from schmidt.completion.biases import Biases
from schmidt.completion.observed import Observed

MEMORY, ROUNDING = 1 << 20, 1e-10


def ridge_rows(x: Observed, features: np.ndarray, penalties: np.ndarray) -> np.ndarray:
    """Coefficients of each row's regression on the features of its columns.

    Rows with similar counts are solved together, padded with zeros to the longest of them.

    Args:
        x: the targets.
        features: (n, k), one row per column of ``x``.
        penalties: (k,) non-negative. Where a row has fewer entries than features and no penalty,
            the solution of least norm, up to rounding.

    Returns:
        (m, k), zero for rows without entries. Cost O(Nk² + mk³).
    """
    out = np.zeros((x.shape[0], features.shape[1]))
    padded = np.vstack([features, np.zeros((1, features.shape[1]))])
    diagonal = np.arange(features.shape[1])
    for rows, places in _batches(x, features.shape[1]):
        inside = places >= 0
        f = padded[np.where(inside, x.columns[places], -1)]
        ft = f.transpose(0, 2, 1)
        gram = ft @ f
        floor = ROUNDING * gram[:, diagonal, diagonal].sum(1, keepdims=True)
        gram[:, diagonal, diagonal] += np.maximum(penalties, np.maximum(floor, 1e-300))
        targets = np.where(inside, x.values[places], 0.0)[..., None]
        out[rows] = np.linalg.solve(gram, ft @ targets)[..., 0]
    return out


def row_model(
    x: Observed, right: np.ndarray, biases: Biases, penalty: float
) -> tuple[np.ndarray, np.ndarray]:
    """Factors and biases of the rows, with those of the columns held fixed.

    Minimises ½ Σ (x_ij − μ − c_j − b_i − a_i·right_j)² + ½ρ_b ‖b‖² + ½λ‖A‖².

    Returns:
        A (m, k) and b (m,); zero for rows without entries.
    """
    targets = x.with_values(x.values - biases.mean - biases.columns[x.columns])
    rho = biases.penalties[0]
    penalties = np.full(right.shape[1], penalty)
    if not np.isfinite(rho):
        return ridge_rows(targets, right, penalties), np.zeros(x.shape[0])
    # the bias's column as large as the others: floors under all of them have one scale
    size = float(np.sqrt(np.mean(right**2))) if right.size else 1.0
    size = size or 1.0
    features = np.hstack([right, np.full((len(right), 1), size)])
    found = ridge_rows(targets, features, np.append(penalties, rho * size**2))
    found[:, -1] *= size
    return found[:, :-1], found[:, -1]


def _batches(x: Observed, rank: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows with entries, in groups whose counts differ by less than a factor of two.

    Yields:
        Rows (B,), and the positions of their entries (B, longest), −1 where there are none.
    """
    counts = x.row_counts
    size = np.ceil(np.log2(np.maximum(counts, 1))).astype(int)
    for power in np.unique(size[counts > 0]):
        group = np.flatnonzero((size == power) & (counts > 0))
        longest = int(counts[group].max())
        step = max(1, MEMORY // (longest * max(rank, 1)))
        for start in range(0, len(group), step):
            rows = group[start : start + step]
            along = np.arange(longest)
            inside = along < counts[rows, None]
            yield rows, np.where(inside, x.starts[rows, None] + along, -1)
