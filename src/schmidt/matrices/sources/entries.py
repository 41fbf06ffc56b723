"""Entries that can be decomposed: their types, their views as tensors, the sum of their squares."""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from schmidt.arrays import refuse_masked, tensor

SMALLEST = 1e-250
"""Of ‖A‖_F²: below, squares of small singular values are lost."""
KINDS = (torch.float32, torch.float64, torch.complex64, torch.complex128)
COMFORTABLE = 1e4
"""Norms this far from 1 are brought to it."""
RANGE = 1e100
"""Largest entries beyond it, or below its inverse, are brought to 1 before anything is squared."""
BLOCK = 2**20
"""Entries that are squared together."""


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
    squares = [_block_squares(part) for part in _blocks(values)]
    total = float(torch.tensor(squares, dtype=torch.float64).sum())
    if SMALLEST < total < math.inf:
        return total
    # in blocks: nothing as large as the matrix is ever made
    if not all(bool(torch.isfinite(part).all()) for part in _blocks(values)):
        raise ValueError(
            "the matrix holds NaN or Inf: remove them, or fill them (schmidt.MatrixCompletion)"
        )
    if any(bool((part != 0).any()) for part in _blocks(values)):
        raise ValueError("squares of the entries leave the range of float64: scale the matrix")
    return 0.0


def _blocks(values: Tensor) -> Iterator[Tensor]:
    # torch's sums by halves lose a few ε at most, vector_norm √(number of entries) of them or more
    rows = max(BLOCK // max(values[:1].numel(), 1), 1)
    return (part for part in values.split(rows) if part.numel())


def _block_squares(part: Tensor) -> float:
    if part.is_complex():
        part = torch.view_as_real(part.resolve_conj())
    return float(part.double().square().sum())


def sound(A: Any) -> Any:
    """A scipy sparse matrix as it is, where every index lies within its shape.

    scipy believes indices: one out of range kills the process, a negative one is another entry.

    Raises:
        ValueError: an index out of range, or parts that do not fit together.
    """
    if A.ndim != 2:
        raise ValueError(f"expected a matrix, got a sparse array of shape {A.shape}")
    fault = ""
    if A.format == "coo":
        for axis, (indices, size) in enumerate(zip((A.row, A.col), A.shape, strict=True)):
            if len(indices) != len(A.data):
                fault = f"it has {len(indices)} indices for {len(A.data)} values"
            elif len(indices) and not 0 <= indices.min() <= indices.max() < size:
                fault = f"indices of axis {axis} leave the range 0 … {size - 1}"
    elif A.format in ("csr", "csc", "bsr"):
        rows, columns = A.shape[::-1] if A.format == "csc" else A.shape
        if A.format == "bsr":
            rows, columns = rows // A.blocksize[0], columns // A.blocksize[1]
        pointer, indices = A.indptr, A.indices
        if len(pointer) != rows + 1 or pointer[0] != 0 or (np.diff(pointer) < 0).any():
            fault = "its index pointer is not an increasing sequence from 0"
        elif pointer[-1] > min(len(indices), len(A.data)):
            fault = "its index pointer leaves the data"
        elif len(indices) and not 0 <= indices.min() <= indices.max() < columns:
            fault = f"indices leave the range 0 … {columns - 1}"
    elif A.format == "dia" and (A.data.ndim != 2 or len(A.data) != len(A.offsets)):
        fault = f"it has {len(A.offsets)} diagonals for values of shape {A.data.shape}"
    elif A.format == "lil":
        sound(A.tocsr())
    if fault:
        raise ValueError(f"the sparse matrix is damaged: {fault}")
    return A


def double(dtype: torch.dtype) -> torch.dtype:
    """float64, or complex128 for complex types."""
    return torch.complex128 if dtype.is_complex else torch.float64


def floating(a: np.ndarray) -> np.ndarray:
    """Integers and booleans as float64, half precision as float32, everything else as it is."""
    if a.dtype.kind in "biu":
        return a.astype(float)
    return a.astype(np.float32) if a.dtype == np.float16 else a


def plain(a: Tensor) -> Tensor:
    """The same for tensors, without a graph and without pending signs."""
    a = a.detach().resolve_conj().resolve_neg()
    if a.is_quantized or a.device.type == "meta":
        raise ValueError("expected a tensor of numbers, got one without entries of its own")
    if a.dtype in (torch.float16, torch.bfloat16):
        return a.float()
    return a if a.dtype.is_floating_point or a.dtype.is_complex else a.double()


def view(a: Any) -> Tensor:
    """A numpy array, a data frame or lists as a tensor, without a copy where memory is shared."""
    refuse_masked(a)
    try:
        given = np.asarray(frame_values(a) if hasattr(a, "columns") else a)
    except ValueError as error:
        raise ValueError(f"expected a matrix of numbers: {error}") from None
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


def frame_values(frame: Any) -> np.ndarray:
    """A pandas or polars frame as an array; what is missing is NaN.

    Raises:
        ValueError: a column that holds no numbers; it is named.
    """
    values = np.asarray(frame.to_numpy())
    if values.dtype.kind in "biufc":
        return values
    parts = []
    for j, name in enumerate(frame.columns):
        column = frame.iloc[:, j] if hasattr(frame, "iloc") else frame[name]
        try:
            if hasattr(frame, "iloc"):  # pandas' nullable types
                parts.append(column.to_numpy(dtype=float, na_value=np.nan))
            else:
                parts.append(column.to_numpy().astype(float))
        except (TypeError, ValueError):
            raise ValueError(f"column {name!r} holds {column.dtype}, expected numbers") from None
        if not _holds_numbers(column):
            raise ValueError(f"column {name!r} holds {column.dtype}, expected numbers")
    return np.stack(parts, 1)


def _holds_numbers(column: Any) -> bool:
    """Not text that reads as a number, nor dates."""
    kind = str(column.dtype).lower()
    return any(word in kind for word in ("int", "float", "bool", "decimal", "double")) or all(
        isinstance(x, numbers.Number) or x is None for x in column.to_list()
    )


def array(X: Tensor) -> np.ndarray:
    return X.resolve_conj().numpy()


def narrowed(result: Tensor, given: torch.dtype) -> Tensor:
    """A result in the precision of what was given; real ones stay real."""
    return result.to(given if result.is_complex() else torch.empty(0, dtype=given).real.dtype)


def norm_of(x: Tensor) -> float:
    """‖x‖_F, without squares that leave the range of the type."""
    largest = float(x.abs().max())
    return largest * float(torch.linalg.vector_norm(x / largest)) if largest else 0.0


def unit_of(norm: float) -> float:
    """The power of two just below a norm that is far from 1, else 1: no larger than the norm, so
    that it has the precision of the matrix whatever that is."""
    if norm == 0 or 1 / COMFORTABLE < norm < COMFORTABLE:
        return 1.0
    return 2.0 ** (math.frexp(norm)[1] - 1)


def comfortable(matrix: Tensor) -> tuple[Tensor, float]:
    """The matrix and 1; or matrix/unit and that unit where squares of its entries would be lost."""
    if not matrix.numel():
        return matrix, 1.0
    largest = (
        float(matrix.abs().max())
        if not matrix.is_complex()
        else max(float(matrix.real.abs().max()), float(matrix.imag.abs().max()))
    )
    if largest == 0 or not math.isfinite(largest) or 1 / RANGE < largest < RANGE:
        return matrix, 1.0
    # in two steps: the inverse of a power of two that is subnormal is no number
    power = math.frexp(largest)[1] - 1
    half = power // 2
    return matrix / 2.0**half / 2.0 ** (power - half), 2.0**power
