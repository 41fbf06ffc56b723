"""Tables from files, standard input or bytes: delimited text, Parquet, JSON, gzipped or not."""

from __future__ import annotations

import io
import json
import sys
import zlib
from pathlib import Path
from typing import Any

from schmidt.tables.delimited import decoded, delimited
from schmidt.tables.table import Raw, Table, TableOptions, arranged

SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".tab", ".json", ".jsonl", ".ndjson", ".parquet")
"""Endings of tables; each may be followed by ``.gz``."""
ROOM = 2**28
"""Bytes that a file may unpack to, whatever its size."""
PACKED = 100
"""Beyond ``ROOM``: times its size that a file may unpack to."""


def read_table(
    source: Path | str | bytes,
    options: TableOptions = TableOptions(),  # noqa: B008 – it is frozen
    *,
    name: str | None = None,
    labels: bool = True,
) -> Table:
    """Read a table of delimited text, Parquet, JSON or JSON lines, gzipped or not.

    Args:
        source: a path, "-" for standard input, or the bytes of a file.
        options: what is known about it; everything else is told from its lines.
        name: what messages call it; default the file's name.
        labels: a first column of text names the rows. False for lists such as user, item,
            rating, where only a nameless column of row numbers is left out.

    Returns:
        The table; print ``.understood``, so that the user sees how it was read.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that cannot be read as a table, with its line and column.

    Cost: a few times the size of the file in memory.

    Example:
        >>> table = read_table(b";2001;2002\\nDE;1,5;2\\nFR;2,5;3\\n")
        >>> table.matrix().tolist(), table.labels
        ([[1.5, 2.0], [2.5, 3.0]], ('DE', 'FR'))
    """
    data, name = contents(source, name)
    kind = _kind(name, data)
    try:
        if kind == "parquet":
            return arranged(_parquet(data, name), options, name, labels)
        if kind == "json":
            return arranged(_json(data, name), options, name, labels)
        return arranged(delimited(data, options, name), options, name, labels)
    except RecursionError:
        raise ValueError(f"{name} is nested too deeply for a table") from None


def contents(source: Path | str | bytes, name: str | None = None) -> tuple[bytes, str]:
    """The bytes of a file, unpacked, and what to call it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a folder; a gzip file that is damaged, or unpacks to more than 256 MB and 100
            times its size.
    """
    if isinstance(source, bytes):
        data, name = source, name or "table"
    elif str(source) == "-":
        data, name = sys.stdin.buffer.read(), name or "standard input"
    else:
        path = Path(source)
        name = name or path.name
        if path.is_dir():
            raise ValueError(f"{path} is a folder, expected a file")
        if not path.exists():
            raise FileNotFoundError(f"no such file: {path}")
        data = path.read_bytes()
    return (_unpacked(data, name) if data[:2] == b"\x1f\x8b" else data), name


def refuse_bomb(name: str, claimed: float, size: int) -> None:
    """Raise ValueError where a file of ``size`` bytes claims to hold far more than it can."""
    if claimed > max(ROOM, PACKED * size):
        raise ValueError(
            f"{name} claims to hold {claimed:.3g} bytes in a file of {size}: it is damaged, or "
            "must be unpacked by other means"
        )


def _unpacked(data: bytes, name: str) -> bytes:
    parts, total, rest = [], 0, data
    try:
        while rest[:2] == b"\x1f\x8b":  # members one after the other
            stream = zlib.decompressobj(31)
            while not stream.eof:
                part = stream.decompress(rest, 2**20)
                rest = stream.unconsumed_tail
                if not part and not rest and not stream.eof:
                    raise zlib.error("it ends too early")
                total += len(part)
                refuse_bomb(name, total, len(data))
                parts.append(part)
            rest = stream.unused_data.lstrip(b"\0")
    except zlib.error as error:
        raise ValueError(f"{name} cannot be unpacked: {error}") from None
    return b"".join(parts)


def _kind(name: str, data: bytes) -> str:
    """Which reader: by what the file begins with, then by its ending."""
    if data[:4] == b"PAR1":
        return "parquet"
    suffixes = [suffix.lower() for suffix in Path(name).suffixes if suffix.lower() != ".gz"]
    suffix = suffixes[-1] if suffixes else ""
    if suffix == ".parquet":
        raise ValueError(f"{name} is no Parquet file: it does not begin with PAR1")
    if suffix in (".json", ".jsonl", ".ndjson") or data.lstrip()[:1] in (b"[", b"{"):
        return "json"
    return "text"


def _parquet(data: bytes, name: str) -> Raw:
    import polars as pl

    try:
        rows = int(pl.scan_parquet(io.BytesIO(data)).select(pl.len()).collect().item())
        names = list(pl.read_parquet_schema(io.BytesIO(data)))
        refuse_bomb(name, 8.0 * rows * len(names), len(data))
        frame = pl.read_parquet(io.BytesIO(data))
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{name} cannot be read as Parquet: {_first_line(error)}") from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError(f"{name} is a damaged Parquet file: {_first_line(error)}") from None
    if not frame.width:
        raise ValueError(f"{name} holds no columns")
    lines = range(1, frame.height + 1)
    return Raw(frame.columns, frame.get_columns(), lines, ".", ["Parquet"])


def _json(data: bytes, name: str) -> Raw:
    """Rows as lists or as objects, columns as lists, one value per file or one per line."""
    import polars as pl

    text, said = decoded(data, name)
    try:
        value = json.loads(text)
        said.append("JSON")
    except json.JSONDecodeError as first:
        try:
            value = [json.loads(line) for line in text.split("\n") if line.strip()]
            said.append("JSON lines")
        except json.JSONDecodeError:
            where = f"line {first.lineno}, column {first.colno}"
            raise ValueError(f"{name} is no JSON: {first.msg} in {where}") from None
    names: list[str] = []
    if isinstance(value, dict) and set(value) >= {"columns", "data"}:  # pandas, orient="split"
        names, value = [str(c) for c in value["columns"]], value["data"]
    if isinstance(value, dict):
        wrong = [key for key, column in value.items() if not isinstance(column, list | dict)]
        if not value or wrong:
            raise ValueError(f"{name}: expected rows, or an object of columns that are lists")
        names = list(value)
        columns = [list(c.values()) if isinstance(c, dict) else c for c in value.values()]
        sizes = {len(column) for column in columns}
        if len(sizes) > 1:
            raise ValueError(f"{name}: its columns have {min(sizes)} to {max(sizes)} entries")
    else:
        if not isinstance(value, list) or not value:
            raise ValueError(f"{name} holds no rows")
        rows = [_row(row, number, name) for number, row in enumerate(value, 1)]
        if isinstance(rows[0], dict):
            names = list(dict.fromkeys(key for row in rows for key in row))
            rows = [[row.get(key) for key in names] for row in rows]
        widths = {len(row) for row in rows}
        if len(widths) > 1 or 0 in widths:
            raise ValueError(f"{name}: its rows have {min(widths)} to {max(widths)} entries")
        columns = [list(column) for column in zip(*rows, strict=True)]
    names = names or [str(j + 1) for j in range(len(columns))]
    series = []
    for title, column in zip(names, columns, strict=True):
        if any(isinstance(cell, list | dict) for cell in column):
            raise ValueError(f"{name}: column {title!r} holds lists or objects")
        plain = all(isinstance(cell, int | float | None) for cell in column)
        cells = column if plain else [None if cell is None else str(cell) for cell in column]
        series.append(pl.Series(title, cells, dtype=pl.Float64 if plain else pl.String))
    return Raw(names, series, range(1, len(series[0]) + 1), ".", said)


def _row(row: Any, number: int, name: str) -> Any:
    if isinstance(row, list | dict):
        return row
    if isinstance(row, int | float) or row is None:
        return [row]
    raise ValueError(f"{name}: row {number} is {row!r:.40}, expected a list or an object")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
