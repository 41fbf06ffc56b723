"""Matrix Market files, read safely: every word is looked at before any of them is believed."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import scipy.sparse

from schmidt.matrices.sources.entries import sound
from schmidt.tables import refuse_bomb

BLOCK = 2**24
"""Bytes of the file that are looked at together."""
SPECIAL = ("nan", "inf", "infinity")


def matrix_market(data: bytes, name: str) -> Any:
    """A Matrix Market file: coordinates as a sparse matrix, arrays as an array.

    Raises:
        ValueError: a file that is not one, or whose numbers are not those that its header and its
            size line announce; the line is named.
    """
    lines = data[: 2**16].split(b"\n", 1)
    words = lines[0].decode("latin-1").lower().split()
    if len(words) != 5 or words[:2] != ["%%matrixmarket", "matrix"]:
        raise ValueError(
            f"{name} is no Matrix Market file: line 1 must say %%MatrixMarket matrix …"
        )
    layout, field, symmetry = words[2:]
    width = {"real": 1, "integer": 1, "complex": 2, "pattern": 0, "double": 1}.get(field)
    known = ("general", "symmetric", "skew-symmetric", "hermitian")
    if layout not in ("coordinate", "array") or width is None or symmetry not in known:
        raise ValueError(f"{name}: {layout} {field} {symmetry} is not known to Matrix Market")
    sparse = layout == "coordinate"
    if not sparse and not width:
        raise ValueError(f"{name}: an array needs values, the header says pattern")
    start, line = _after_comments(data)
    end = data.find(b"\n", start)
    end = len(data) if end < 0 else end
    said = data[start:end].split()
    if len(said) != (3 if sparse else 2) or not all(
        word.isdigit() and len(word) < 19 for word in said
    ):
        text = data[start:end][:40].decode("latin-1")
        raise ValueError(f"{name}, line {line}: expected the size, got {text!r}")
    sizes = [int(word) for word in said]
    m, n = sizes[:2]
    if symmetry != "general" and m != n:
        raise ValueError(f"{name}: a {symmetry} matrix must be square, got {m} × {n}")
    packed = {"symmetric": m * (m + 1) // 2, "skew-symmetric": m * (m - 1) // 2}
    packed["hermitian"] = packed["symmetric"]
    count = sizes[2] if sparse else packed.get(symmetry, m * n)
    body = memoryview(data)[min(end + 1, len(data)) :]
    each = (2 if sparse else 0) + width
    if 2 * each * count > len(body) + 1:
        raise ValueError(
            f"{name} is cut short: {count} entries are announced, and {len(body)} bytes follow"
        )
    refuse_bomb(name, 8.0 * (m + n) if sparse else 8.0 * m * n, len(data))
    values = _tokens(bytes(body), each, count, name, line + 1).reshape(count, each)
    if not sparse:
        return _unpacked(values, name, (m, n), symmetry)
    where = values[:, :2]
    inside = (where >= 1) & (where <= [m, n]) & (where == np.floor(where))
    if not inside.all():
        i, j = values[~inside.all(1)][0, :2]
        raise ValueError(f"{name}: an entry at ({i:g}, {j:g}) of a {m} × {n} matrix")
    i, j = (where - 1).astype(np.int64).T
    entries = _complex(values[:, 2:]) if width else np.ones(count)
    if symmetry != "general":
        off = i != j
        _require_diagonal(entries[~off], symmetry, name)
        mirrored = _mirrored(entries[off], symmetry)
        i, j = np.r_[i, j[off]], np.r_[j, i[off]]
        entries = np.r_[entries, mirrored]
    return sound(scipy.sparse.coo_array((entries, (i, j)), shape=(m, n)))


def _after_comments(data: bytes) -> tuple[int, int]:
    """Where the size line begins, and its number."""
    start, line = data.find(b"\n") + 1, 2
    while start and start < len(data):
        end = data.find(b"\n", start)
        text = data[start : end if end >= 0 else len(data)].strip()
        if text and not text.startswith(b"%"):
            return start, line
        if end < 0:
            break
        start, line = end + 1, line + 1
    return len(data), line


def _tokens(body: bytes, each: int, count: int, name: str, first: int) -> np.ndarray:
    """``count`` lines of ``each`` numbers."""
    kept, lines, at, number = [], 0, 0, first
    while at < len(body):
        stop = len(body) if len(body) - at <= BLOCK else body.rfind(b"\n", at, at + BLOCK) + 1
        if stop <= at:
            raise ValueError(f"{name}, line {number}: it is too long")
        block = body[at:stop]
        letters = np.frombuffer(block, np.uint8)
        blank = (letters == 32) | ((letters >= 9) & (letters <= 13))
        begins = np.flatnonzero(~blank & np.r_[True, blank[:-1]])
        ends = np.flatnonzero(letters == 10)
        on = np.searchsorted(ends, begins)  # the line of every word
        words = np.bincount(on, minlength=len(ends) + 1)
        wrong = np.flatnonzero((words != each) & (words != 0))
        if len(wrong):
            raise ValueError(
                f"{name}, line {number + wrong[0]}: expected {each} numbers, got {words[wrong[0]]}"
            )
        lines += int((words != 0).sum())
        if lines > count:
            raise ValueError(f"{name} holds more than the {count} entries that it announces")
        kept.append(_floats(block, len(begins), name, number))
        number += len(ends)
        at = stop
    if lines != count:
        raise ValueError(f"{name} is cut short: {count} entries are announced, {lines} follow")
    return np.concatenate(kept) if kept else np.empty(0)


def _floats(block: bytes, count: int, name: str, number: int) -> np.ndarray:
    with warnings.catch_warnings():  # of what is no number; all of them are counted
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            numbers = np.fromstring(block.decode("latin-1"), sep=" ") if count else np.empty(0)
        except ValueError:
            numbers = np.empty(0)
    if numbers.size == count and bool(np.isfinite(numbers).all()):
        return numbers
    words = []
    for i, line in enumerate(block.split(b"\n")):
        for word in line.split():
            text = word[:40].decode("latin-1")
            try:
                words.append(float(text) if text.isascii() else math.nan)
            except ValueError:
                words.append(math.nan)
            if not math.isfinite(words[-1]) and text.lower().lstrip("+-") not in SPECIAL:
                raise ValueError(f"{name}, line {number + i}: {text!r} is no number")
    return np.array(words)


def _complex(values: np.ndarray) -> np.ndarray:
    return values[:, 0] + 1j * values[:, 1] if values.shape[1] == 2 else values[:, 0].copy()


def _require_diagonal(values: np.ndarray, symmetry: str, name: str) -> None:
    """What its own mirror image allows on the diagonal of a matrix."""
    if symmetry == "skew-symmetric" and values.any():
        raise ValueError(
            f"{name} is skew-symmetric, but holds {values[values != 0][0]:g} on its diagonal"
        )
    if symmetry == "hermitian" and np.imag(values).any():
        raise ValueError(f"{name} is hermitian, but its diagonal is not real")


def _mirrored(values: np.ndarray, symmetry: str) -> np.ndarray:
    return {"symmetric": values, "skew-symmetric": -values}.get(symmetry, np.conj(values))


def _unpacked(values: np.ndarray, name: str, shape: tuple[int, int], symmetry: str) -> np.ndarray:
    """Columns one after the other; of a symmetric matrix their lower halves."""
    entries = _complex(values)
    if symmetry == "general":
        return entries.reshape(shape, order="F")
    out = np.zeros(shape, entries.dtype)
    j, i = np.triu_indices(shape[0], 1 if symmetry == "skew-symmetric" else 0)
    out[j, i] = _mirrored(entries, symmetry)
    out[i, j] = entries
    _require_diagonal(out.diagonal(), symmetry, name)
    return out
