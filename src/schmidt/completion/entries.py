"""What users call a matrix with holes, as :class:`Observed` with labels for its rows and columns.

Whatever is wrong, or could mean two things, is said here.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from scipy import sparse

from schmidt.completion.ids import Ids, missing, plain
from schmidt.completion.observed import Observed

ROLES = {
    "user": "user users userid uid customer customerid reader readerid member memberid reviewer "
    "reviewerid row rows rowid",
    "item": "item items itemid iid movie movies movieid film films filmid book books bookid isbn "
    "product productid asin parentasin song songid track trackid artist artistid joke jokeid "
    "anime animeid game gameid business businessid gmapid column columns columnid",
    "rating": "rating ratings score scores stars star value values grade grades overall bookrating "
    "userrating reviewscore",
}
"""How the columns of tables of ratings are called, in small letters and nothing but letters."""
NAMED = {"user": "rows", "item": "columns", "rating": "values"}


def roles(names: Iterable[Any]) -> dict[str, list[Any]]:
    """Which column names mean users, items, ratings: role → names, in order."""
    found: dict[str, list[Any]] = {role: [] for role in ROLES}
    for name in names:
        letters = "".join(c for c in str(name).casefold() if c.isalnum())
        for role, known in ROLES.items():
            if letters in known.split():
                found[role].append(name)
    return found


def entries(
    X: Any, columns: Any, values: Any, *, layout: str = "auto", duplicates: str = "raise"
) -> tuple[Observed, Ids, Ids]:
    """Entries with the ids of their rows and columns.

    Args:
        X: see :meth:`MatrixCompletion.fit`.
        columns, values: the rest of triples; or values and None where X holds pairs.
        layout: "matrix" or "triples" for what could be either; "auto" refuses that.
        duplicates: what to do with several values for one place: "raise", keep the "last", or take
            their "mean".
    """
    if columns is not None and values is None:
        X, columns, values = *pairs(X), columns
    elif columns is None and values is not None:
        raise ValueError("triples need all of rows, columns and values: fit(rows, columns, values)")
    if columns is not None:
        return _from_triples(X, columns, values, duplicates)
    if sparse.issparse(X):
        return _from_sparse(X, duplicates)
    named = _named(X)
    if named is not None:
        found = None if layout == "matrix" else _triples_by_name(X, named)
        if found is not None:
            return _from_triples(*found, duplicates)
    if isinstance(X, tuple | list) and len(X) and isinstance(X[0], tuple):
        raise ValueError("for triples call fit(rows, columns, values): fit(*zip(*triples))")
    if layout == "triples":
        if np.ndim(X) != 2 or np.shape(X)[1] < 3:
            raise ValueError(f"triples need three columns, got shape {np.shape(X)}")
        table = np.asarray(X) if named is None else X.to_numpy()
        return _from_triples(_whole(table[:, 0]), _whole(table[:, 1]), table[:, 2], duplicates)
    return _from_dense(X, layout)


def pairs(X: Any) -> tuple[Any, Any]:
    """Rows and columns of places given as two columns: an array, a frame, a list of pairs."""
    named = _named(X)
    if named is not None:
        found = roles(named)
        if len(found["user"]) == len(found["item"]) == 1:
            return X[found["user"][0]], X[found["item"][0]]
        if len(named) == 2:
            return X[named[0]], X[named[1]]
        raise ValueError(f"pairs need a column of rows and one of columns, got {named}")
    if sparse.issparse(X) or np.ma.is_masked(X):
        raise ValueError("pairs of row and column must be a dense array or a list")
    table = X if isinstance(X, np.ndarray) else list(X)
    if isinstance(table, list) and not all(
        isinstance(pair, tuple | list | np.ndarray) and len(pair) == 2 for pair in table
    ):
        raise ValueError("triples need all of rows, columns and values: fit(rows, columns, values)")
    if isinstance(table, list):
        return [pair[0] for pair in table], [pair[1] for pair in table]
    if table.ndim != 2 or table.shape[1] != 2:
        raise ValueError(
            f"pairs of row and column must have shape (N, 2), got {table.shape}; triples need all "
            "of rows, columns and values: fit(rows, columns, values)"
        )
    return _whole(table[:, 0]), _whole(table[:, 1])


def places(
    ids: tuple[Ids, Ids], rows: Any, columns: Any, unknown: str
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N,) of rows and columns, −1 where unknown; of pairs where ``columns`` is None."""
    if columns is None:
        rows, columns = pairs(rows)
    r, c = ids[0].known(rows, unknown), ids[1].known(columns, unknown)
    if len(r) != len(c) and 1 not in (len(r), len(c)):
        raise ValueError(
            f"rows and columns must have the same length, or one of them length 1; got "
            f"{len(r)} and {len(c)}"
        )
    found = np.broadcast_arrays(r, c)
    return found[0], found[1]


def numbers(values: Any, length: int | None = None) -> np.ndarray:
    """(N,) finite numbers, or a clear error; strings are not converted.

    Args:
        values: anything one-dimensional.
        length: how many there must be, or None.
    """
    array = _real(values)
    if np.ma.is_masked(values):
        count = int(np.ma.getmaskarray(values).sum())
        raise ValueError(f"{count} values are masked: leave out what was not observed")
    if array.ndim != 1:
        way = ": write values.ravel()" if array.size == max(array.shape, default=0) else ""
        raise ValueError(f"values must be a vector, got shape {array.shape}{way}")
    if length is not None and len(array) != length:
        raise ValueError(f"{len(array)} values for {length} places: they differ in length")
    bad = ~np.isfinite(array)
    if bad.any():
        raise ValueError(
            f"{int(bad.sum())} of {len(array)} values are not finite (the first is number "
            f"{int(bad.argmax())}: {array[bad.argmax()]}); leave out what was not observed"
        )
    return array


def distinct(
    rows: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    ids: tuple[Ids, Ids],
    duplicates: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One value for each place, by the rule ``duplicates``; "raise" names the first double one."""
    places = np.sort(rows.astype(np.int64) * max(len(ids[1]), 1) + columns)
    if not (places[1:] == places[:-1]).any():
        return rows, columns, values
    del places
    keys = (values, columns, rows) if duplicates == "mean" else (columns, rows)
    order = np.lexsort(keys)  # stable: the last one given comes last
    r, c = rows[order], columns[order]
    same = (r[1:] == r[:-1]) & (c[1:] == c[:-1])
    if duplicates == "raise":
        at = int(same.argmax())
        place = f"({ids[0].labels[r[at]]!r}, {ids[1].labels[c[at]]!r})"
        raise ValueError(
            f"{int(same.sum())} entries occur more than once, the first is {place}: "
            "duplicates='last' keeps the last of them, duplicates='mean' takes their mean"
        )
    last = np.append(~same, True)
    if duplicates == "last":
        kept = order[last]
        return rows[kept], columns[kept], values[kept]
    starts = np.flatnonzero(np.append(True, ~same))
    counts = np.diff(np.append(starts, len(r)))
    means = np.add.reduceat(values[order] / np.repeat(counts, counts), starts)
    return r[starts], c[starts], means


def _checked(
    rows: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    ids: tuple[Ids, Ids],
    duplicates: str,
) -> tuple[Observed, Ids, Ids]:
    if not len(values):
        raise ValueError("there are no observed entries")
    rows, columns, values = distinct(rows, columns, values, ids, duplicates)
    named = not (ids[0].counted and ids[1].counted)
    labels = (ids[0].hashes(), ids[1].hashes()) if named else None
    shape = len(ids[0]), len(ids[1])
    return Observed.of(rows, columns, values, shape, labels), *ids


def _from_triples(
    rows: Any, columns: Any, values: Any, duplicates: str
) -> tuple[Observed, Ids, Ids]:
    lengths = [len(plain(v, w)) for v, w in ((rows, "row ids"), (columns, "column ids"))]
    found = numbers(values)
    if len({*lengths, len(found)}) > 1:
        lengths.append(len(found))
        raise ValueError("rows, columns and values differ in length: {}, {}, {}".format(*lengths))
    row_ids, r = Ids.from_column(rows, "row")
    column_ids, c = Ids.from_column(columns, "column")
    return _checked(r, c, found, (row_ids, column_ids), duplicates)


def _from_sparse(X: Any, duplicates: str) -> tuple[Observed, Ids, Ids]:
    if X.ndim != 2:
        raise ValueError(f"X must be a matrix, got shape {X.shape}")
    coo = X.tocoo()
    m, n = (int(size) for size in X.shape)
    r, c = coo.row.astype(np.intp), coo.col.astype(np.intp)
    outside = (r < 0) | (r >= m) | (c < 0) | (c >= n)
    if outside.any():
        at = int(outside.argmax())
        raise ValueError(f"the sparse matrix has an entry at ({r[at]}, {c[at]}), outside {X.shape}")
    return _checked(r, c, numbers(coo.data), (Ids(m, "row"), Ids(n, "column")), duplicates)


def _from_dense(X: Any, layout: str) -> tuple[Observed, Ids, Ids]:
    array = _real(X)
    if array.ndim != 2:
        raise ValueError(
            f"X must be a matrix, got shape {array.shape}; for triples call "
            "fit(rows, columns, values)"
        )
    if np.ma.isMaskedArray(X):
        array = np.where(np.ma.getmaskarray(X), np.nan, array)
    if np.isinf(array).any():
        raise ValueError("some values are not finite: NaN stands for holes, infinity for nothing")
    if layout == "auto":
        _refuse_triples(array)
    rows, columns = np.nonzero(~np.isnan(array))
    zeros = float(np.mean(array == 0)) if array.size else 0.0
    if len(rows) == array.size and zeros > 0.5:
        warnings.warn(
            f"X has no holes, and {zeros:.0%} of its values are zero: zeros count as values. Where "
            "they stand for what was not observed, write NaN, or pass a scipy sparse matrix",
            UserWarning,
            stacklevel=4,
        )
    ids = _axis(X, "index", array.shape[0], "row"), _axis(X, "columns", array.shape[1], "column")
    return _checked(rows, columns, array[rows, columns], ids, "raise")


def _refuse_triples(array: np.ndarray) -> None:
    """An array whose columns, or rows, could be users, items and ratings."""
    for table, across in ((array, "columns"), (array.T, "rows")):
        n, k = table.shape
        if k not in (3, 4) or n < k:
            continue
        first = table[:, :2]
        whole = not np.isnan(first).any() and bool((first == np.round(first)).all())
        whole = whole and 2 * len(np.unique(first, axis=0)) > n  # places are mostly different
        if whole or (k == 3 and across == "columns" and not np.isnan(table).any()):
            part = "X[:, 0], X[:, 1], X[:, 2]" if across == "columns" else "X[0], X[1], X[2]"
            raise ValueError(
                f"an array of shape {array.shape} may hold triples of row, column and value: call "
                f"fit({part}) if it does, and fit(X, layout='matrix') if its {k} {across} are "
                "those of the matrix"
            )


def _named(X: Any) -> list[Any] | None:
    """The names of the columns of a frame, a mapping of columns or a structured array; or None."""
    if isinstance(X, Mapping):
        return list(X)
    names = getattr(getattr(X, "dtype", None), "names", None)
    if names is not None:
        return list(names)
    columns = getattr(X, "columns", None)
    return None if columns is None or not hasattr(X, "__getitem__") else list(columns)


def _triples_by_name(X: Any, names: list[Any]) -> tuple[Any, Any, Any] | None:
    """Users, items and ratings of a frame whose columns say so; None for a frame that is a matrix.

    Raises:
        ValueError: the columns are neither.
    """
    found = roles(names)
    if all(len(found[role]) == 1 for role in ROLES):
        user, item, rating = (X[found[role][0]] for role in ROLES)
        return user, item, rating
    shown = ", ".join(map(repr, names[:8])) + (", …" if len(names) > 8 else "")
    way = "name them: fit(X['…'], X['…'], X['…']) with the columns of users, items and ratings"
    if found["user"] and found["item"]:
        unclear = next(role for role in ROLES if len(found[role]) != 1)
        raise ValueError(f"which of the columns {shown} is the {unclear}? {way}")
    if found["user"] and not isinstance(X, Mapping):
        name = found["user"][0]
        raise ValueError(
            f"the column {name!r} seems to name the rows: X.set_index({name!r}) makes it their "
            f"labels; if {shown} hold triples, {way}"
        )
    kinds = [getattr(getattr(X[name], "dtype", None), "kind", "f") for name in names[:100]]
    text = next((n for n, kind in zip(names, kinds, strict=False) if kind in "OUSTMmb"), None)
    numeric = text is None or (hasattr(X[text], "to_numpy") and _is_real(X[text]))
    if isinstance(X, Mapping) or not hasattr(X, "shape") or len(X.shape) != 2 or not numeric:
        raise ValueError(
            f"the columns {shown} are no matrix of numbers; if they hold triples, {way}"
        )
    return None


def _is_real(column: Any) -> bool:
    try:
        _real(column)
    except ValueError:
        return False
    return True


def _whole(column: np.ndarray) -> np.ndarray:
    """Ids that numpy has made floats, for the sake of a column beside them, as integers again."""
    if column.dtype.kind == "f" and bool((column == np.round(column)).all()):
        return column.astype(np.int64)
    return column


def _axis(X: Any, name: str, size: int, what: str) -> Ids:
    """The labels of a frame's rows or columns; positions where there are none."""
    labels = getattr(X, name, None)
    if not hasattr(X, "columns") or callable(labels) or labels is None:
        return Ids(size, what)
    listed = plain(labels, f"{what} ids")
    if listed == list(range(size)):
        return Ids(size, what)
    if any(missing(label) for label in listed) or len(set(listed)) < size:
        raise ValueError(f"the {name} of the frame must name each {what} once")
    return Ids(listed, what)


def _real(values: Any) -> np.ndarray:
    """As float64; nothing but real numbers, and NaN for the missing values of frames."""
    if sparse.issparse(values):
        raise ValueError("values must be dense; a sparse matrix is given to fit alone: fit(X)")
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    array = np.ma.getdata(values) if np.ma.isMaskedArray(values) else np.asarray(values)
    if array.dtype.kind == "O":
        given = [np.nan if missing(v) else v for v in array.ravel()]
        array = np.array(given, dtype=object).reshape(array.shape)
        wrong = next((v for v in given if isinstance(v, bool) or not isinstance(v, Real)), None)
        if wrong is not None:
            raise ValueError(
                f"values must be numbers, got {wrong!r} of type {type(wrong).__name__}"
            )
    elif array.dtype.kind not in "iuf":
        first = array.ravel()[0] if array.size else array.dtype
        hint = ": convert them first, for example with float" if array.dtype.kind in "US" else ""
        raise ValueError(f"values must be real numbers, got {first!r}{hint}")
    return array.astype(float)


Real = int | float | np.integer | np.floating
