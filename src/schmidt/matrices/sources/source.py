"""What a matrix may be: anything that can be applied to a few columns, and its adjoint too."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import scipy.sparse
import torch
from scipy.sparse.linalg import LinearOperator
from torch import Tensor

from schmidt.matrices.sources.entries import array, checked, double, floating, squared_norm, view

NARROW = 4
"""Columns up to which products with a sparse adjoint gather; beyond, they scatter."""


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
        self.matrix = checked(given if isinstance(given, Tensor) else view(given))
        self.shape = (self.matrix.shape[0], self.matrix.shape[1])
        self.dtype, self.device = self.matrix.dtype, self.matrix.device
        self._entries = self.matrix.resolve_conj().numpy() if self.device.type == "cpu" else None
        self.norm2 = squared_norm(self.matrix)

    def apply(self, X: Tensor) -> Tensor:
        if self._entries is None:
            return self.matrix @ X
        # rows of blocks times Aᵀ: a tenth faster than A times columns
        rows = np.ascontiguousarray(array(X).T)
        return torch.from_numpy((rows @ self._entries.T).T)

    def adjoint(self, Y: Tensor) -> Tensor:
        if self._entries is None:
            return self.matrix.mH @ Y
        rows = np.ascontiguousarray(array(Y).conj().T)  # (Yᴴ A)ᴴ: no conjugated copy of A
        return torch.from_numpy((rows @ self._entries).conj().T)

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
        data = checked(view(rows.data.reshape(1, -1)), rows.shape).numpy()[0]
        self.matrix = scipy.sparse.csr_array((data, rows.indices, rows.indptr), shape=rows.shape)
        # rows of the adjoint in storage order make products with it twice as fast
        self.transposed = self.matrix.T.tocsr()
        if np.iscomplexobj(data):
            self.transposed = self.transposed.conj()
        self.shape = (rows.shape[0], rows.shape[1])
        self.dtype, self.device = torch.from_numpy(data[:0]).dtype, torch.device("cpu")
        self.norm2 = squared_norm(torch.from_numpy(data))

    def apply(self, X: Tensor) -> Tensor:
        return torch.from_numpy(self.matrix @ array(X))

    def adjoint(self, Y: Tensor) -> Tensor:
        if Y.shape[1] > NARROW:  # adding rows of Y to rows of the result is the faster loop then
            return torch.from_numpy(np.conj(self.matrix.T @ np.conj(array(Y))))
        return torch.from_numpy(self.transposed @ array(Y))

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
        self.dtype = checked(torch.from_numpy(floating(np.empty((1, 1), kind))), self.shape).dtype
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
            out = np.asarray(product(array(X)))
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


def tall(source: Source) -> Source:
    """The source, or its adjoint where that has more rows than columns."""
    if source.shape[0] >= source.shape[1]:
        return source
    return source.source if isinstance(source, Adjoint) else Adjoint(source)


COMFORTABLE = 1e4


class InUnits(Source):
    """source/unit, for a power of two, so that no digit changes."""

    def __init__(self, source: Source, unit: float) -> None:
        self.source, self.unit = source, unit
        self.shape, self.dtype, self.device = source.shape, source.dtype, source.device
        self.structure, self.probes = source.structure, source.probes
        self.norm2 = None if source.norm2 is None else source.norm2 / unit / unit
        self.noise = source.noise / unit

    def apply(self, X: Tensor) -> Tensor:
        return self.source.apply(X) / self.unit

    def adjoint(self, Y: Tensor) -> Tensor:
        return self.source.adjoint(Y) / self.unit

    def dense(self) -> Tensor:
        return self.source.dense() / self.unit

    def give(self, result: Tensor) -> Any:
        return self.source.give(result)

    def give_left(self, left: Any, values: Tensor, right: Tensor) -> Any:
        return self.source.give_left(left, values * self.unit, right)


def in_units(source: Source) -> Source:
    """The source, or source/unit where its norm is far from 1.

    Sources with a solver of their own choose their units themselves. Of an operator, one random
    product says how large it is: ‖A x‖² is ‖A‖_F² in the mean.
    """
    if hasattr(source, "solve"):
        return source
    unit = unit_of(_random_image(source) if source.norm2 is None else math.sqrt(source.norm2))
    return source if unit == 1 else InUnits(source, unit)


def _random_image(source: Source) -> float:
    """‖A x‖ for a Gaussian x."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(source.shape[1], 1, dtype=torch.float64, generator=generator)
    return norm_of(source.apply(x.to(source.empty())))


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
