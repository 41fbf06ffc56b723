"""Delimited text: separator, decimal sign and header told from its lines; nothing swallowed."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from schmidt.tables.table import COMMA, INDICES, MISSING, POINT, Raw, TableOptions

if TYPE_CHECKING:
    import polars

SEPARATORS = {"tab": "\t", "space": " "}
NAMED = {"\t": "tab", " ": "space"}
SAMPLE = 200
"""Lines from which separator, decimal sign and header are told."""


def delimited(data: bytes, options: TableOptions, name: str) -> Raw:
    text, said = decoded(data, name)
    lines, places, comment = _lines(text, name)
    quoted = '"' in text
    sep = _separator(lines, options, quoted)
    if sep == " ":
        lines = [_blanks(line) for line in lines]
    mark = "\t" if sep == " " else sep
    split = _splitter(mark, quoted)
    counts = _counted(lines, places, mark, quoted, name)
    width = counts[-1]
    decimal = _decimal(lines[:SAMPLE], options, sep, split)
    shown = NAMED.get(sep, sep)
    if sep and width > 1:
        said.append(f"separated by {shown if shown.isalpha() else repr(shown)}")
    if decimal == ",":
        said.append("decimal commas")
    header = _header(lines, counts, options, decimal, split)
    first = split(lines[0]) if header else []
    if header:
        lines, places, counts = lines[1:], places[1:], counts[1:]
        said.append(f"names in line {places[0] - 1 if not comment else 1}" if lines else "names")
    elif comment and len(split(comment)) == width and options.header != "no":
        first = split(comment)  # as numpy.savetxt writes it
        said.append("names in line 1")
    elif options.header == "auto":
        said.append("no header")
    if not lines:
        raise ValueError(f"{name} holds no rows besides its header")
    for place, count in zip(places, counts, strict=True):
        if count != width:
            raise ValueError(
                f"{name}, line {place}: {count} columns, but the last line has {width} "
                f"(separated by {shown!r}; --sep says otherwise)"
            )
    columns = _split(lines, mark, quoted, width, name)
    index = bool(first) and len(first) == width - 1  # as R writes row names
    names = ["", *first] if index else first or [str(j + 1) for j in range(width)]
    names = [title.strip() for title in names]
    if width > 1 and not names[-1].strip("0123456789") and columns[-1].null_count() == len(lines):
        names, columns = names[:-1], columns[:-1]  # every line ends in a separator
        said.append("an empty last column left out")
    return Raw(names, columns, places, decimal, said, index)


def _split(lines: list[str], sep: str, quoted: bool, width: int, name: str) -> list[polars.Series]:
    import polars as pl

    if not sep:
        return [pl.Series("1", [_unquoted(line) for line in lines], dtype=pl.String)]
    try:
        frame = pl.read_csv(
            "\n".join(lines).encode(),
            has_header=False,
            infer_schema=False,
            separator=sep,
            quote_char='"' if quoted else None,
        )
    except pl.exceptions.PolarsError as error:
        raise ValueError(f"{name} cannot be split into columns: {str(error)[:80]!r}") from None
    if frame.shape != (len(lines), width):  # nothing is ever swallowed
        raise ValueError(f"{name} cannot be split into {len(lines)} rows of {width} columns")
    return frame.get_columns()


def _unquoted(line: str) -> str:
    plain = line.strip()
    return plain[1:-1] if len(plain) > 1 and plain[0] == plain[-1] == '"' else plain


def decoded(data: bytes, name: str) -> tuple[str, list[str]]:
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        kinds = ["utf-16"]
    elif b"\0" in data[: 2**16]:
        raise ValueError(f"{name} is no text: it holds zero bytes")
    else:
        kinds = ["utf-8-sig", "cp1252", "latin-1"]
    for kind in kinds:
        try:
            text = data.decode(kind)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        return text, [] if kind == "utf-8-sig" else [f"encoded in {kind}"]
    raise ValueError(f"{name} is no text that can be decoded")


def _lines(text: str, name: str) -> tuple[list[str], list[int], str]:
    """Lines with something in them, their numbers, and a comment before all of them."""
    whole = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    kept = [(i, line) for i, line in enumerate(whole, 1) if line and not line.isspace()]
    comment = ""
    start = 0
    while start < len(kept) and kept[start][1].startswith("#"):
        comment = kept[start][1].lstrip("# ")
        start += 1
    if start == len(kept):
        raise ValueError(f"{name} is empty: there are no numbers and no names in it")
    return [line for _, line in kept[start:]], [i for i, _ in kept[start:]], comment


def _blanks(line: str) -> str:
    """Runs of blanks as one tab, except within quotes."""
    parts = line.strip().split('"')
    parts[::2] = [re.sub(r"[ \t]+", "\t", part) for part in parts[::2]]
    return '"'.join(parts)


def _bare(line: str) -> str:
    """A line without what stands in quotes."""
    return re.sub(r'"[^"]*"', "", line) if '"' in line else line


def _splitter(sep: str, quoted: bool) -> Callable[[str], list[str]]:
    if not sep:
        return lambda line: [_unquoted(line)]
    if not quoted:
        return lambda line: line.split(sep)
    return lambda line: next(csv.reader([line], delimiter=sep))


def _separator(lines: list[str], options: TableOptions, quoted: bool) -> str:
    """The separator with which most cells are numbers, of those that fit all lines alike."""
    if options.sep != "auto":
        given = SEPARATORS.get(options.sep, options.sep.replace("\\t", "\t"))
        if len(given) != 1 or given in '"\n\r' or given.isalnum():
            raise ValueError(f"sep must be one character, tab or space, got {options.sep!r}")
        return given
    sample = lines[:SAMPLE]
    best, most = "", -1.0
    fallback = ""
    for sep in ("\t", ";", "|", ",", " "):
        shaped = [_blanks(line) for line in sample] if sep == " " else sample
        mark = "\t" if sep == " " else sep
        counts = [_bare(line).count(mark) for line in shaped]
        if not any(counts):
            continue
        fallback = fallback or sep
        tail = set(counts[1:]) or {counts[0]}
        if len(tail) > 1 or 0 in tail or counts[0] not in (next(iter(tail)), next(iter(tail)) - 1):
            continue
        split = _splitter(mark, quoted)
        cells = [cell.strip() for line in shaped[1:] or shaped for cell in split(line)]
        good = sum(_is_number(c, ".") or _is_number(c, ",") or _no_value(c) for c in cells)
        if good / len(cells) > most:
            best, most = sep, good / len(cells)
    return best if best else ("" if fallback == " " else fallback)


def _decimal(
    lines: list[str], options: TableOptions, sep: str, split: Callable[[str], list[str]]
) -> str:
    """A comma where cells have one and none has a point."""
    if options.decimal != "auto":
        if options.decimal == sep:
            raise ValueError(f"{sep!r} cannot be the separator and the decimal sign")
        return options.decimal
    if sep == ",":
        return "."
    cells = [cell.strip() for line in lines for cell in split(line)]
    commas = any("," in cell and COMMA.fullmatch(cell) for cell in cells)
    points = any("." in cell and POINT.fullmatch(cell) for cell in cells)
    return "," if commas and not points else "."


def _counted(lines: list[str], places: list[int], sep: str, quoted: bool, name: str) -> list[int]:
    """Fields of every line, where every line closes its quotes."""
    if not sep:
        return [1] * len(lines)
    if not quoted:
        return [line.count(sep) + 1 for line in lines]
    s = re.escape(sep)
    field = rf'(?:"(?:[^"]|"")*"|[^"{s}]*)'
    sound = re.compile(rf"{field}(?:{s}{field})*")
    counts = []
    for line, place in zip(lines, places, strict=True):
        if '"' in line and sound.fullmatch(line) is None:
            raise ValueError(
                f"{name}, line {place}: a quote that does not enclose one field of this line; "
                'inside a quoted field a quote is written twice ("")'
            )
        counts.append(_bare(line).count(sep) + 1)
    return counts


def _header(
    lines: list[str],
    counts: list[int],
    options: TableOptions,
    decimal: str,
    split: Callable[[str], list[str]],
) -> bool:
    """Whether the first line holds names.

    It does where it is one field short (R's row names); where it stands over numbers and has none
    itself; where its first field is empty over names or numbers of rows (pandas); and where it
    counts years, or columns from 0 or 1, over cells that cannot be the same.
    """
    if options.header != "auto":
        return options.header == "yes"
    width = counts[-1]
    if len(lines) < 2:
        return not any(_is_number(cell, decimal) for cell in split(lines[0]))
    if counts[0] != width:
        return counts[0] == width - 1
    head = [cell.strip() for cell in split(lines[0])]
    if head[0].lower() in INDICES:
        head[0] = ""
    body = [row for row in map(split, lines[1:SAMPLE]) if len(row) == width]
    if not body:
        return False
    columns = [[row[j].strip() for row in body] for j in range(width)]
    numeric = [all(_is_number(c, decimal) or _no_value(c) for c in column) for column in columns]
    named = [not _is_number(cell, decimal) and not _no_value(cell) for cell in head]
    if not any(numeric):
        return all(cell not in column for cell, column in zip(head, columns, strict=True))
    first = 0 if head[0] or width == 1 else 1  # an empty first field says nothing
    over = [title for title, number in zip(named[first:], numeric[first:], strict=True) if number]
    if over and all(over):
        return True
    indexed = not numeric[0] or columns[0] in (_counting(body, 0), _counting(body, 1))
    if not head[0]:
        return indexed and all(head[1:]) and len(set(head)) == width
    below = [cell for column in columns[1:] for cell in column]
    if named[0]:
        return not numeric[0] and _years(head[1:], below)
    whole = all(cell.isdigit() for cell in columns[0] + below)
    counted = head in (_counting(head, 0), _counting(head, 1)) and not whole and width > 2
    return all(numeric) and (counted or (width > 2 and _years(head, columns[0] + below)))


def _counting(rows: Sequence[object], first: int) -> list[str]:
    return [str(i) for i in range(first, first + len(rows))]


def _is_number(cell: str, decimal: str) -> bool:
    return bool((POINT if decimal == "." else COMMA).fullmatch(cell.strip()))


def _no_value(cell: str) -> bool:
    return cell.strip().lower() in MISSING


def _years(head: Sequence[str], below: Sequence[str]) -> bool:
    """Years in equal steps, over cells that are not all years."""
    if len(head) < 2 or not all(_is_year(cell) for cell in head):
        return False
    steps = {int(b) - int(a) for a, b in itertools.pairwise(head)}
    return len(steps) == 1 and min(steps) > 0 and not all(_is_year(cell) for cell in below)


def _is_year(cell: str) -> bool:
    return len(cell) == 4 and cell.isascii() and cell.isdigit() and 1500 <= int(cell) <= 2200
