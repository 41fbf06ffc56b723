"""Ratings for ``schmidt complete``: read from a table, or planted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from schmidt.completion import roles
from schmidt.tables import Table, TableOptions, contents, read_table

TIMES = {
    *("time", "timestamp", "date", "datetime", "unixtime", "unixreviewtime"),
    *("ratedat", "createdat", "tstamp"),
}
SECONDS = 1e8
"""Numbers that are all larger are times, not ratings."""


@dataclass(frozen=True)
class Ratings:
    """Triples; ``hidden`` are those of all other places, where they are known.

    Attributes:
        understood: how the table was read, in lines for the user.
    """

    name: str
    users: list[str]
    items: list[str]
    values: np.ndarray
    hidden: tuple[list[str], list[str], np.ndarray] | None = None
    understood: tuple[str, ...] = ()


def read_ratings(
    path: Path,
    columns: Mapping[str, str | None] | None = None,
    options: TableOptions = TableOptions(),  # noqa: B008 – it is frozen
) -> Ratings:
    """Read a list of ratings from a table.

    The columns are those named; else those whose names say what they are (userId, movie_id, stars,
    timestamp, …); else, of three columns, or of three and a time, the first, second and third.
    Whatever remains unclear is an error. Ids are text. With a column of times the ratings come in
    the order of time.

    Args:
        path: the file, or "-" for standard input.
        columns: "user", "item", "rating", "time" → name of the column, or number from 1, or None.
        options: how the table is to be read.

    Raises:
        ValueError: columns that are not clear, missing ids or ratings, ratings that are no numbers.
    """
    table = _table(path, options)
    named = {role: name for role, name in (columns or {}).items() if name is not None}
    if options.header == "auto" and not named and _header_of_nothing(table):
        raise _unclear(
            table,
            "the first line is taken for their names, but none of them says what it is: say "
            "--header no if it is a rating (which then must be a number), or",
        )
    chosen = _columns(table, named)
    users, items = (table.texts(chosen[role]) for role in ("user", "item"))
    values = table.numbers(chosen["rating"])
    for role, cells in (("user", users), ("item", items), ("rating", values)):
        empty = np.isnan(cells) if isinstance(cells, np.ndarray) else np.array(cells) == ""
        if empty.any():
            raise ValueError(
                f"{table.name}: {int(empty.sum())} of {table.rows} rows have no {role} in column "
                f"{chosen[role]!r}, the first is row {int(empty.argmax()) + 1}: leave them out"
            )
    if "time" in chosen:
        order = _order(table, chosen["time"])
        users, items = [users[i] for i in order], [items[i] for i in order]
        values = values[order]
    shown = ", ".join(f"{role} = column {name!r}" for role, name in chosen.items())
    return Ratings(
        Path(table.name).name.split(".")[0] or "table",
        users,
        items,
        values,
        understood=(table.understood, shown),
    )


def _table(path: Path, options: TableOptions) -> Table:
    """With at least three columns, if any separator gives so many; "::" is one, too."""
    data, name = contents(path)
    if options.sep == "auto" and data[:1000].split(b"\n")[0].count(b"::") >= 2:
        data, options = data.replace(b"::", b"\t"), replace(options, sep="tab")
    table = read_table(data, options, name=name, labels=False)
    for sep in ("tab", ";", "|") if options.sep == "auto" and len(table.names) < 3 else ():
        try:
            other = read_table(data, replace(options, sep=sep), name=name, labels=False)
        except ValueError:
            continue
        if len(other.names) >= 3:
            return other
    return table


def _header_of_nothing(table: Table) -> bool:
    named = [name for name in table.names if not name.isdigit()]
    known = any(roles(named).values()) or any(_letters(name) in TIMES for name in named)
    return bool(named) and not known


def _columns(table: Table, given: Mapping[str, str]) -> dict[str, str]:
    """Role → name of its column."""
    names = list(table.names)
    chosen = {role: _name(table, name) for role, name in given.items()}
    said = set(chosen)
    found = roles(names) | {"time": [n for n in names if _letters(n) in TIMES]}
    for role, candidates in found.items():
        free = [name for name in candidates if name not in chosen.values()]
        if role not in chosen and len(free) == 1:
            chosen[role] = free[0]
        elif role not in chosen and len(free) > 1 and role != "time":
            raise _unclear(table, f"{', '.join(map(repr, free))} could all be the {role}:")
    wanted = [role for role in ("user", "item", "rating") if role not in chosen]
    rest = [name for name in names if name != chosen.get("time")]
    if wanted and not said - {"time"}:
        if "time" not in chosen and len(rest) == 4 and _are_times(table, rest[3]):
            chosen["time"] = rest.pop()
        usual = dict(zip(("user", "item", "rating"), rest, strict=False))
        if len(rest) == 3 and all(chosen.get(role, name) == name for role, name in usual.items()):
            chosen |= usual
            wanted = []
    if wanted:
        raise _unclear(table, f"it is not clear which of them is the {wanted[0]}:")
    if len(set(chosen.values())) < len(chosen):
        raise _unclear(table, "one column was named for two of them:")
    if "rating" not in said and _are_times(table, chosen["rating"]):
        raise _unclear(table, f"the numbers in {chosen['rating']!r} look like times, not ratings:")
    return {role: chosen[role] for role in ("user", "item", "rating", "time") if role in chosen}


def _name(table: Table, given: str) -> str:
    if given in table.names:
        return given
    if given.isdigit() and 1 <= int(given) <= len(table.names):
        return table.names[int(given) - 1]
    near = [name for name in table.names if _letters(name) == _letters(given)]
    if len(near) == 1:
        return near[0]
    raise _unclear(table, f"there is no column {given!r}:")


def _unclear(table: Table, reason: str) -> ValueError:
    shown = ", ".join(map(repr, table.names[:12])) + (", …" if len(table.names) > 12 else "")
    return ValueError(
        f"{table.name} has the columns {shown}; {reason} say --user, --item and --rating (and "
        "--time), each with a name or a number from 1"
    )


def _letters(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())


def _are_times(table: Table, name: str) -> bool:
    try:
        numbers = table.numbers(name)
    except ValueError:
        return False
    return bool((numbers > SECONDS).all())


def _order(table: Table, name: str) -> np.ndarray:
    """Rows by time: numbers by size, dates as they are written, which must be year first."""
    try:
        return np.argsort(table.numbers(name), kind="stable")
    except ValueError:
        texts = np.array(table.texts(name))
    if not all(text[:4].isdigit() and not text[4:5].isalnum() for text in texts if text):
        raise ValueError(
            f"{table.name}: the times in column {name!r} are neither numbers nor dates that begin "
            "with the year; leave out --time, or write 2024-01-31"
        )
    return np.argsort(texts, kind="stable")


def planted_ratings(seed: int) -> Ratings:
    """300 users rate one in eight of 150 films from 1 to 5: biases, three tastes and noise."""
    rng = np.random.default_rng(seed)
    users, films, tastes = 300, 150, 3
    scores = 3.4 + 0.4 * rng.standard_normal((users, 1)) + 0.5 * rng.standard_normal(films)
    scores += 0.5 * rng.standard_normal((users, tastes)) @ rng.standard_normal((tastes, films))
    full = np.clip(np.round(scores + 0.4 * rng.standard_normal(scores.shape)), 1, 5)
    shown = rng.random(full.shape) < 1 / 8
    return Ratings("planted", *_triples(full, shown), hidden=_triples(full, ~shown))


def _triples(matrix: np.ndarray, places: np.ndarray) -> tuple[list[str], list[str], np.ndarray]:
    rows, columns = np.nonzero(places)
    return [f"user {r}" for r in rows], [f"film {c}" for c in columns], matrix[rows, columns]
