"""Entries and latent vectors that change after the fit, at the cost of the rows that change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from schmidt.completion.entries import numbers
from schmidt.completion.fixed_rank import row_model
from schmidt.completion.ids import Ids
from schmidt.completion.model import Biases
from schmidt.completion.observed import Observed
from schmidt.completion.variational import Entries, Tables, Variational, regress


class Seen:
    """Entries by rows and by columns, of which single ones are replaced or added.

    What has changed lies beside the entries of the fit; :meth:`all` brings both together.
    """

    def __init__(self, x: Observed) -> None:
        self._x = x
        self._flipped: Observed | None = None
        self.shape = x.shape
        self._changed: dict[tuple[int, int], float] = {}
        self._lines: tuple[dict[int, list[int]], ...] = ({}, {})

    def __getstate__(self) -> dict[str, Observed]:
        return {"x": self.all()}

    def __setstate__(self, state: dict[str, Observed]) -> None:
        self.__init__(state["x"])  # type: ignore[misc]

    def line(self, side: int, at: int) -> tuple[np.ndarray, np.ndarray]:
        """The columns and the values of a row (``side`` 0); the rows and values of a column (1)."""
        if side and self._flipped is None:
            self._flipped = self._x.transposed()
        x = self._flipped if side and self._flipped is not None else self._x
        if at < x.shape[0]:
            inside = slice(*x.starts[at : at + 2])
            others, values = x.columns[inside], x.values[inside]
        else:
            others, values = np.zeros(0, np.intp), np.zeros(0)
        new = self._lines[side].get(at)
        if new is None:
            return others, values
        changed = np.array(new, dtype=np.intp)
        pairs = [(other, at) if side else (at, other) for other in new]
        more = np.array([self._changed[pair] for pair in pairs])
        kept = ~np.isin(others, changed)
        return np.append(others[kept], changed), np.append(values[kept], more)

    def put(self, entries: Iterable[tuple[int, int, float]], shape: tuple[int, int]) -> None:
        """Replace or add entries of a matrix of this shape."""
        self.shape = shape
        for row, column, value in entries:
            if (row, column) not in self._changed:
                self._lines[0].setdefault(row, []).append(column)
                self._lines[1].setdefault(column, []).append(row)
            self._changed[row, column] = value

    def all(self) -> Observed:
        """Everything, and from now on the place that changes are measured from."""
        if self._changed or self.shape != self._x.shape:
            x, n = self._x, self.shape[1]
            new = np.array(list(self._changed), dtype=np.intp).reshape(-1, 2)
            kept = ~np.isin(x.rows * n + x.columns, new[:, 0] * n + new[:, 1])
            rows, columns = (
                np.append(x.rows[kept], new[:, 0]),
                np.append(x.columns[kept], new[:, 1]),
            )
            values = np.append(x.values[kept], list(self._changed.values()))
            Seen.__init__(self, Observed.of(rows, columns, values, self.shape))
        return self._x


Change = tuple[list[tuple[int, int, float]], tuple[list[Any], list[Any]]]
"""Entries by position, and the labels of new rows and columns, to be appended."""


def changes(
    seen: Seen, ids: tuple[Ids, Ids], triples: tuple[Any, Any, Any], rule: str, *, known: bool
) -> Change:
    """What triples change, after all checks and before anything is changed.

    Args:
        seen: the entries until now.
        ids: of rows and columns.
        triples: rows, columns and values.
        rule: for places that have a value, or get several: "raise", "last" or "mean".
        known: columns must be known.
    """
    rows, columns, values = triples
    v = numbers(values)
    new_rows, r = ids[0].fresh(rows)
    new_columns: list[Any] = []
    if known:
        c = ids[1].require(columns)
    else:
        new_columns, c = ids[1].fresh(columns)
    if not len(r) == len(c) == len(v):
        raise ValueError(f"rows, columns and values differ in length: {len(r)}, {len(c)}, {len(v)}")
    lines: dict[int, dict[int, float]] = {}
    found: dict[tuple[int, int], list[float]] = {}
    for row, column, value in zip(r.tolist(), c.tolist(), v.tolist(), strict=True):
        if row not in lines:
            others, known_values = seen.line(0, row)
            lines[row] = dict(zip(others.tolist(), known_values.tolist(), strict=True))
        old = lines[row].get(column)
        found.setdefault((row, column), [] if old is None else [old]).append(value)
    if rule == "raise":
        place = next((at for at, listed in found.items() if len(listed) > 1), None)
        if place is not None:
            row, column = [*ids[0].labels, *new_rows][place[0]], ids[1].labels[place[1]]
            raise ValueError(
                f"an entry occurs more than once: ({row!r}, {column!r}); partial_fit "
                "replaces it; or set duplicates='last' or 'mean'"
            )
    kept = {
        at: listed[-1] if rule == "last" else float(np.mean(listed)) for at, listed in found.items()
    }
    return [(*at, value) for at, value in kept.items()], (new_rows, new_columns)


@dataclass
class Posterior:
    """Of variational Bayes: latent vectors with their spread, priors and noise.

    Attributes:
        sides: tables of rows and of columns.
        precisions: of the priors of both.
        noise: σ².
    """

    sides: list[Tables]
    precisions: list[np.ndarray]
    noise: float

    @classmethod
    def of(cls, state: Variational) -> Posterior:
        """Of a fit, in the balanced form."""
        return cls(*state.balanced(), state.noise)

    def grow(self, side: int, size: int) -> None:
        """Room for new rows or columns, of which nothing is known but the prior."""
        own = self.sides[side]
        more = size - len(own.means)
        if more > 0:
            grown = Tables(extended(own.means, more), extended(own.moments, more))
            none = np.zeros(0, np.intp)
            nothing = Observed.of(none, none, np.zeros(0), (1, 0))
            rest = Tables(own.means[:0], own.moments[:0])
            empty = Entries.of(nothing, 0.0, np.float64)
            prior, _, _ = regress(empty, rest, self.precisions[side], self.noise)
            grown.means[-more:], grown.moments[-more:] = prior.means, prior.moments
            self.sides[side] = grown

    def renew(self, side: int, lines: list[int], seen: Seen, mean: float) -> None:
        """Regress some rows (``side`` 0) or columns (1) again."""
        own, other = self.sides[side], self.sides[1 - side]
        x, others = gathered(seen, side, lines)
        part = Tables(other.means[others], other.moments[others])
        entries = Entries.of(x, mean, np.float64)
        found, _, _ = regress(entries, part, self.precisions[side], self.noise)
        own.means[lines], own.moments[lines] = found.means, found.moments

    def variance(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """(N,) of b_i + c_j + a_i·m_j at places, without the noise."""
        a, b = self.sides
        size = a.means.shape[1]
        packed, low = size * (size + 1) // 2, np.tril_indices(size)
        twice, out = 2.0 - (low[0] == low[1]), np.empty(len(rows))
        for start in range(0, len(rows), 1 << 14):
            part = slice(start, start + (1 << 14))
            r, c = rows[part], columns[part]
            za, zb = a.moments[r].astype(float), b.moments[c].astype(float)
            fa, fb = a.features[r].astype(float), b.features[c].astype(float)
            k = size - 1
            inside = k * (k + 1) // 2
            second = (za[:, :inside] * zb[:, :inside]) @ twice[:inside]
            second += za[:, -1] + zb[:, -1] + 2 * fa[:, -1] * fb[:, -1]
            second += 2 * np.sum(za[:, packed : packed + k] * fb[:, :k], axis=1)
            second += 2 * np.sum(zb[:, packed : packed + k] * fa[:, :k], axis=1)
            mean = np.sum(fa[:, :k] * fb[:, :k], axis=1) + fa[:, -1] + fb[:, -1]
            out[part] = np.maximum(second - mean**2, 0)
        return out


def gathered(seen: Seen, side: int, lines: list[int]) -> tuple[Observed, np.ndarray]:
    """Some rows, renumbered, over only the columns that they have; and which columns these are."""
    parts = [seen.line(side, at) for at in lines]
    counts = [len(values) for _, values in parts]
    others = np.concatenate([columns for columns, _ in parts])
    values = np.concatenate([values for _, values in parts])
    used, columns = np.unique(others, return_inverse=True)
    rows = np.repeat(np.arange(len(lines)), counts)
    return Observed.of(rows, columns, values, (len(lines), len(used))), used


def regressed(
    seen: Seen,
    side: int,
    lines: list[int],
    factors: np.ndarray,
    biases: Biases,
    unit: float,
    penalty: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Factors and biases of some rows (or columns) given the others' factors, in their units."""
    x, used = gathered(seen, side, lines)
    known = biases.rows if side else biases.columns
    own = biases.penalties[::-1] if side else biases.penalties
    part = Biases(biases.mean, np.zeros(0), known[used], (own[0], own[1]))
    return row_model(x, factors[used] / np.sqrt(unit), part, penalty)


def extended(array: np.ndarray, more: int) -> np.ndarray:
    """With ``more`` rows of zeros, in memory with room for further ones."""
    if more <= 0:
        return array
    base, size = array.base, len(array) + more
    if not isinstance(base, np.ndarray) or base.shape[1:] != array.shape[1:]:
        base = np.zeros((0, *array.shape[1:]), array.dtype)
    if base.dtype == array.dtype and len(base) >= size and base.flags.owndata:
        head = base[: len(array)]
        if head.ctypes.data == array.ctypes.data and head.strides == array.strides:
            base[len(array) : size] = 0
            return np.asarray(base[:size])
    room = np.zeros((size + size // 4 + 16, *array.shape[1:]), array.dtype)
    room[: len(array)] = array
    return room[:size]
