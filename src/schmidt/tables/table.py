"""A table: columns by name, an index, numbers or text, and how it was understood."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from schmidt.parameters import suggestion

if TYPE_CHECKING:
    import polars

MISSING = ("", "na", "n/a", "nan", "null", "none")
"""Cells, in small letters, that hold no value."""
INDICES = ("", "unnamed: 0", "__index_level_0__")
"""Names, in small letters, under which pandas and R write row numbers."""
POINT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity)", re.I)
COMMA = re.compile(r"[+-]?(\d+,?\d*|,\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity)", re.I)


@dataclass(frozen=True, kw_only=True)
class TableOptions:
    """How a table is to be read, where the reader should not find out by itself."""

    header: Literal["auto", "yes", "no"] = "auto"
    """Whether the first line holds the names of the columns."""
    index: str = "auto"
    """The column of row names or numbers, by name or by number from 1; "no" if all are data."""
    sep: str = "auto"
    """What separates columns: a character, "tab" or "space" (any run of blanks)."""
    decimal: Literal["auto", ".", ","] = "auto"
    """The decimal sign."""
    columns: tuple[str, ...] = ()
    """The columns to use: names, numbers from 1, or ranges such as 2-5."""


@dataclass(frozen=True, repr=False, kw_only=True)
class Table:
    """Columns of text or numbers, and how they were understood.

    Attributes:
        name: of the file, for messages.
        names: of the columns; "1", "2", … where there is no header.
        labels: names of the rows, where there is an index column; else None.
        understood: one line for the user.
    """

    name: str
    names: tuple[str, ...]
    labels: tuple[str, ...] | None
    understood: str
    _columns: tuple[polars.Series, ...]
    _lines: Sequence[int]
    _decimal: str

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self._columns[0])

    def __repr__(self) -> str:
        return f"Table({self.understood})"

    def numbers(self, column: int | str = 0) -> np.ndarray:
        """(rows,) float64, NaN where a cell is empty or says NA, NaN, null or none.

        Args:
            column: its number from 0, or its name.

        Raises:
            ValueError: a cell that is no number; its line and column are named.
        """
        import polars as pl

        j = self._find(column)
        values = self._columns[j]
        if not is_text(values):
            if not (values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.Null)):
                raise ValueError(f"{self._place(j)} holds {values.dtype}, expected numbers")
            return values.cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(float)
        found, bad = _numbers(values, self._decimal)
        if bad is not None:
            cell = values[bad]
            shown = repr(cell if len(cell) <= 40 else cell[:37] + "…")
            raise ValueError(f"{self._place(j, bad)}: {shown} is no number{self._advice(cell)}")
        return found

    def texts(self, column: int | str = 0) -> list[str]:
        """The cells of a column as text, without blanks around them; "" where one is empty."""
        values = self._columns[self._find(column)]
        if is_text(values):
            return values.fill_null("").str.strip_chars().to_list()
        return ["" if cell is None else str(cell) for cell in values.to_list()]

    def matrix(self, *, missing: bool = False) -> np.ndarray:
        """(rows, columns) float64.

        Args:
            missing: NaN for cells that are missing, instead of an error.

        Raises:
            ValueError: a cell that is no number, or is missing.
        """
        out = np.empty((self.rows, len(self.names)))
        for j in range(len(self.names)):
            out[:, j] = self.numbers(j)
            if not missing and np.isnan(out[:, j]).any():
                i = int(np.flatnonzero(np.isnan(out[:, j]))[0])
                cell = self._columns[j][i]
                shown = "" if cell is None else str(cell)
                raise ValueError(
                    f"{self._place(j, i)}: {shown!r} is no number; "
                    "fill or drop what is missing, or complete it (schmidt complete)"
                )
        return out

    def _find(self, column: int | str) -> int:
        if isinstance(column, str):
            return _position(column, self.names, self.name)
        if not 0 <= column < len(self.names):
            raise ValueError(
                f"{self.name} has {len(self.names)} columns, asked for number {column + 1}"
            )
        return column

    def _place(self, j: int, row: int | None = None) -> str:
        line = "" if row is None else f"line {self._lines[row]}, "
        named = self.names[j]
        which = f"column {named}" if named.isdigit() else f"column {j + 1} ({named!r})"
        return f"{self.name}, {line}{which}"

    def _advice(self, cell: str) -> str:
        if COMMA.fullmatch(cell.strip()) and self._decimal == ".":
            return ": if it has a decimal comma, say --decimal ,"
        if POINT.fullmatch(cell.strip()) and self._decimal == ",":
            return ": the decimal sign was taken to be a comma; say --decimal . if it is not"
        return ": name columns to use (--columns), the one of row names (--index), or --header yes"


@dataclass
class Raw:
    """Columns before anything is left out."""

    names: list[str]
    columns: list[polars.Series]
    lines: Sequence[int]
    decimal: str
    said: list[str]
    index: bool = False
    """The first column is certainly an index."""


def arranged(raw: Raw, options: TableOptions, name: str, labels: bool) -> Table:
    """Index and columns chosen."""
    found = _index(raw, options, name, labels)
    kept = [j for j in range(len(raw.names)) if j != found]
    if options.columns:
        kept = [j for text in options.columns for j in _positions(text, raw.names, name)]
    if not kept or not len(raw.columns[0]):
        raise ValueError(f"{name} holds no {'columns besides its index' if not kept else 'rows'}")
    said = [f"{len(raw.columns[0]):,} rows × {len(kept)} columns", *raw.said]
    names = None
    if found is not None:
        cells = raw.columns[found]
        names = tuple("" if cell is None else str(cell).strip() for cell in cells.to_list())
        title = raw.names[found]
        which = f"column {found + 1}" + (f" ({title!r})" if title.strip() else "")
        said.append(f"{which} names the rows")
    elif labels and options.index == "auto" and _counts(raw.columns[0], raw.decimal):
        said.append("column 1 only counts the rows: --index 1 leaves it out")
    if options.columns:
        said.append("columns " + ", ".join(raw.names[j] for j in kept[:8]))
    return Table(
        name=name,
        names=tuple(raw.names[j] for j in kept),
        labels=names,
        understood=f"{name}: " + ", ".join(said),
        _columns=tuple(raw.columns[j] for j in kept),
        _lines=raw.lines,
        _decimal=raw.decimal,
    )


def _index(raw: Raw, options: TableOptions, name: str, labels: bool) -> int | None:
    if options.index == "no":
        return None
    if options.index != "auto":
        return _position(options.index, raw.names, name)
    if len(raw.names) < 2:
        return None
    if raw.index:
        return 0
    if "__index_level_0__" in raw.names:
        return raw.names.index("__index_level_0__")
    if raw.names[0].strip().lower() in INDICES:
        return 0
    if not labels:
        return None
    texts = [j for j, c in enumerate(raw.columns) if not _all_numbers(c, raw.decimal)]
    return 0 if texts == [0] and _only_text(raw.columns[0]) else None


def _counts(values: polars.Series, decimal: str) -> bool:
    """Whether a column is 0, 1, 2, … or 1, 2, 3, …"""
    if len(values) < 3 or not _all_numbers(values, decimal):
        return False
    numbers = _numbers(values, decimal)[0] if is_text(values) else values.to_numpy()
    if numbers.dtype.kind not in "iuf":
        return False
    return bool(numbers[0] in (0, 1) and (np.diff(numbers.astype(float)) == 1).all())


def _position(text: str, names: Sequence[str], file: str) -> int:
    """A column by its name, or by its number from 1."""
    hits = [j for j, known in enumerate(names) if known == text] or [
        j for j, known in enumerate(names) if known.strip().lower() == text.strip().lower()
    ]
    if len(hits) > 1:
        raise ValueError(f"{file} has {len(hits)} columns named {text!r}: give its number")
    if hits:
        return hits[0]
    if text.isascii() and text.isdigit() and 1 <= int(text) <= len(names):
        return int(text) - 1
    known = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    raise ValueError(
        f"{file} has no column {text!r}{suggestion(text, names)} (columns: {known}; or by number, "
        f"1 to {len(names)})"
    )


def _positions(text: str, names: Sequence[str], file: str) -> list[int]:
    span = re.fullmatch(r"(\d+)-(\d+)", text)
    if span is not None and text not in names:
        first, last = (_position(end, names, file) for end in span.groups())
        return list(range(first, last + 1))
    return [_position(text, names, file)]


def is_text(values: polars.Series) -> bool:
    import polars as pl

    return bool(values.dtype == pl.String)


def _numbers(values: polars.Series, decimal: str) -> tuple[np.ndarray, int | None]:
    """Text as float64, NaN where it is missing; and the first row that is neither."""
    import polars as pl

    text = values.fill_null("").str.strip_chars()
    if decimal == ",":
        # a point in such a number would be a second sign
        plain = text.str.replace_all(".", "x", literal=True).str.replace(",", ".", literal=True)
    else:
        plain = text
    numbers = plain.cast(pl.Float64, strict=False)
    missing = text.str.to_lowercase().is_in(list(MISSING))
    infinite = numbers.is_infinite().fill_null(False) & ~text.str.to_lowercase().str.contains("inf")
    bad = (~missing) & (numbers.is_null() | infinite)
    out = numbers.fill_null(float("nan")).to_numpy().astype(float)
    out[missing.to_numpy()] = np.nan
    return out, (int(bad.arg_true()[0]) if bad.any() else None)


def _only_text(values: polars.Series) -> bool:
    """Whether no cell is a number: a column of numbers with a slip in it names no rows."""
    if not is_text(values):
        return True
    cells = values.fill_null("").str.strip_chars().to_list()
    return not any(POINT.fullmatch(cell) or COMMA.fullmatch(cell) for cell in cells)


def _all_numbers(values: polars.Series, decimal: str) -> bool:
    if not is_text(values):
        return bool(values.dtype.is_numeric() or str(values.dtype) in ("Boolean", "Null"))
    return _numbers(values, decimal)[1] is None
