"""Which kind of source a matrix is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import LinearOperator
from torch import Tensor

from schmidt.matrices.sources.source import Dense, Operator, Source, Sparse


def source_of(A: Any, rank: int = 32, seed: int = 0) -> Source:
    """A matrix of any kind as a :class:`Source`.

    Args:
        A: the matrix.
        rank: how many triplets are wanted, for blocks that are read at once.
        seed: of what solves such blocks.

    Raises:
        ValueError: not a matrix of numbers, or of a kind that nobody knows.
    """
    if isinstance(A, Source):
        return A
    if isinstance(A, Tensor) and A.layout is not _strided():
        return SparseTensor(A)
    if isinstance(A, (np.ndarray, Tensor)):
        return Dense(A)
    if scipy.sparse.issparse(A):
        return Sparse(A)
    if isinstance(A, LinearOperator):
        return Operator(A)
    if type(A).__module__.split(".")[0] == "dask":
        from schmidt.matrices.solvers.dask import Chunked

        return Chunked(A)
    if callable(A) or isinstance(A, Iterator) or _is_blocks(A):
        from schmidt.matrices.solvers.blocks import row_blocks

        return row_blocks(A, rank, seed)
    if hasattr(A, "__array__") or isinstance(A, (list, tuple)):
        return Dense(np.asarray(A))
    raise ValueError(
        f"cannot decompose a {type(A).__name__}: give a numpy array, a tensor, a scipy sparse "
        "matrix, a LinearOperator, a dask array or row blocks"
    )


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
        return self.narrowed(result)


def _is_blocks(A: Any) -> bool:
    """A list or tuple of matrices, rather than of numbers or of rows of numbers."""
    return (
        isinstance(A, (list, tuple))
        and len(A) > 0
        and all(isinstance(b, (np.ndarray, Tensor)) or scipy.sparse.issparse(b) for b in A)
        and all(b.ndim == 2 for b in A)
    )


def _strided() -> Any:
    import torch

    return torch.strided
