"""Matrices and pictures from files, with errors that say what is wrong with the file."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import scipy.sparse

KINDS = (".npy", ".npz", ".mtx", ".csv")


def read_matrix(path: Path) -> Any:
    """A numpy array or a scipy sparse matrix.

    ``.npy``, mapped rather than read; ``.npz`` as scipy.sparse.save_npz or numpy.savez wrote it,
    the latter with one array; ``.mtx``, Matrix Market; ``.csv``, numbers separated by commas, with
    or without one line of column names.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give one file of {', '.join(KINDS)}")
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise ValueError(
            f"{path}: expected a file of {', '.join(KINDS)}, got {kind or 'no suffix'}"
        )
    try:
        if kind == ".npy":
            return np.load(path, mmap_mode="r", allow_pickle=False)
        if kind == ".npz":
            return _npz(path)
        if kind == ".mtx":
            return scipy.io.mmread(path)
        return _csv(path)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise ValueError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error


def _npz(path: Path) -> Any:
    with np.load(path, allow_pickle=False) as stored:
        names = list(stored)
        if "format" not in names:
            if len(names) != 1:
                raise ValueError(f"it holds {len(names)} arrays ({', '.join(names)}), expected one")
            return stored[names[0]]
    return scipy.sparse.load_npz(path)


def _csv(path: Path) -> np.ndarray:
    with path.open(encoding="utf-8-sig") as file:
        first = file.readline().strip().split(",")
    numbers = [_is_number(word) for word in first]
    if any(numbers) and not all(numbers):
        column = numbers.index(False)
        raise ValueError(f"line 1, column {column + 1}: {first[column]!r} is no number")
    names = 0 if all(numbers) else 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of files without numbers
        a = np.loadtxt(path, delimiter=",", skiprows=names, ndmin=2, encoding="utf-8-sig")
    if a.size == 0:
        raise ValueError("there are no numbers in it")
    return a


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def read_picture(path: Path | None) -> tuple[str, np.ndarray]:
    """Name and pixels, uint8, grey or RGB; without a path a photograph that scikit-learn ships."""
    if path is None:
        from sklearn.datasets import load_sample_image

        return "china", np.asarray(load_sample_image("china.jpg"))
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if image.mode.startswith("I") or image.mode == "F":
                return path.stem, _eight_bits(np.asarray(image, dtype=float))
            grey = image.mode in ("1", "L", "LA")
            return path.stem, np.asarray(image.convert("L" if grey else "RGB"))
    except FileNotFoundError:
        raise FileNotFoundError(f"no such file: {path}") from None
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder, and not a picture") from None
    except UnidentifiedImageError:
        raise ValueError(f"{path} is not a picture that can be read") from None


def _eight_bits(grey: np.ndarray) -> np.ndarray:
    """Pixels of 16 bits, or of any other range, as 0 … 255."""
    low, high = min(0.0, float(grey.min())), float(grey.max())
    if low == 0 and 255 < high <= 65535:
        high = 65535.0
    elif low == 0 and high <= 255:
        high = 255.0 if high > 1 else 1.0
    return np.round((grey - low) * (255 / max(high - low, 1e-300))).astype(np.uint8)
