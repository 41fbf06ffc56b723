"""Ratings for ``schmidt complete``: read from a table, or planted."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Ratings:
    """Triples; ``hidden`` are those of all other places, where they are known."""

    name: str
    users: list[str]
    items: list[str]
    values: np.ndarray
    hidden: tuple[list[str], list[str], np.ndarray] | None = None


def read_ratings(path: Path) -> Ratings:
    """Read user, item, rating from the first three columns of a table.

    The delimiter is a tab, semicolon or comma, the first of them that the first line contains; the
    first line may be a header, whose third name says what is taken for the rating; more columns
    are ignored.

    Raises:
        ValueError: a line with fewer columns, or a rating that is no number; the line is named.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            delimiter = next((d for d in "\t;," if d in first), ",")
            file.seek(0)
            rows = list(csv.reader(file, delimiter=delimiter))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 ({error.reason})") from None
    users, items, values = [], [], []
    for line, row in enumerate(rows, 1):
        if not row:
            continue
        if len(row) < 3:
            raise ValueError(f"{path}, line {line}: expected user, item, rating; got {row}")
        try:
            values.append(float(row[2]))
        except ValueError:
            if line == 1 and row[2].strip():
                continue  # a header
            raise ValueError(f"{path}, line {line}: the rating {row[2]!r} is no number") from None
        users.append(row[0].strip())
        items.append(row[1].strip())
    if not values:
        raise ValueError(f"{path} contains no ratings")
    return Ratings(path.stem, users, items, np.array(values))


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
