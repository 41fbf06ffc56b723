"""The constrained problem: the matrix of rank k that is nearest to X on the observed entries.

    minimise ½ Σ_observed (X − μ − b1ᵀ − 1cᵀ − ABᵀ)² + ½λ(‖A‖² + ‖B‖²) + bias penalties

over A (m, k), B (n, k) and the biases b, c.

With λ = 0 and no biases this is min Σ_observed (X − C)² subject to rank C ≤ k. It is not convex.
"""

from __future__ import annotations

import numpy as np

from schmidt.completion.biases import Biases
from schmidt.completion.model import LowRank, Model
from schmidt.completion.observed import Observed
from schmidt.completion.ridge import row_model
from schmidt.completion.soft_impute import gradient_norm

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


def annealed_start(
    x: Observed, biases: Biases, rank: int, penalty: float, rng: np.random.Generator
) -> np.ndarray:
    """Columns' factors (n, rank) to start from: random, then a penalty that falls to λ.

    A large penalty makes the problem almost convex, and its solution is a better start for a
    smaller one than a random start is.
    """
    right = rng.standard_normal((x.shape[1], rank)) / np.sqrt(rank)
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
