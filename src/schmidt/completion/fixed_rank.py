"""The constrained problem: the matrix of rank k that is nearest to X on the observed entries.

    minimise ½ Σ_observed (X − μ − b1ᵀ − 1cᵀ − ABᵀ)² + ½λ(‖A‖² + ‖B‖²) + bias penalties

over A (m, k), B (n, k) and the biases b, c.

With λ = 0 and no biases this is min Σ_observed (X − C)² subject to rank C ≤ k. It is not convex.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from schmidt.completion.model import Biases, LowRank, Model
from schmidt.completion.observed import Observed
from schmidt.completion.soft_impute import gradient_norm

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


HALVINGS, STEPS, EXACT = 20, 2, 1e-10


def fixed_rank(
    x: Observed,
    biases: Biases,
    right: np.ndarray,
    penalty: float,
    *,
    tol: float,
    max_iter: int,
) -> tuple[Model, int]:
    """Alternating least squares: the rows with the columns held fixed, then the columns.

    Args:
        x: the observed entries.
        biases: where to start; the mean and the penalties are kept.
        right: (n, k) where to start.
        penalty: λ ≥ 0 on the squares of the factors.
        tol: stop when the objective falls by less than tol² times itself in an iteration.
        max_iter: at most so many iterations.

    Returns:
        The model, and the number of iterations. One costs O(Nk² + (m + n)k³).
    """
    state = _State(x, x.transposed(), biases, right)
    objective = state.step(penalty)
    iterations = 1
    floor = EXACT**2 * float(x.values @ x.values)
    while iterations < max_iter:
        iterations += 1
        before, objective = objective, state.step(penalty)
        if before - objective <= tol**2 * objective or objective <= floor:
            break
    return Model(state.biases, LowRank.of_product(state.left, state.right)), iterations


def annealed_start(x: Observed, biases: Biases, rank: int, penalty: float, seed: int) -> np.ndarray:
    """Columns' factors (n, rank) to start from: random, then a penalty that falls to λ.

    A large penalty makes the problem almost convex, and its solution is a better start for a
    smaller one than a random start is.
    """
    right = x.normals(1, rank, seed) / np.sqrt(rank)
    state = _State(x, x.transposed(), biases, right)
    falling = gradient_norm(x, biases) * 0.5 ** np.arange(1, HALVINGS + 1)
    for current in falling[falling > penalty]:
        for _ in range(STEPS):
            state.step(float(current))
    return state.right


class _State:
    """Factors and biases between half steps."""

    def __init__(self, x: Observed, xt: Observed, biases: Biases, right: np.ndarray) -> None:
        self.x, self.xt, self.biases, self.right = x, xt, biases, right
        self.left = np.zeros((x.shape[0], right.shape[1]))

    def step(self, penalty: float) -> float:
        """The rows, then the columns; returns the objective."""
        b = self.biases
        self.left, rows = row_model(self.x, self.right, b, penalty)
        flipped = Biases(b.mean, b.columns, rows, (b.penalties[1], b.penalties[0]))
        self.right, columns = row_model(self.xt, self.left, flipped, penalty)
        self.biases = Biases(b.mean, rows, columns, b.penalties)
        e = self.x.values - self.biases.at(self.x.rows, self.x.columns)
        e -= self.x.low_rank(self.left, self.right)
        ridge = penalty * (np.sum(self.left**2) + np.sum(self.right**2))
        for rho, bias in zip(b.penalties, (rows, columns), strict=True):
            if np.isfinite(rho):
                ridge += rho * float(bias @ bias)
        return float(0.5 * (e @ e) + 0.5 * ridge)
