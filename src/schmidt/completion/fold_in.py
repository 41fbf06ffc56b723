"""New entries for a fitted model: rows that are new or have more entries than before."""

from __future__ import annotations

from typing import Any

import numpy as np

from schmidt.completion.entries import numbers, require_distinct, require_finite
from schmidt.completion.ids import Ids, plain
from schmidt.completion.observed import Observed


def merged(
    seen: Observed, ids: tuple[Ids, Ids], rows: Any, columns: Any, values: Any
) -> tuple[Observed, Ids, np.ndarray]:
    """The entries seen and new ones, checked.

    Returns:
        All entries, the ids of all rows, and the positions of the rows that have new entries.
    """
    c, v = ids[1].require(columns), numbers(values)
    if not len(plain(rows)) == len(c) == len(v):
        raise ValueError(
            f"rows, columns and values differ in length: {len(plain(rows))}, {len(c)}, {len(v)}"
        )
    require_finite(v)
    row_ids = ids[0].extended(rows)
    r = row_ids.require(rows)
    all_rows, all_columns = np.concatenate([seen.rows, r]), np.concatenate([seen.columns, c])
    require_distinct(all_rows, all_columns, (row_ids, ids[1]))
    shape = (len(row_ids), seen.shape[1])
    x = Observed.of(all_rows, all_columns, np.concatenate([seen.values, v]), shape)
    return x, row_ids, np.unique(r)


def only(x: Observed, rows: np.ndarray) -> Observed:
    """The entries of some rows, renumbered in the order of ``rows`` (ascending)."""
    among = np.isin(x.rows, rows)
    renumbered = np.searchsorted(rows, x.rows[among])
    return Observed.of(renumbered, x.columns[among], x.values[among], (len(rows), x.shape[1]))
