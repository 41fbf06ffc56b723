"""Matrices from files, safely: nothing is executed, nothing is larger than its file.

Headers are read and compared with what the file holds before anything is allocated, and every
index of a sparse matrix is compared with its shape, before numpy or scipy see it.
"""

from __future__ import annotations

import io
import math
import struct
import sys
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import scipy.sparse

from schmidt.cli.matrix_market import matrix_market
from schmidt.matrices.sources.entries import sound
from schmidt.tables import SUFFIXES, TableOptions, contents, read_table, refuse_bomb

KINDS = (".npy", ".npz", ".mtx", *SUFFIXES)
NUMBERS = "biufc"
BAD_HEADER = (
    ValueError,
    TypeError,
    SyntaxError,
    EOFError,
    OverflowError,
    MemoryError,
    RecursionError,
    KeyError,
    tokenize.TokenError,
)
"""What numpy raises on a header that it cannot parse."""


def read_matrix(path: Path, options: TableOptions | None = None) -> tuple[Any, str]:
    """A numpy array or a scipy sparse matrix, and one line on what was understood.

    Args:
        path: ``.npy``, mapped rather than read; ``.npz`` as scipy.sparse.save_npz or numpy.savez
            wrote it, the latter with one array; ``.mtx``, Matrix Market; or a table, see
            :func:`schmidt.tables.read_table`. "-" is standard input, whose kind is told from
            what it begins with.
        options: how to read a table.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that is damaged, or of no kind that is known.
    """
    name = path.name
    if str(path) == "-":
        return _from_bytes(sys.stdin.buffer.read(), "standard input", options)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give one file of {', '.join(KINDS)}")
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes[-1:] == [".gz"]
    kind = (suffixes[:-1] if packed else suffixes)[-1:]
    if (kind and kind[0] not in KINDS) or (not kind and path.is_file()):
        given = kind[0] if kind else "no suffix"
        raise ValueError(f"{path}: expected a file of {', '.join(KINDS)}, got {given}")
    if not packed and path.is_file():
        if kind == [".npy"]:
            return _mapped(path), _plain(name)
        if kind == [".npz"]:
            return _npz(path, name, path.stat().st_size), _plain(name)
    data, name = contents(path)
    if kind and kind[0] in (".npy", ".npz", ".mtx"):
        reader = {".npy": _npy, ".npz": _npz_bytes, ".mtx": matrix_market}[kind[0]]
        return reader(data, name), _plain(name)
    return _from_bytes(data, name, options)


def _plain(name: str) -> str:
    return f"{name}: a file of numbers"


def _from_bytes(data: bytes, name: str, options: TableOptions | None) -> tuple[Any, str]:
    data, name = contents(data, name)
    if data[:6] == b"\x93NUMPY":
        return _npy(data, name), f"{name}: .npy"
    if data[:2] == b"PK":
        return _npz_bytes(data, name), f"{name}: .npz"
    if data[:14].lower() == b"%%matrixmarket":
        return matrix_market(data, name), f"{name}: Matrix Market"
    table = read_table(data, options or TableOptions(), name=name)
    return table.matrix(), table.understood


def _header(file: BinaryIO, name: str) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, order and type of a .npy; numpy's own words would advise to load it unsafely."""
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            raise ValueError(f"version {version[0]}.{version[1]} is not known")
    except BAD_HEADER as error:
        advice = "" if "version" not in str(error) else f" ({error})"
        raise ValueError(f"{name} cannot be read: its header is damaged{advice}") from None
    if any(side < 0 for side in shape):
        raise ValueError(f"{name} cannot be read: its header is damaged (shape {shape})")
    return shape, fortran, dtype


def _check_numbers(dtype: np.dtype, name: str) -> None:
    if dtype.hasobject:
        raise ValueError(
            f"{name} holds Python objects, which are never loaded: save it as an array of numbers"
        )
    if dtype.kind not in NUMBERS:
        raise ValueError(f"{name} holds {dtype}, expected numbers")


def _check_size(shape: tuple[int, ...], dtype: np.dtype, held: int, name: str) -> None:
    claimed = math.prod(shape) * dtype.itemsize
    if claimed != held:
        what = "is cut short" if held < claimed else "holds more than one array"
        raise ValueError(
            f"{name} {what}: an array of shape {shape} and type {dtype} takes {claimed} bytes, "
            f"the file has {held}"
        )


def _mapped(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        shape, fortran, dtype = _header(file, path.name)
        start = file.tell()
    _check_numbers(dtype, path.name)
    _check_size(shape, dtype, path.stat().st_size - start, path.name)
    order = "F" if fortran else "C"
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", start, shape, order)  # type: ignore[call-overload]


def _npy(data: bytes, name: str, *, words: bool = False) -> np.ndarray:
    file = io.BytesIO(data)
    shape, fortran, dtype = _header(file, name)
    if not (words and dtype.kind in "SU"):
        _check_numbers(dtype, name)
    start = file.tell()
    _check_size(shape, dtype, len(data) - start, name)
    flat = np.frombuffer(data, dtype, offset=start) if math.prod(shape) else np.empty(0, dtype)
    return flat.reshape(shape, order="F" if fortran else "C")


def _npz_bytes(data: bytes, name: str) -> Any:
    return _npz(io.BytesIO(data), name, len(data))


def _npz(file: Any, name: str, size: int) -> Any:
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            _require_whole(archive, members)
            refuse_bomb(name, sum(info.file_size for info in members), size)
            names = [info.filename.removesuffix(".npy") for info in members]
            if "format" not in names and len(names) != 1:
                listed = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
                raise ValueError(f"{name} holds {len(names)} arrays ({listed}), expected one")
            parts = {
                key: _npy(archive.read(info), f"{name} ({key})", words=key == "format")
                for key, info in zip(names, members, strict=True)
            }
    except (
        zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError,
        struct.error, UnicodeDecodeError, OverflowError,
    ) as error:  # fmt: skip
        words = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{name} cannot be read: {words}") from None
    if "format" not in parts:
        return parts[names[0]]
    return _sparse(parts, name, size)


DESCRIPTOR = 24
"""The most bytes that may follow a member."""


def _require_whole(archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> None:
    """The directory of an archive has no checksum: see that it names all that is there, arrays
    only, or a damaged one would turn a sparse matrix into one of its parts."""
    at = 0
    for info in sorted(members, key=lambda info: info.header_offset):
        if not info.filename.endswith(".npy"):
            raise zipfile.BadZipFile(f"{info.filename!r} in it is no array")
        if not at <= info.header_offset <= at + (DESCRIPTOR if at else 0):
            raise zipfile.BadZipFile("its directory does not name all that it holds")
        assert archive.fp is not None
        archive.fp.seek(info.header_offset + 26)
        name, extra = struct.unpack("<HH", archive.fp.read(4))
        at = info.header_offset + 30 + name + extra + info.compress_size
    if not at <= archive.start_dir <= at + DESCRIPTOR:
        raise zipfile.BadZipFile("its directory does not name all that it holds")


def _sparse(parts: dict[str, np.ndarray], name: str, size: int) -> Any:
    """What scipy.sparse.save_npz wrote, with every index looked at."""
    try:
        word = parts["format"].item()
        kind = word.decode("ascii") if isinstance(word, bytes) else str(word)
        shape = tuple(int(side) for side in parts["shape"].tolist())
        if len(shape) != 2 or min(shape) < 0:
            raise ValueError(f"its shape is {shape}")
        refuse_bomb(name, 8.0 * sum(shape), size)
        data = parts["data"]
        if kind in ("csr", "csc", "bsr"):
            build = getattr(scipy.sparse, f"{kind}_array")
            indices, starts = (_whole(parts[key], key) for key in ("indices", "indptr"))
            if kind == "bsr":  # scipy divides by the sides of its blocks
                sides = data.shape[1:]
                if (
                    data.ndim != 3
                    or 0 in sides
                    or any(s % b for s, b in zip(shape, sides, strict=True))
                ):
                    raise ValueError(f"its blocks have the shape {data.shape}")
            elif data.ndim != 1:
                raise ValueError(f"its values have the shape {data.shape}")
            return sound(build((data, indices, starts), shape=shape))
        if kind == "coo":
            row, col = (_whole(parts[key], key) for key in ("row", "col"))
            return sound(scipy.sparse.coo_array((data, (row, col)), shape=shape))
        if kind == "dia":
            offsets = _whole(parts["offsets"], "offsets")
            return sound(scipy.sparse.dia_array((data, offsets), shape=shape))
        raise ValueError(f"a sparse format {kind!r} is not known")
    except (KeyError, TypeError, OverflowError, UnicodeDecodeError, IndexError) as error:
        raise ValueError(f"{name} cannot be read as a sparse matrix: {error!r}") from None
    except ValueError as error:
        if str(error).startswith(name):
            raise
        first = str(error).splitlines()[0]
        raise ValueError(f"{name} cannot be read as a sparse matrix: {first}") from None


def _whole(indices: np.ndarray, key: str) -> np.ndarray:
    if indices.ndim != 1 or indices.dtype.kind not in "iu":
        raise ValueError(f"{key} is an array of {indices.dtype} and shape {indices.shape}")
    return indices
