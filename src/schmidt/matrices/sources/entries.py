"""Entries that can be decomposed: their types, their views as tensors, the sum of their squares."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from schmidt.arrays import tensor

SMALLEST = 1e-250
"""Of ‖A‖_F²: below, squares of small singular values are lost."""
KINDS = (torch.float32, torch.float64, torch.complex64, torch.complex128)


def checked(matrix: Tensor, shape: tuple[int, ...] | None = None) -> Tensor:
    """The matrix, where it is one that can be decomposed."""
    found = tuple(matrix.shape) if shape is None else tuple(shape)
    if len(found) != 2:
        raise ValueError(f"expected a matrix, got an array of shape {found}")
    if 0 in found:
        raise ValueError(f"the matrix is empty: shape {found}")
    if matrix.dtype not in KINDS:
        raise ValueError(
            f"cannot decompose entries of type {matrix.dtype}: convert to float32, float64, "
            "complex64 or complex128"
        )
    return matrix


def squared_norm(values: Tensor) -> float:
    """Σ|x|² in float64.

    Raises:
        ValueError: NaN or Inf among the values, or sums of squares that float64 cannot hold.
    """
    nonzero = bool((values != 0).any())
    # summed in blocks: no copy of everything, and torch's sums by halves lose a few ε at most,
    # where vector_norm loses √(number of entries) of them or more
    rows = max(2**20 // max(values[:1].numel(), 1), 1)
    squares = [_block_squares(part) for part in values.split(rows)] if nonzero else []
    total = float(torch.tensor(squares, dtype=torch.float64).sum())
    if nonzero and not SMALLEST < total < np.inf:
        if bool(torch.isfinite(values).all()):
            raise ValueError("squares of the entries leave the range of float64: scale the matrix")
        raise ValueError(
            "the matrix holds NaN or Inf: remove them, or fill them (schmidt.MatrixCompletion)"
        )
    return total


def _block_squares(part: Tensor) -> float:
    if part.is_complex():
        part = torch.view_as_real(part.resolve_conj())
    return float(part.double().square().sum())


def sound(A: Any) -> Any:
    """A scipy sparse matrix, where every index lies within its shape.

    scipy believes indices: one out of range kills the process, a negative one is another entry.

    Raises:
        ValueError: an index out of range, or parts that do not fit together.
    """
    if A.ndim != 2:
        raise ValueError(f"expected a matrix, got an array of shape {A.shape}")
    if A.format in ("csr", "csc", "bsr"):
        A.check_format(full_check=True)
    elif A.format == "coo":
        for indices, side in zip((A.row, A.col), A.shape, strict=True):
            if len(indices) != len(A.data):
                raise ValueError(f"{len(indices)} indices for {len(A.data)} values")
            if len(indices) and not 0 <= indices.min() <= indices.max() < side:
                raise ValueError(f"an index lies outside of the {A.shape[0]} × {A.shape[1]} matrix")
    elif A.format == "dia":
        if A.data.ndim != 2 or len(A.data) != len(A.offsets):
            raise ValueError(f"{len(A.offsets)} diagonals for values of shape {A.data.shape}")
    elif A.format == "lil":
        sound(A.tocsr())
    return A


def double(dtype: torch.dtype) -> torch.dtype:
    """float64, or complex128 for complex types."""
    return torch.complex128 if dtype.is_complex else torch.float64


def floating(a: np.ndarray) -> np.ndarray:
    """Integers and booleans as float64, everything else as it is."""
    return a.astype(float) if a.dtype.kind in "biu" else a


def view(a: Any) -> Tensor:
    """A numpy array as a tensor without a copy where torch can share its memory."""
    given = np.asarray(a)
    if given.dtype.kind not in "biufc":
        raise ValueError(f"expected a matrix of numbers, got entries of type {given.dtype}")
    given = floating(given)
    if given.dtype.itemsize > (16 if given.dtype.kind == "c" else 8):
        raise ValueError(f"cannot decompose entries of type {given.dtype}: convert to float64")
    if min((*given.strides, 0)) < 0 or not given.dtype.isnative:
        return tensor(given)
    with warnings.catch_warnings():  # torch warns of arrays that are read-only; nobody writes here
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(given)


def array(X: Tensor) -> np.ndarray:
    return X.resolve_conj().numpy()
