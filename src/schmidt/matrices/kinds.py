"""Which kind of source a matrix is."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import LinearOperator
from torch import Tensor

from schmidt.arrays import refuse_masked
from schmidt.matrices.sources.centred import Mapped, Shift, centred, slices, wanted
from schmidt.matrices.sources.entries import frame_values, narrowed, plain
from schmidt.matrices.sources.operator import Operator
from schmidt.matrices.sources.source import Dense, Source, Sparse
from schmidt.matrices.sources.weighted import positive

READ = 2**26
"""Bytes, in double precision, up to which an array in a file is simply read."""


def source_of(
    A: Any,
    rank: int = 32,
    seed: int = 0,
    *,
    center: Any = False,
    scale: Any = False,
    rows: Tensor | None = None,
    columns: Tensor | None = None,
) -> Source:
    """A matrix of any kind as a :class:`Source`, centred and scaled as asked for.

    Args:
        A: the matrix.
        rank: how many triplets are wanted, for blocks that are read at once.
        seed: of what solves such blocks.
        center: False; True for the means of the columns; or an array (n,) to subtract.
        scale: False; True for the standard deviations of the columns; or an array (n,) to divide
            by.
        rows, columns: weights (m,) and (n,), in whose square roots the matrix is written.

    Raises:
        ValueError: not a matrix of numbers, or of a kind that nobody knows.
    """
    if rows is not None or columns is not None:
        return _weighted(A, rank, seed, center, scale, rows, columns)
    if type(A).__module__.split(".")[0] == "dask":
        from schmidt.matrices.solvers.dask import Chunked, shifted

        return Chunked(shifted(A, center, scale)) if wanted(center, scale) else Chunked(A)
    from schmidt.matrices.solvers.blocks import WIDE, Turned, row_blocks

    blocks = _blocks_of(A)
    if is_mapped(A):
        refuse_masked(A)
        array = np.asarray(A)
        if min(array.shape) > WIDE:
            return centred(Mapped(array), center, scale)
        if array.shape[0] < array.shape[1]:
            return Turned(array, center, scale, rank, seed)
        blocks = RowsOf(array)
    if blocks is None:
        return centred(_whole(A), center, scale)
    blocks = _read(blocks)
    if not wanted(center, scale):
        return row_blocks(blocks, rank, seed)
    if isinstance(blocks, Iterator):
        raise ValueError(
            "an iterator can be read once only, and centring takes two passes: give a list of "
            "blocks, or a function that returns a new iterator"
        )
    shift = Shift(blocks, center, scale)
    source = row_blocks(shift.blocks, rank, seed)
    source.noise += shift.noise / source.unit
    return source


def _weighted(
    A: Any,
    rank: int,
    seed: int,
    center: Any,
    scale: Any,
    rows: Tensor | None,
    columns: Tensor | None,
) -> Source:
    """The same kind of matrix, in the coordinates that weights ask for."""
    from schmidt.matrices.solvers.blocks import WIDE, row_blocks
    from schmidt.matrices.sources.weighted import WeightedRows, weighted, weighted_chunks

    if type(A).__module__.split(".")[0] == "dask":
        from schmidt.matrices.solvers.dask import Chunked

        return Chunked(weighted_chunks(A, rows, columns, center, scale))
    blocks = _blocks_of(A)
    if is_mapped(A):
        refuse_masked(A)
        array = np.asarray(A)
        if array.shape[1] > WIDE:
            positive(rows, "row_weights", array.shape[0])
            return weighted(Mapped(array), rows, columns, center, scale)
        blocks = RowsOf(array)
    if blocks is None:
        source = _whole(A)
        positive(rows, "row_weights", source.shape[0])
        return weighted(source, rows, columns, center, scale)
    blocks = _read(blocks)
    if isinstance(blocks, Iterator):
        if wanted(center, scale):
            raise ValueError(
                "an iterator can be read once only, and centring takes two passes: give a list of "
                "blocks, or a function that returns a new iterator"
            )
        return row_blocks(WeightedRows(blocks, rows, columns, False, False)(), rank, seed)
    again = blocks if callable(blocks) else lambda: iter(blocks)
    return row_blocks(WeightedRows(again, rows, columns, center, scale), rank, seed)


def _whole(A: Any) -> Source:
    if isinstance(A, Source):
        return A
    if isinstance(A, Tensor):
        return Dense(A) if A.layout is _strided() else SparseTensor(A)
    if scipy.sparse.issparse(A):
        return Sparse(A)
    if isinstance(A, LinearOperator):
        return Operator(A)
    if hasattr(A, "sparse") and hasattr(A, "iloc"):  # a data frame of sparse columns
        return Sparse(A.sparse.to_coo())
    if isinstance(A, np.ndarray | list | tuple) or hasattr(A, "__array__"):
        return Dense(A)
    raise ValueError(
        f"cannot decompose a {type(A).__name__}: give a numpy array, a tensor, a data frame, a "
        "scipy sparse matrix, a LinearOperator, a dask array or row blocks"
    )


def _blocks_of(A: Any) -> Any:
    """Row blocks, as a list, a function or an iterator; None for matrices of any other kind."""
    if isinstance(A, Source | LinearOperator):
        return None
    if isinstance(A, Iterator) or _is_blocks(A) or (callable(A) and not hasattr(A, "__array__")):
        return A
    return None


def _read(blocks: Any) -> Any:
    """Blocks as arrays, tensors and sparse matrices."""
    if isinstance(blocks, Iterator):
        return map(_plain_block, blocks)
    if callable(blocks):
        return lambda: map(_plain_block, blocks())
    return [_plain_block(block) for block in blocks]


def _plain_block(block: Any) -> Any:
    refuse_masked(block)
    if isinstance(block, Tensor):
        return plain(block) if block.layout is _strided() else block
    if hasattr(block, "columns") and hasattr(block, "to_numpy"):
        return frame_values(block)
    return block


class RowsOf:
    """Blocks of rows of an array in a file."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __call__(self) -> Iterator[np.ndarray]:
        return (self.array[rows] for rows in slices(self.array.shape))


class SparseTensor(Sparse):
    """A sparse tensor on the CPU; results are tensors."""

    def __init__(self, A: Tensor) -> None:
        if A.device.type != "cpu":
            raise ValueError("sparse tensors must be on the CPU: call A.cpu(), or A.to_dense()")
        entries = A.detach().to_sparse_coo().coalesce()
        rows, columns = entries.indices().numpy()
        values = entries.values().numpy()
        super().__init__(scipy.sparse.coo_array((values, (rows, columns)), shape=tuple(A.shape)))

    def give(self, result: Tensor) -> Any:
        return narrowed(result, self._given)


def _is_blocks(A: Any) -> bool:
    """A list or tuple of matrices, rather than of numbers or of rows of numbers."""
    return (
        isinstance(A, list | tuple)
        and len(A) > 0
        and all(hasattr(b, "ndim") and hasattr(b, "shape") for b in A)
        and all(b.ndim == 2 for b in A)
    )


def is_mapped(A: Any) -> bool:
    """Whether an array lies in a file; small ones are read."""
    base, mapped = A, False
    while base is not None and not mapped:
        mapped = isinstance(base, np.memmap | mmap.mmap)
        base = getattr(base, "base", None)
    return mapped and isinstance(A, np.ndarray) and A.ndim == 2 and 8 * A.size > READ


def _strided() -> Any:
    import torch

    return torch.strided
