"""What a fitted model does with entries that come, change or go."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy import sparse

from schmidt.completion.entries import numbers, pairs
from schmidt.completion.living import changes, extended, regressed
from schmidt.completion.model import Biases
from schmidt.completion.stored import Stored

NAMES = (("row_factors_", "row_biases_"), ("column_factors_", "column_biases_"))


class Updates(Stored):
    """``fold_in``, ``partial_fit`` and ``forget`` of :class:`MatrixCompletion`."""

    biases: bool
    duplicates: str

    def fit(self, X: Any, columns: Any = None, values: Any = None, *, layout: str = "auto") -> Self:
        raise NotImplementedError

    def fold_in(self, rows: Any, columns: Any, values: Any) -> Self:
        """Add entries of new rows, or further ones of known rows, without a new fit.

        Each row concerned is regressed on the factors of its columns, with the penalties or priors
        of the fit; columns and other rows stay as they are. O(k²) per entry and O(k³) per row,
        whatever the size of the matrix.

        Args:
            rows: ids; new ones are appended. New rows of a matrix are numbered m, m + 1, ….
            columns: known ids.
            values: numbers.

        Raises:
            ValueError: unknown columns, or a place that has a value already (``duplicates`` may
                allow it). Nothing is changed.
        """
        self._require_fitted()
        given = (rows, columns, values)
        return self._renew(given, self.duplicates, known=True, sides=(0,))

    def partial_fit(self, X: Any, columns: Any = None, values: Any = None) -> Self:
        """Add entries, of new or known rows and columns, or replace known ones.

        The rows and columns concerned are regressed anew, columns first: the others, the mean, the
        penalties or priors and the rank stay as they are until the next ``fit``. Not fitted, it is
        ``fit``.

        Args:
            X, columns, values: triples, or pairs (N, 2) and values. Of several values for one place
                the last counts.
        """
        if not hasattr(self, "row_factors_"):
            return self.fit(X, columns, values)
        if values is None and columns is not None:
            (X, columns), values = pairs(X), columns
        if values is None:
            raise ValueError("partial_fit takes (rows, columns, values) or (pairs, values)")
        return self._renew((X, columns, values), "last", known=False, sides=(1, 0, 1))

    def forget(self, row: Any) -> Self:
        """Fit again without the entries of a row: the model of somebody who never saw them.

        Whatever is learned depends on all entries, so nothing less removes every trace. Its id goes
        too, except in a matrix, where the row stays and is empty.
        """
        self._require_fitted()
        (at,) = self.row_ids_.require([row])
        x = self._seen
        kept = x.rows != at
        if not kept.any():
            raise ValueError(f"there are no other entries than those of {row!r}")
        r, c, v = x.rows[kept], x.columns[kept], x.values[kept]
        if self.row_ids_.counted:
            return self.fit(sparse.coo_array((v, (r, c)), shape=x.shape))
        ids = self.row_ids_.labels, self.column_ids_.labels
        return self.fit([ids[0][i] for i in r], [ids[1][j] for j in c], v)

    def _renew(self, triples: Any, rule: str, *, known: bool, sides: tuple[int, ...]) -> Self:
        both, seen, unit = (self.row_ids_, self.column_ids_), self._living, self.unit_
        scaled = (*triples[:2], numbers(triples[2]) / unit)
        entries, new = changes(seen, both, scaled, rule, known=known)
        if not entries:
            return self
        for ids, labels in zip(both, new, strict=True):
            ids.append(labels)
        seen.put(entries, (len(both[0]), len(both[1])))
        lines = [sorted({r for r, _, _ in entries}), sorted({c for _, c, _ in entries})]
        for side, pair in enumerate(NAMES):
            for name in pair:
                setattr(self, name, extended(getattr(self, name), len(new[side])))
        root = float(np.sqrt(unit))
        for side in sides:
            if self._posterior is not None:
                for other in (0, 1):
                    self._posterior.grow(other, len(both[other]))
                self._posterior.renew(side, lines[side], seen, self.mean_ / unit)
                means = self._posterior.sides[side].means[lines[side]]
                factors, biases = means[:, :-1], means[:, -1] * self.biases
            else:
                known_biases = Biases(
                    self.mean_ / unit,
                    self.row_biases_ / unit,
                    self.column_biases_ / unit,
                    self.bias_penalties_,
                )
                other_factors = (self.column_factors_, self.row_factors_)[side]
                factors, biases = regressed(
                    seen,
                    side,
                    lines[side],
                    other_factors,
                    known_biases,
                    unit,
                    (self.penalty_ or 0.0) / unit,
                )
            getattr(self, NAMES[side][0])[lines[side]] = factors * root
            getattr(self, NAMES[side][1])[lines[side]] = biases * unit
        return self
