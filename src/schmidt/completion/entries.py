"""What users call a matrix with holes, as :class:`Observed`; whatever is wrong is said here."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from schmidt.completion.ids import Ids, plain
from schmidt.completion.observed import Observed


def entries(X: Any, columns: Any, values: Any) -> tuple[Observed, Ids, Ids]:
    """Entries with the ids of their rows and columns.

    Args:
        X: a scipy sparse matrix, whose *stored* entries are observed, zeros included; or a dense
            one with NaN in the holes; or the rows of triples.
        columns, values: the rest of the triples, or None.
    """
    if (columns is None) != (values is None):
        raise ValueError("triples need all of rows, columns and values: fit(rows, columns, values)")
    if columns is not None:
        return _from_triples(X, columns, values)
    if sparse.issparse(X):
        return _from_sparse(X)
    if isinstance(X, tuple | list) and len(X) and isinstance(X[0], tuple):
        raise ValueError("for triples call fit(rows, columns, values): fit(*zip(*triples))")
    return _from_dense(X)


def numbers(values: Any) -> np.ndarray:
    """Finite numbers, or a clear error; strings are not converted."""
    array = np.asarray(values)
    if array.dtype.kind == "O":
        wrong = next((v for v in array.ravel() if not isinstance(v, int | float | np.number)), None)
        if wrong is not None:
            raise ValueError(
                f"values must be numbers, got {wrong!r} of type {type(wrong).__name__}"
            )
    elif array.dtype.kind not in "iuf":
        first = array.ravel()[0] if array.size else array.dtype
        hint = ": convert them first, for example with float" if array.dtype.kind in "US" else ""
        raise ValueError(f"values must be real numbers, got {first!r}{hint}")
    return array.astype(float)


def require_finite(values: np.ndarray) -> None:
    """Refuse NaN and infinity among values that are said to be observed."""
    bad = ~np.isfinite(values)
    if bad.any():
        raise ValueError(
            f"{int(bad.sum())} of {len(values)} values are not finite (the first is number "
            f"{int(bad.argmax())}: {values[bad.argmax()]}); leave out what was not observed"
        )


def require_distinct(rows: np.ndarray, columns: np.ndarray, ids: tuple[Ids, Ids]) -> None:
    """Refuse two values for one place."""
    order = np.lexsort((columns, rows))
    r, c = rows[order], columns[order]
    same = (r[1:] == r[:-1]) & (c[1:] == c[:-1])
    if same.any():
        at = int(same.argmax())
        place = f"({ids[0].labels[r[at]]!r}, {ids[1].labels[c[at]]!r})"
        raise ValueError(
            f"{int(same.sum())} entries occur more than once, the first is {place}: "
            "keep one of each, or their mean"
        )


def _checked(
    rows: np.ndarray, columns: np.ndarray, values: np.ndarray, ids: tuple[Ids, Ids]
) -> tuple[Observed, Ids, Ids]:
    if not len(values):
        raise ValueError("there are no observed entries")
    require_finite(values)
    require_distinct(rows, columns, ids)
    return Observed.of(rows, columns, values, (len(ids[0]), len(ids[1]))), *ids


def _from_triples(rows: Any, columns: Any, values: Any) -> tuple[Observed, Ids, Ids]:
    lengths = [len(plain(rows)), len(plain(columns)), len(plain(values))]
    if len(set(lengths)) > 1:
        raise ValueError("rows, columns and values differ in length: {}, {}, {}".format(*lengths))
    found = numbers(values)
    if found.ndim != 1:
        raise ValueError(f"values must be a vector, got shape {found.shape}")
    row_ids, r = Ids.from_column(rows, "row")
    column_ids, c = Ids.from_column(columns, "column")
    return _checked(r, c, found, (row_ids, column_ids))


def _from_sparse(X: Any) -> tuple[Observed, Ids, Ids]:
    coo = X.tocoo()
    ids = Ids(X.shape[0], "row"), Ids(X.shape[1], "column")
    values = numbers(coo.data)
    return _checked(coo.row.astype(np.intp), coo.col.astype(np.intp), values, ids)


def _from_dense(X: Any) -> tuple[Observed, Ids, Ids]:
    array = numbers(X)
    if array.ndim != 2:
        raise ValueError(
            f"X must be a matrix, got shape {array.shape}; for triples call "
            "fit(rows, columns, values)"
        )
    rows, columns = np.nonzero(~np.isnan(array))
    ids = Ids(array.shape[0], "row"), Ids(array.shape[1], "column")
    return _checked(rows, columns, array[rows, columns], ids)
