"""What a matrix may be: anything that can be applied to a few columns, and its adjoint too."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import scipy.sparse
import torch
from scipy.sparse.linalg import LinearOperator
from torch import Tensor

from schmidt.arrays import tensor


class Source(ABC):
    """A matrix A (m, n) as its products with blocks of columns.

    Attributes:
        shape: (m, n).
        dtype: of torch; float32, float64, complex64 or complex128. Products have it.
        device: where blocks of columns live.
        norm2: ‖A‖_F², or None where only products are known.
        structure: what a solver is chosen by: "dense", "sparse", "operator", "blocks", "dask".
        probes: whether a certificate may ask for more products.
        unit: what values are to be multiplied by: the user's matrix is unit·A.
        noise: what rounding may have done to the triplets, in the Frobenius norm, beyond that of
            one decomposition and of products with A.
    """

    probes = True
    unit = 1.0
    noise = 0.0

    shape: tuple[int, int]
    dtype: torch.dtype
    device: torch.device
    norm2: float | None
    structure: str

    @abstractmethod
    def apply(self, X: Tensor) -> Tensor:
        """A X for X (n, b)."""

    @abstractmethod
    def adjoint(self, Y: Tensor) -> Tensor:
        """Aᴴ Y for Y (m, b)."""

    def give(self, result: Tensor) -> Any:
        """A result as the kind of array that the user works with; numpy unless said otherwise."""
        return result.numpy()

    def give_left(self, left: Any, values: Tensor, right: Tensor) -> Any:
        """The left side as the user's kind of array."""
        return self.give(left)

    @property
    def most(self) -> int:
        """The most triplets that can be had."""
        return self.small

    def dense(self) -> Tensor:
        """All of A, (m, n)."""
        m, n = self.shape
        if n <= m:
            return self.apply(torch.eye(n, dtype=self.dtype, device=self.device))
        return self.adjoint(torch.eye(m, dtype=self.dtype, device=self.device)).mH

    def wide(self) -> Source:
        """The same matrix in double precision."""
        raise NotImplementedError

    def empty(self) -> Tensor:
        """An empty tensor of the right kind."""
        return torch.empty(0, dtype=self.dtype, device=self.device)

    @property
    def small(self) -> int:
        """min(m, n)."""
        return min(self.shape)


class Dense(Source):
    """A numpy array or a tensor on any device; neither is copied.

    On the CPU, products go through numpy, whose BLAS is at least as fast as torch's for the few
    columns of a block.
    """

    structure = "dense"

    def __init__(self, A: Any) -> None:
        self._numpy = not isinstance(A, Tensor)
        given = A.detach() if isinstance(A, Tensor) else A
        self.matrix = checked(given if isinstance(given, Tensor) else _view(given))
        self.shape = (self.matrix.shape[0], self.matrix.shape[1])
        self.dtype, self.device = self.matrix.dtype, self.matrix.device
        self._array = self.matrix.resolve_conj().numpy() if self.device.type == "cpu" else None
        self.norm2 = squared_norm(self.matrix)

    def apply(self, X: Tensor) -> Tensor:
        if self._array is None:
            return self.matrix @ X
        # rows of blocks times Aᵀ: a tenth faster than A times columns
        rows = np.ascontiguousarray(_array(X).T)
        return torch.from_numpy((rows @ self._array.T).T)

    def adjoint(self, Y: Tensor) -> Tensor:
        if self._array is None:
            return self.matrix.mH @ Y
        rows = np.ascontiguousarray(_array(Y).conj().T)  # (Yᴴ A)ᴴ: no conjugated copy of A
        return torch.from_numpy((rows @ self._array).conj().T)

    def dense(self) -> Tensor:
        return self.matrix

    def wide(self) -> Source:
        return Dense(self.matrix.to(double(self.dtype)))

    def give(self, result: Tensor) -> Any:
        return result.resolve_conj().numpy() if self._numpy else result


class Sparse(Source):
    """A scipy sparse matrix or array of any format, read as compressed rows.

    Args:
        A: the matrix; explicit zeros and duplicates are allowed.
    """

    structure = "sparse"

    def __init__(self, A: Any) -> None:
        rows = A.tocsr()
        if not rows.has_canonical_format:
            rows = rows.copy()
            rows.sum_duplicates()
        data = checked(_view(rows.data.reshape(1, -1)), rows.shape).numpy()[0]
        self.matrix = scipy.sparse.csr_array((data, rows.indices, rows.indptr), shape=rows.shape)
        # rows of the adjoint in storage order make products with it twice as fast
        self.transposed = self.matrix.T.tocsr()
        if np.iscomplexobj(data):
            self.transposed = self.transposed.conj()
        self.shape = (rows.shape[0], rows.shape[1])
        self.dtype, self.device = torch.from_numpy(data[:0]).dtype, torch.device("cpu")
        self.norm2 = squared_norm(torch.from_numpy(data))

    def apply(self, X: Tensor) -> Tensor:
        return torch.from_numpy(self.matrix @ _array(X))

    def adjoint(self, Y: Tensor) -> Tensor:
        if Y.shape[1] > NARROW:  # adding rows of Y to rows of the result is the faster loop then
            return torch.from_numpy(np.conj(self.matrix.T @ np.conj(_array(Y))))
        return torch.from_numpy(self.transposed @ _array(Y))

    def dense(self) -> Tensor:
        return torch.from_numpy(self.matrix.toarray())

    def wide(self) -> Source:
        kind = torch.empty(0, dtype=double(self.dtype)).numpy().dtype
        return self if kind == self.matrix.dtype else Sparse(self.matrix.astype(kind))

    @property
    def nnz(self) -> int:
        return int(self.matrix.nnz)


class Operator(Source):
    """A scipy LinearOperator; its Frobenius norm is unknown."""

    structure = "operator"
    norm2 = None

    def __init__(self, A: LinearOperator) -> None:
        self.operator = A
        self.shape = (int(A.shape[0]), int(A.shape[1]))
        kind = np.dtype(A.dtype) if A.dtype is not None else np.dtype(float)
        self.dtype = checked(torch.from_numpy(_floating(np.empty((1, 1), kind))), self.shape).dtype
        self.device = torch.device("cpu")
        self._kind = torch.empty(0, dtype=self.dtype).numpy().dtype
        self._check_adjoint()

    def _check_adjoint(self) -> None:
        """⟨y, A x⟩ = ⟨Aᴴy, x⟩ on one random pair: two products against silent nonsense."""
        generator = torch.Generator().manual_seed(0)
        kind = torch.complex128 if self.dtype.is_complex else torch.float64
        x, y = (torch.randn(size, 1, dtype=kind, generator=generator) for size in self.shape[::-1])
        image, back = self.apply(x.to(self.dtype)), self.adjoint(y.to(self.dtype))
        image, back = image.to(kind), back.to(kind)
        largest = float(max(image.abs().max(), back.abs().max())) or 1.0
        image, back = image / largest, back / largest  # squares stay in the range of float64
        forth, other = complex((y.mH @ image).item()), complex((back.mH @ x).item())
        size = float(torch.linalg.vector_norm(image) * torch.linalg.vector_norm(y))
        if abs(forth - other) > 1e3 * torch.finfo(self.dtype).eps * max(size, abs(other)):
            raise ValueError(
                "rmatvec of the LinearOperator is not the adjoint of its matvec: "
                f"⟨y, A x⟩ = {forth * largest:.6g}, ⟨Aᴴy, x⟩ = {other * largest:.6g} "
                "for one random pair"
            )

    def apply(self, X: Tensor) -> Tensor:
        if X.shape[1] == 1:  # the way with the least overhead
            return self._product(self.operator.matvec, X[:, 0], "matvec or matmat")[:, None]
        return self._product(self.operator.matmat, X, "matvec or matmat")

    def adjoint(self, Y: Tensor) -> Tensor:
        if Y.shape[1] == 1:
            return self._product(self.operator.rmatvec, Y[:, 0], "rmatvec or rmatmat")[:, None]
        return self._product(self.operator.rmatmat, Y, "rmatvec or rmatmat")

    def _product(self, product: Any, X: Tensor, needed: str) -> Tensor:
        try:
            out = np.asarray(product(_array(X)))
        except (NotImplementedError, TypeError) as error:  # scipy calls a missing rmatvec, None
            raise ValueError(f"the LinearOperator must define {needed}: {error}") from error
        if not np.isfinite(out).all():
            raise ValueError(f"the LinearOperator's {needed} returned NaN or Inf")
        return torch.from_numpy(np.ascontiguousarray(out.astype(self._kind, copy=False)))


class Adjoint(Source):
    """Aᴴ, so that solvers may assume m ≥ n."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.shape = (source.shape[1], source.shape[0])
        self.dtype, self.device = source.dtype, source.device
        self.norm2, self.structure = source.norm2, source.structure
        self.noise = source.noise

    def apply(self, X: Tensor) -> Tensor:
        return self.source.adjoint(X)

    def adjoint(self, Y: Tensor) -> Tensor:
        return self.source.apply(Y)

    def dense(self) -> Tensor:
        return self.source.dense().mH

    def give(self, result: Tensor) -> Any:
        return self.source.give(result)


def double(dtype: torch.dtype) -> torch.dtype:
    """float64, or complex128 for complex types."""
    return torch.complex128 if dtype.is_complex else torch.float64


def tall(source: Source) -> Source:
    """The source, or its adjoint where that has more rows than columns."""
    if source.shape[0] >= source.shape[1]:
        return source
    return source.source if isinstance(source, Adjoint) else Adjoint(source)


NARROW = 4
"""Columns up to which products with a sparse adjoint gather; beyond, they scatter."""
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


def _floating(a: np.ndarray) -> np.ndarray:
    """Integers and booleans as float64, everything else as it is."""
    return a.astype(float) if a.dtype.kind in "biu" else a


def _view(a: Any) -> Tensor:
    """A numpy array as a tensor without a copy where torch can share its memory."""
    array = np.asarray(a)
    if array.dtype.kind not in "biufc":
        raise ValueError(f"expected a matrix of numbers, got entries of type {array.dtype}")
    array = _floating(array)
    if array.dtype.itemsize > (16 if array.dtype.kind == "c" else 8):
        raise ValueError(f"cannot decompose entries of type {array.dtype}: convert to float64")
    if min((*array.strides, 0)) < 0 or not array.dtype.isnative:
        return tensor(array)
    with warnings.catch_warnings():  # torch warns of arrays that are read-only; nobody writes here
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(array)


def _array(X: Tensor) -> np.ndarray:
    return X.resolve_conj().numpy()
