"""What a fitted ``MatrixCompletion`` says about places, and about rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError

from schmidt.completion.entries import numbers
from schmidt.completion.ids import Ids, plain, unknown_message
from schmidt.completion.observed import Observed, product_at


class Predictions:
    """Mean, biases and factors → values at places, whole matrices, recommendations."""

    unknown: str
    mean_: float
    row_biases_: np.ndarray
    column_biases_: np.ndarray
    row_factors_: np.ndarray
    column_factors_: np.ndarray
    limits_: tuple[float, float] | None
    row_ids_: Ids
    column_ids_: Ids
    _seen: Observed

    def predict(self, rows: Any, columns: Any) -> np.ndarray:
        """Values at the places (rows, columns).

        Args:
            rows, columns: ids, as in ``fit``; of the same length, or one of them of length one.

        Returns:
            (N,). For ids that were never seen see ``unknown``.
        """
        self._require_fitted()
        r, c = self._find(rows, columns)
        r, c = _same_length(r, c)
        out = self.mean_ + np.where(r < 0, 0, self.row_biases_[r])
        out += np.where(c < 0, 0, self.column_biases_[c])
        known = (r >= 0) & (c >= 0)
        out[known] += product_at(self.row_factors_, self.column_factors_, r[known], c[known])
        return self._clipped(out)

    def reconstruct(self) -> np.ndarray:
        """The whole matrix (m, n), predictions at observed places included."""
        self._require_fitted()
        full = self.row_factors_ @ self.column_factors_.T
        full += self.mean_ + self.row_biases_[:, None] + self.column_biases_
        return self._clipped(full)

    def score(self, rows: Any, columns: Any, values: Any) -> float:
        """Minus the root mean square error of :meth:`predict`: larger is better."""
        error = self.predict(rows, columns) - numbers(values)
        return -float(np.sqrt(np.mean(error**2)))

    def recommend(
        self, row: Any, n: int = 10, *, exclude_seen: bool = True
    ) -> list[tuple[Any, float]]:
        """The columns with the largest predictions for one row.

        Args:
            row: its id. One never seen gets the columns with the largest biases, or an error: see
                ``unknown``.
            n: how many; fewer come where there are not so many.
            exclude_seen: leave out what was observed in this row.

        Returns:
            Pairs of column id and prediction, best first; ranked before predictions are clipped.
        """
        self._require_fitted()
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        (position,), _ = self._find([row], [])
        scores = self.mean_ + self.column_biases_
        if position >= 0:
            scores = scores + self.row_biases_[position]
            scores = scores + self.column_factors_ @ self.row_factors_[position]
        candidates = np.arange(len(scores))
        if exclude_seen and position >= 0:
            start, stop = self._seen.starts[position : position + 2]
            candidates = np.setdiff1d(candidates, self._seen.columns[start:stop])
        best = candidates[np.argsort(-scores[candidates], kind="stable")[:n]]
        shown = self._clipped(scores[best])
        return [(self.column_ids_.labels[c], float(s)) for c, s in zip(best, shown, strict=True)]

    def _find(self, rows: Any, columns: Any) -> tuple[np.ndarray, np.ndarray]:
        found = []
        for ids, values in ((self.row_ids_, rows), (self.column_ids_, columns)):
            positions = ids.find(values)
            if self.unknown == "error" and (positions < 0).any():
                wrong = [v for v, p in zip(plain(values), positions, strict=True) if p < 0]
                raise ValueError(unknown_message(ids.what, wrong, len(ids)))
            found.append(positions)
        return found[0], found[1]

    def _clipped(self, values: np.ndarray) -> np.ndarray:
        return values if self.limits_ is None else np.clip(values, *self.limits_)

    def _require_fitted(self) -> None:
        if not hasattr(self, "row_factors_"):
            raise NotFittedError(f"this {type(self).__name__} is not fitted: call fit first")


def _same_length(rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(rows) != len(columns) and 1 not in (len(rows), len(columns)):
        raise ValueError(
            f"rows and columns must have the same length, or one of them length 1; got "
            f"{len(rows)} and {len(columns)}"
        )
    r, c = np.broadcast_arrays(rows, columns)
    return r, c
