"""Every kind of file that the library writes or reads: how, and what is then in it."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import scipy.sparse
import torch
from PIL import Image

from schmidt.cli.compress import read_picture
from schmidt.cli.matrix_files import read_matrix
from schmidt.storage import (
    read_json,
    read_tensors,
    read_tree,
    write_bytes,
    write_json,
    write_tensors,
    write_tree,
)
from schmidt.tables import TableOptions, read_table


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        ending: of its name.
        write: a path and a number; other numbers make other contents.
        read: what is in it, as an array.
        checked: it carries a checksum, so that no change of content goes unnoticed.
    """

    ending: str
    write: Callable[[Path, int], Any]
    read: Callable[[Path], np.ndarray]
    checked: bool = False


def numbers(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((6, 4)).round(3)


def _tree(path: Path, seed: int) -> None:
    state = {"state": {0: {"step": seed, "m": torch.tensor(numbers(seed))}}, "lr": (0.1, None)}
    write_tree(path, state, {"kind": "tree"})


def _picture(path: Path, seed: int) -> None:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, format="PNG")
    write_bytes(path, buffer.getvalue())


def _npz(path: Path, seed: int) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, A=numbers(seed))
    write_bytes(path, buffer.getvalue())


def _npy(path: Path, seed: int) -> None:
    buffer = io.BytesIO()
    np.save(buffer, numbers(seed))
    write_bytes(path, buffer.getvalue())


def _sparse(path: Path, seed: int) -> None:
    buffer = io.BytesIO()
    kept = np.where(numbers(seed) > 0, numbers(seed), 0)
    scipy.sparse.save_npz(buffer, scipy.sparse.csr_array(kept))
    write_bytes(path, buffer.getvalue())


def _market(path: Path, seed: int) -> None:
    buffer = io.BytesIO()
    scipy.io.mmwrite(buffer, scipy.sparse.coo_array(numbers(seed)))
    write_bytes(path, buffer.getvalue())


def _csv(path: Path, seed: int) -> None:
    text = io.StringIO()
    np.savetxt(text, numbers(seed), delimiter=",", header="a,b,c,d", comments="", fmt="%.3f")
    write_bytes(path, text.getvalue().encode())


def _gzip(path: Path, seed: int) -> None:
    plain = path.with_name("plain.csv")
    _csv(plain, seed)
    write_bytes(path, gzip.compress(plain.read_bytes()))
    plain.unlink()


def _matrix(path: Path) -> np.ndarray:
    found = read_matrix(path, TableOptions())[0]
    return found.toarray() if scipy.sparse.issparse(found) else np.asarray(found)


FORMATS = {
    "json": Format(
        ".json",
        lambda path, seed: write_json(path, {"values": numbers(seed).tolist(), "σ": None}),
        lambda path: np.array(read_json(path)["values"]),
        checked=True,
    ),
    "tensors": Format(
        ".safetensors",
        lambda path, seed: write_tensors(path, {"A": torch.tensor(numbers(seed))}, {"kind": "A"}),
        lambda path: read_tensors(path, "A")[0]["A"].numpy(),
        checked=True,
    ),
    "tree": Format(
        ".safetensors",
        _tree,
        lambda path: read_tree(path, "tree")["state"][0]["m"].numpy(),
        checked=True,
    ),
    "picture": Format(".png", _picture, lambda path: read_picture(path).pixels, checked=True),
    "npz": Format(".npz", _npz, _matrix, checked=True),
    "npy": Format(".npy", _npy, _matrix),
    "sparse": Format(".npz", _sparse, _matrix, checked=True),
    "market": Format(".mtx", _market, _matrix),
    "csv": Format(".csv", _csv, lambda path: read_table(path).matrix(missing=True)),
    "gzip": Format(".csv.gz", _gzip, lambda path: read_table(path).matrix(missing=True)),
}
