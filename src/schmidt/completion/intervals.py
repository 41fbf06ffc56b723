"""Prediction intervals from errors on held-out entries (split conformal; Lei et al. 2018).

    x_ij ∈ prediction ± q ρ_i ρ_j s_ij,   s_ij² = v_i v_j / v + Var_ij        (1)

v_i and v_j are mean squares of a row's and a column's residuals, shrunk to that of all, v; Var_ij
is the posterior variance of variational Bayes, else 0. ρ corrects (1) in bins of rows and columns
with alike numbers of entries, and q is the quantile of |error| / (ρ_i ρ_j s_ij) at held-out
entries. So far this is conformal and covers what is drawn as the held-out entries were; as the
model is fitted to all entries afterwards, and bins and shrinkage see the same errors, the coverage
is measured, not guaranteed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schmidt.completion.living import Posterior
from schmidt.completion.model import Model
from schmidt.completion.observed import Observed

SHRINK, PER_BIN, MOST_BINS, ROUNDS = 10.0, 200, 10, 6


@dataclass(frozen=True)
class Scale:
    """v, v_i and v_j of (1), and numbers of entries."""

    overall: float
    rows: np.ndarray
    columns: np.ndarray
    row_counts: np.ndarray
    column_counts: np.ndarray

    @classmethod
    def of(cls, x: Observed, residual: np.ndarray) -> Scale:
        """From the residuals at the entries of a fit."""
        squares = residual**2
        overall = max(float(squares.mean()), np.finfo(float).tiny)
        sides = [
            (sums + SHRINK * overall) / (counts + SHRINK)
            for sums, counts in (
                (x.row_sums(squares), x.row_counts),
                (x.column_sums(squares), x.column_counts),
            )
        ]
        return cls(overall, sides[0], sides[1], x.row_counts, x.column_counts)

    def at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """v_i v_j / v at places; −1 is a row or column of which nothing is known."""
        v = np.where(_within(rows, self.rows), self.rows[_safe(rows, self.rows)], self.overall)
        known = _within(columns, self.columns)
        w = np.where(known, self.columns[_safe(columns, self.columns)], self.overall)
        return np.asarray(v * (w / self.overall))

    def support(self, rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of entries of rows and columns at places."""
        r, c = self.row_counts, self.column_counts
        return (
            np.where(_within(rows, r), r[_safe(rows, r)], 0),
            np.where(_within(columns, c), c[_safe(columns, c)], 0),
        )


@dataclass(frozen=True)
class Calibration:
    """|error| / s at held-out entries, with the numbers of entries of their rows and columns."""

    scores: np.ndarray
    row_counts: np.ndarray
    column_counts: np.ndarray

    @classmethod
    def of(
        cls,
        parts: Sequence[tuple[Observed, Observed]],
        models: Sequence[Model],
        posteriors: Sequence[Posterior | None],
        limits: tuple[float, float] | None,
    ) -> Calibration:
        """From the held-out parts of all folds."""
        found = []
        for (train, held), model, posterior in zip(parts, models, posteriors, strict=True):
            scale = Scale.of(train, model.residual(train))
            predicted = model.at(held.rows, held.columns)
            if limits is not None:
                predicted = np.clip(predicted, *limits)
            squares = scale.at(held.rows, held.columns)
            if posterior is not None:
                squares += posterior.variance(held.rows, held.columns)
            score = np.abs(held.values - predicted) / np.sqrt(squares)
            found.append((score, *scale.support(held.rows, held.columns)))
        return cls(*(np.concatenate(column) for column in zip(*found, strict=True)))

    def factor(self, rows: np.ndarray, columns: np.ndarray, coverage: float) -> np.ndarray:
        """q ρ_i ρ_j for rows and columns with so many entries.

        Raises:
            ValueError: fewer held-out entries than this coverage needs.
        """
        n = len(self.scores)
        if np.ceil((n + 1) * coverage) > n:
            raise ValueError(
                f"{n} held-out entries are too few for intervals that cover {coverage:.1%}"
            )
        count = max(1, min(MOST_BINS, n // PER_BIN))
        levels = np.arange(1, count) / count
        edges = [np.unique(np.quantile(c, levels)) for c in (self.row_counts, self.column_counts)]
        own = [
            np.searchsorted(e, c)
            for e, c in zip(edges, (self.row_counts, self.column_counts), strict=True)
        ]
        rho = [np.ones(len(e) + 1) for e in edges]
        for _ in range(ROUNDS):
            for side in (0, 1):
                left = self.scores / (rho[0][own[0]] * rho[1][own[1]])
                base = float(np.quantile(left, coverage)) or 1.0
                for b in range(len(rho[side])):
                    inside = left[own[side] == b]
                    if len(inside):
                        rho[side][b] *= float(np.quantile(inside, coverage)) / base or 1.0
        left = np.sort(self.scores / (rho[0][own[0]] * rho[1][own[1]]))
        q = left[int(np.ceil((n + 1) * coverage)) - 1]
        asked = [np.searchsorted(e, c) for e, c in zip(edges, (rows, columns), strict=True)]
        return np.asarray(q * rho[0][asked[0]] * rho[1][asked[1]])


def _within(at: np.ndarray, of: np.ndarray) -> np.ndarray:
    return np.asarray((at >= 0) & (at < len(of)))


def _safe(at: np.ndarray, of: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(at, 0, len(of) - 1))
