"""What a matrix may be: anything that can be applied to a few columns, and its adjoint too."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from schmidt.arrays import refuse_masked
from schmidt.matrices.sources.entries import (
    array,
    checked,
    comfortable,
    double,
    narrowed,
    norm_of,
    plain,
    sound,
    squared_norm,
    unit_of,
    view,
)

LONG = 4096
"""Terms of a sum in single precision; longer ones are sums of sums in double precision."""
NARROW = 4
"""Columns up to which products with a sparse adjoint gather; beyond, they scatter."""


@dataclass(frozen=True)
class Structure:
    """What a matrix is like, as far as the choice of solvers and proofs goes.

    Attributes:
        name: for messages.
        at_hand: all entries are an array in memory, so that residuals can be formed.
        batched: a product with many columns costs little more than one with a single column.
        images: A X is an array that can be held.
    """

    name: str
    at_hand: bool = False
    batched: bool = False
    images: bool = True

    def __str__(self) -> str:
        return self.name


DENSE = Structure("a dense matrix", at_hand=True, batched=True)
SPARSE = Structure("a sparse matrix")
OPERATOR = Structure("an operator")
BLOCKS = Structure("a matrix of row blocks", batched=True)
MAPPED = Structure("a matrix in a file", batched=True)
DASK = Structure("a dask array", images=False)


class Source(ABC):
    """A matrix A (m, n) as its products with blocks of columns.

    Attributes:
        shape: (m, n).
        dtype: of torch; float32, float64, complex64 or complex128. Products have it.
        device: where blocks of columns live.
        norm2: ‖A‖_F², or None where only products are known.
        structure: what a solver and a proof are chosen by.
        solver: the name of the solver that the source brings along as :meth:`solve`, or "".
        probes: whether a certificate may ask for more products.
        unit: what values are to be multiplied by: the user's matrix is unit·A.
        noise: what rounding does to A itself, in the Frobenius norm, beyond one rounding of every
            product.
    """

    probes = True
    solver = ""
    unit = 1.0
    noise = 0.0

    shape: tuple[int, int]
    dtype: torch.dtype
    device: torch.device
    norm2: float | None
    structure: Structure

    @abstractmethod
    def apply(self, X: Tensor) -> Tensor:
        """A X for X (n, b)."""

    @abstractmethod
    def adjoint(self, Y: Tensor) -> Tensor:
        """Aᴴ Y for Y (m, b)."""

    def normal(self, X: Tensor) -> tuple[Tensor | None, Tensor]:
        """A X, or None where nobody can hold it, and AᴴA X for X (n, b); in one pass if it can."""
        image = self.apply(X)
        return image, self.adjoint(image)

    def solve(self, rank: int, *, accuracy: float, seed: int) -> Any:
        """The leading triplets, where ``solver`` names a solver of its own."""
        raise NotImplementedError

    def triplets(self, right: Tensor, settings: Any) -> Any:
        """Rayleigh–Ritz on span(right), where images cannot be held."""
        raise NotImplementedError

    def largest(self, rank: int) -> int | None:
        """The largest Krylov space that may be built, or None."""
        return None

    def give(self, result: Tensor) -> Any:
        """A result as the kind of array that the user works with; numpy unless said otherwise."""
        return result.resolve_conj().numpy()

    def give_left(self, left: Any, values: Tensor, right: Tensor) -> Any:
        """The left side as the user's kind of array."""
        return self.give(left)

    @property
    def eps(self) -> float:
        """Rounding of the results."""
        return float(torch.finfo(self.dtype).eps)

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

    def entries(self) -> Any:
        """A compressed sparse matrix that is A, or None."""
        return None

    def wide(self) -> Source:
        """The same matrix in double precision."""
        raise NotImplementedError

    def scaled(self, factor: float) -> Source:
        """The same matrix in units that are ``factor`` times as large."""
        raise NotImplementedError

    def empty(self) -> Tensor:
        """An empty tensor of the right kind."""
        return torch.empty(0, dtype=self.dtype, device=self.device)

    @property
    def small(self) -> int:
        """min(m, n)."""
        return min(self.shape)


class Wrapped(Source):
    """Another source in other clothes: whatever is not said anew is that source's.

    Only its solver is not: that one answers for the matrix within.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        for name in Source.__annotations__.keys() | {"probes", "unit", "noise"}:
            setattr(self, name, getattr(source, name))

    @abstractmethod
    def around(self, source: Source) -> Source:
        """The same clothes for another source."""

    def wide(self) -> Source:
        return self.around(self.source.wide())

    def scaled(self, factor: float) -> Source:
        return self.around(self.source.scaled(factor))

    @property
    def eps(self) -> float:
        return self.source.eps

    @property
    def most(self) -> int:
        return self.source.most

    def largest(self, rank: int) -> int | None:
        return self.source.largest(rank)

    def give(self, result: Tensor) -> Any:
        return self.source.give(result)

    def give_left(self, left: Any, values: Tensor, right: Tensor) -> Any:
        return self.source.give_left(left, values, right)


class Dense(Source):
    """A numpy array or a tensor on any device; neither is copied.

    On the CPU, products go through numpy, whose BLAS is at least as fast as torch's for the few
    columns of a block.
    """

    structure = DENSE

    def __init__(self, A: Any) -> None:
        self._numpy = not isinstance(A, Tensor)
        self.norm2: float
        given = plain(A) if isinstance(A, Tensor) else A
        self.matrix, self.unit = comfortable(
            checked(given if isinstance(given, Tensor) else view(given))
        )
        self.shape = (self.matrix.shape[0], self.matrix.shape[1])
        self.dtype, self.device = self.matrix.dtype, self.matrix.device
        self._given = self.dtype
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
        if self.shape[0] <= LONG or self.matrix.dtype in (torch.float64, torch.complex128):
            return torch.from_numpy((rows @ self._entries).conj().T)
        total = np.zeros((len(rows), self.shape[1]), np.result_type(rows, np.float64))
        for start in range(0, self.shape[0], LONG):
            part = slice(start, start + LONG)
            total += rows[:, part] @ self._entries[part]
        return torch.from_numpy(total.astype(rows.dtype).conj().T)

    @property
    def eps(self) -> float:
        return float(torch.finfo(self._given).eps)

    def dense(self) -> Tensor:
        return self.matrix

    def wide(self) -> Dense:
        return self._with(self.matrix.to(double(self.dtype)))

    def scaled(self, factor: float) -> Dense:
        """The same matrix in units that are ``factor`` times as large."""
        other = self._with(self.matrix / factor)
        other.unit = self.unit * factor
        other.norm2 = self.norm2 / factor / factor
        return other

    def _with(self, matrix: Tensor) -> Dense:
        other = copy.copy(self)
        other.matrix, other.dtype = matrix, matrix.dtype
        other._entries = matrix.resolve_conj().numpy() if self.device.type == "cpu" else None
        return other

    def give(self, result: Tensor) -> Any:
        result = narrowed(result, self._given)
        return result.resolve_conj().numpy() if self._numpy else result


class Sparse(Source):
    """A scipy sparse matrix or array of any format, read as compressed rows.

    Args:
        A: the matrix; explicit zeros and duplicates are allowed.
    """

    structure = SPARSE

    def __init__(self, A: Any) -> None:
        rows = sound(A).tocsr()
        refuse_masked(rows.data)
        if not rows.has_canonical_format:
            rows = rows.copy()
            rows.sum_duplicates()
        given = checked(view(rows.data.reshape(1, -1)), rows.shape)
        self._given = given.dtype
        self.norm2: float
        # products are sums of any length: they are made in double precision, whatever is given
        data, self.unit = comfortable(given.to(double(given.dtype)))
        entries = data.numpy()[0]
        self.matrix = scipy.sparse.csr_array((entries, rows.indices, rows.indptr), shape=rows.shape)
        # rows of the adjoint in storage order make products with it twice as fast
        self.transposed = self.matrix.T.tocsr()
        if np.iscomplexobj(entries):
            self.transposed = self.transposed.conj()
        self.shape = (rows.shape[0], rows.shape[1])
        self.dtype, self.device = data.dtype, torch.device("cpu")
        self.norm2 = squared_norm(data)

    @property
    def eps(self) -> float:
        return float(torch.finfo(self._given).eps)

    def apply(self, X: Tensor) -> Tensor:
        return torch.from_numpy(self.matrix @ array(X))

    def adjoint(self, Y: Tensor) -> Tensor:
        if Y.shape[1] > NARROW:  # adding rows of Y to rows of the result is the faster loop then
            return torch.from_numpy(np.conj(self.matrix.T @ np.conj(array(Y))))
        return torch.from_numpy(self.transposed @ array(Y))

    def dense(self) -> Tensor:
        return torch.from_numpy(self.matrix.toarray())

    def entries(self) -> Any:
        return self.matrix

    def wide(self) -> Sparse:
        """The same, whose results are in double precision too."""
        other = copy.copy(self)
        other._given = self.dtype
        return other

    def scaled(self, factor: float) -> Sparse:
        """The same matrix in units that are ``factor`` times as large."""
        other = copy.copy(self)
        other.matrix, other.transposed = self.matrix / factor, self.transposed / factor
        other.unit = self.unit * factor
        other.norm2 = self.norm2 / factor / factor
        return other

    def give(self, result: Tensor) -> Any:
        return narrowed(result, self._given).resolve_conj().numpy()

    @property
    def nnz(self) -> int:
        return int(self.matrix.nnz)


class Adjoint(Wrapped):
    """Aᴴ, so that solvers may assume m ≥ n."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.shape = (source.shape[1], source.shape[0])

    def around(self, source: Source) -> Adjoint:
        return Adjoint(source)

    def apply(self, X: Tensor) -> Tensor:
        return self.source.adjoint(X)

    def adjoint(self, Y: Tensor) -> Tensor:
        return self.source.apply(Y)

    def dense(self) -> Tensor:
        return self.source.dense().mH

    def entries(self) -> Any:
        inner = self.source.entries()
        return None if inner is None else inner.conj().T.tocsr()


def tall(source: Source) -> Source:
    """The source, or its adjoint where that has more rows; what solves itself stays as it is."""
    if source.shape[0] >= source.shape[1] or source.solver:
        return source
    return source.source if isinstance(source, Adjoint) else Adjoint(source)


class InUnits(Wrapped):
    """source/factor, for a power of two, so that no digit changes."""

    def __init__(self, source: Source, factor: float) -> None:
        super().__init__(source)
        self.factor, self.unit = factor, source.unit * factor
        self.norm2 = None if source.norm2 is None else source.norm2 / factor / factor
        self.noise = source.noise / factor

    def around(self, source: Source) -> InUnits:
        return InUnits(source, self.factor)

    def scaled(self, factor: float) -> InUnits:
        return InUnits(self.source, self.factor * factor)

    def apply(self, X: Tensor) -> Tensor:
        return self.source.apply(X) / self.factor

    def adjoint(self, Y: Tensor) -> Tensor:
        return self.source.adjoint(Y) / self.factor

    def dense(self) -> Tensor:
        return self.source.dense() / self.factor

    def entries(self) -> Any:
        inner = self.source.entries()
        return None if inner is None else inner / self.factor

    def give_left(self, left: Any, values: Tensor, right: Tensor) -> Any:
        return self.source.give_left(left, values * self.factor, right)


def in_units(source: Source) -> Source:
    """The source, or source/unit where its norm is far from 1.

    Sources with a solver of their own choose their units themselves. Of an operator, one random
    product says how large it is: ‖A x‖² is ‖A‖_F² in the mean.
    """
    if source.solver:
        return source
    unit = unit_of(_random_image(source) if source.norm2 is None else math.sqrt(source.norm2))
    return source if unit == 1 else InUnits(source, unit)


def _random_image(source: Source) -> float:
    """‖A x‖ for a Gaussian x."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(source.shape[1], 1, dtype=torch.float64, generator=generator)
    return norm_of(source.apply(x.to(source.empty())))
