"""Feature arrays of two domains from one file."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from schmidt.experiments.retrieval.dataset import Items, ZeroShot, split
from schmidt.storage import DamagedFileError

KEYS = ("X", "cx", "Y", "cy")


def arrays(path: Path | str, *, seed: int = 0, k: int = 10) -> ZeroShot:
    """Features from an .npz file with X (n, d), cx (n,), Y (m, e) and cy (m,).

    Classes are integers or text. Features of more than two axes are flattened; bytes are taken as
    pixels. X and Y may have different lengths of features; then nothing compares them directly.

    Args:
        seed: of the split of the classes.
        k: items that precision counts.
    """
    path = Path(path)
    found = read_arrays(path, KEYS)
    names = sorted(
        {str(c) for key in ("cx", "cy") for c in np.asarray(found[key]).tolist()}, key=_key
    )
    number = {name: i for i, name in enumerate(names)}
    x, y = (
        _items(path, found[key], found[classes], number, key)
        for key, classes in (("X", "cx"), ("Y", "cy"))
    )
    return split(path.stem, x, y, names, seed=seed, k=k)


def read_arrays(path: Path, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Named arrays of an .npz file; what is missing or damaged is a clear error."""
    if not path.exists():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in keys if key not in file.files]
            if missing:
                raise KeyError(
                    f"{path} has no {', '.join(missing)}; it needs {', '.join(keys)}, "
                    f"and has {', '.join(file.files) or 'nothing'}"
                )
            return {key: file[key] for key in keys}
    except KeyError as error:
        raise ValueError(error.args[0]) from None
    except (zipfile.BadZipFile, ValueError, TypeError, EOFError, OSError) as error:
        raise DamagedFileError(
            f"{path} cannot be read as an .npz file of arrays ({error})"
        ) from None


def _key(name: str) -> tuple[int, Any]:
    """Numbers in their order, then text."""
    return (0, int(name)) if name.lstrip("-").isdigit() else (1, name)


def _items(
    path: Path, features: np.ndarray, classes: np.ndarray, number: dict[str, int], key: str
) -> Items:
    if features.ndim < 2 or classes.shape != (len(features),):
        raise ValueError(
            f"{path}: {key} must be (n, d) and its classes (n,), got shapes {features.shape} and "
            f"{classes.shape}"
        )
    flat = features.reshape(len(features), -1)
    if flat.dtype != np.uint8:
        flat = flat.astype(np.float32)
        if not np.isfinite(flat).all():
            raise ValueError(f"{path}: {key} holds values that are not finite")
    return Items(flat, np.array([number[str(c)] for c in classes.tolist()]))
