"""What to show a row, and what resembles a column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from schmidt.completion.stored import Stored
from schmidt.parameters import FLAG, Allowed, Number, check

PARAMETERS: dict[str, Allowed] = {"n": Number(1, whole=True), "exclude_seen": FLAG}
BLOCK = 1 << 22
"""Predictions held at once."""


class Recommendations(Stored):
    """``recommend``, ``recommend_many`` and ``similar_items`` of :class:`MatrixCompletion`."""

    unknown: str

    def recommend(
        self, row: Any, n: int = 10, *, exclude_seen: bool = True
    ) -> list[tuple[Any, float]]:
        """The columns with the largest predictions for one row.

        Args:
            row: its id. One never seen gets the columns with the largest biases; see ``unknown``.
            n: how many; fewer come where there are not so many.
            exclude_seen: leave out what was observed in this row.

        Returns:
            Pairs of column id and prediction, best first; ranked before predictions are clipped.
        """
        return self.recommend_many([row], n, exclude_seen=exclude_seen)[0]

    def recommend_many(
        self, rows: Sequence[Any] | None = None, n: int = 10, *, exclude_seen: bool = True
    ) -> list[list[tuple[Any, float]]]:
        """As :meth:`recommend`, for several rows at once; None: all of them, in order.

        Returns:
            A list per row. O(rows · n_columns · k), in blocks of bounded memory.
        """
        self._require_fitted()
        check(PARAMETERS, n=n, exclude_seen=exclude_seen)
        if rows is None:
            positions = np.arange(len(self.row_ids_))
        else:
            positions = self.row_ids_.known(rows, self.unknown)
        labels, out = self.column_ids_.labels, []
        step = max(1, BLOCK // max(1, len(labels)))
        for start in range(0, len(positions), step):
            part = positions[start : start + step]
            known = part >= 0
            scores = np.tile(self.mean_ + self.column_biases_, (len(part), 1))
            scores[known] += self.row_biases_[part[known], None]
            scores[known] += self.row_factors_[part[known]] @ self.column_factors_.T
            for at, line in zip(part, scores, strict=True):
                if exclude_seen and at >= 0:
                    line[self._living.line(0, int(at))[0]] = -np.inf
                best = _largest(line, n)
                shown = self._clipped(line[best]).tolist()
                out.append([(labels[c], s) for c, s in zip(best, shown, strict=True)])
        return out

    def similar_items(self, column: Any, n: int = 10) -> list[tuple[Any, float]]:
        """The columns nearest to one, by the cosine of what the low-rank part says of the rows.

        With M = ABᵀ the columns of M have the inner products BAᵀABᵀ. Mean and biases do not count.

        Args:
            column: its id.
            n: how many.

        Returns:
            Pairs of column id and cosine, largest first; none where the low-rank part says nothing
            of this column.
        """
        self._require_fitted()
        check(PARAMETERS, n=n)
        (at,) = self.column_ids_.require([column])
        points = self.column_factors_ @ np.linalg.qr(self.row_factors_)[1].T
        lengths = np.linalg.norm(points, axis=1)
        if not lengths[at] > 0:
            return []
        scores = points @ points[at] / np.where(lengths > 0, lengths, 1) / lengths[at]
        scores[(lengths == 0)] = -np.inf
        scores[at] = -np.inf
        best = _largest(scores, n)
        return [(self.column_ids_.labels[c], float(scores[c])) for c in best]


def _largest(scores: np.ndarray, n: int) -> np.ndarray:
    """Positions of the n largest finite ones, in order; equal ones as they stand."""
    allowed = np.flatnonzero(scores > -np.inf)
    if len(allowed) > n:
        least = np.partition(scores[allowed], -n)[-n]
        allowed = allowed[scores[allowed] >= least]
    return allowed[np.argsort(-scores[allowed], kind="stable")[:n]]
