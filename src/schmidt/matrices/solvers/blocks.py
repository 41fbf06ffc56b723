"""Matrices larger than memory, as blocks of rows: read once, or again and again.

Blocks that can be had again (a list, or a function that returns an iterator) are a QR decomposition
of everything up to ``WIDE`` columns, which is exact and takes two passes; beyond, one pass per step
of a Krylov method. Every pass is compared with the first.

Blocks of an iterator are read once, by an incremental SVD (``incremental``) that remembers its left
rotations.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from schmidt.matrices.solvers.incremental import Incremental
from schmidt.matrices.solvers.triplets import Triplets, polar
from schmidt.matrices.sources.centred import Centred, centred, column_means, slices, wanted
from schmidt.matrices.sources.entries import double, unit_of
from schmidt.matrices.sources.source import BLOCKS, Dense, Source, Sparse

FAR = 1e60
"""Larger than all rows so far: a block that sets the units anew."""
WIDE = 2048
"""Columns up to which the triangular factor of all rows is kept, (n, n)."""
KEPT = 64
"""Triplets that an incremental SVD keeps beyond those that are asked for, at least."""


class Rows(Source):
    """What all matrices of row blocks have in common.

    Entries are in units of the first block that is not zero, or of a later one that is far larger.
    """

    structure = BLOCKS
    probes = False
    solver = "blocks"

    def __init__(self, first: Any) -> None:
        block = _block(first)
        self.dtype, self.device = block.dtype, block.device
        self._first = block
        self._columns, self._rows = block.shape[1], 0
        self._base, self._norm2, self._updates = 0.0, 0.0, 0

    @property
    def eps(self) -> float:
        return self._first.eps

    def apply(self, X: Tensor) -> Tensor:
        raise NotImplementedError

    def adjoint(self, Y: Tensor) -> Tensor:
        raise NotImplementedError

    def give(self, result: Tensor) -> Any:
        return self._first.give(result)

    def _settle(self) -> None:
        """After all rows: their shape and unit."""
        self.shape = (self._rows, self._columns)
        self._ratio = unit_of(math.sqrt(self._norm2))
        self.unit = self._ratio * (self._base or 1.0)
        self.norm2 = self._norm2 / self._ratio / self._ratio

    def _noise(self) -> float:
        """Rounding of so many decompositions."""
        assert self.norm2 is not None
        eps = float(torch.finfo(torch.float64).eps)
        return 4 * eps * math.sqrt(self.small * self.norm2) * self._updates

    def _checked(self, number: int, given: Any) -> Dense | Sparse | Centred | None:
        """A block, or None where it has no rows."""
        columns = given.shape[1] if np.ndim(given) == 2 or scipy.sparse.issparse(given) else None
        if columns == self._columns and given.shape[0] == 0:
            return None
        block = _block(given)
        if block.shape[1] != self._columns:
            raise ValueError(
                f"block {number} has {block.shape[1]} columns, the first has {self._columns}"
            )
        if block.dtype != self.dtype:
            raise ValueError(f"block {number} is {block.dtype}, the first is {self.dtype}")
        return block

    def _take(self, number: int, given: Any) -> Dense | Sparse | Centred | None:
        """A block in the units of all rows, counted; None where it has no rows."""
        block = self._checked(number, given)
        if block is None:
            return None
        self._rows += block.shape[0]
        size = math.sqrt(block.norm2 or 0.0)
        if size and not self._base:
            self._base = 2.0 ** (math.frexp(size)[1] - 1) * block.unit
        elif size and size * (block.unit / self._base) > FAR:
            base = 2.0 ** (math.frexp(size)[1] - 1) * block.unit
            self._norm2 = self._norm2 * (self._base / base) ** 2
            self._rescale(self._base / base)
            self._base = base
        factor = (self._base or 1.0) / block.unit
        part = block if factor == 1 else block.scaled(factor)
        self._norm2 += part.norm2 or 0.0
        self._updates += 1
        return part

    def _rescale(self, factor: float) -> None:
        """What is known of the rows so far, in other units."""


class Twice(Rows):
    """Blocks that can be read again, and are compared with what they were when they are.

    Up to ``WIDE`` columns the first pass is a QR decomposition of everything, and exact; beyond,
    the first pass measures ‖A‖_F, and products with A are passes over the blocks.

    Args:
        blocks: returns a new iterator over blocks (r_i, n).
        rank: how many triplets are wanted.
    """

    def __init__(self, blocks: Callable[[], Iterable[Any]], rank: int, seed: int) -> None:
        self.blocks = blocks
        super().__init__(_first(blocks()))
        n = self._columns
        self._exact = n <= WIDE
        self.solver = "blocks" if self._exact else ""
        self.probes = not self._exact
        # every block adds its rounding, so sums are in double precision
        self._R = torch.empty(0, n, dtype=double(self.dtype), device=self.device)
        self._prints: list[str] = []
        for number, given in enumerate(blocks()):
            self._prints.append(fingerprint(given))
            block = self._take(number, given)
            if block is not None and self._exact:
                self._R = torch.linalg.qr(
                    torch.cat([self._R, block.dense().to(self._R)]), mode="r"
                ).R
        self._settle()
        if self._exact:
            _, values, vh = torch.linalg.svd(self._R / self._ratio, full_matrices=False)
            self._values, self._right = values, vh.mH.resolve_conj()

    def _rescale(self, factor: float) -> None:
        self._R = self._R * factor

    @property
    def most(self) -> int:
        return self._right.shape[1] if self._exact else self.small

    def apply(self, X: Tensor) -> Tensor:
        return torch.cat([self._image(block, X) for block in self._again()])

    def adjoint(self, Y: Tensor) -> Tensor:
        total = Y.new_zeros(self._columns, Y.shape[1], dtype=double(self.dtype))
        start = 0
        for block in self._again():
            rows = Y[start : start + block.shape[0]]
            total += block.adjoint(rows.contiguous()) * (block.unit / self.unit)
            start += block.shape[0]
        return total.to(Y)

    def normal(self, X: Tensor) -> tuple[Tensor, Tensor]:
        """A X and AᴴA X in one pass."""
        total = X.new_zeros(self._columns, X.shape[1], dtype=double(self.dtype))
        images = []
        for block in self._again():
            images.append(self._image(block, X))
            total += block.adjoint(images[-1]) * (block.unit / self.unit)
        return torch.cat(images), total.to(X)

    def _image(self, block: Source, X: Tensor) -> Tensor:
        return block.apply(X) * (block.unit / self.unit)

    def solve(self, rank: int, *, accuracy: float, seed: int) -> Triplets:
        """The second pass: W = A V, AᴴW, and a Rayleigh–Ritz step in the span of V."""
        V = self._right[:, :rank]
        images, Z = [], torch.zeros_like(V)
        for block in self._again():
            wide = block.wide()
            images.append(self._image(wide, V))
            Z += wide.adjoint(images[-1]) * (block.unit / self.unit)
        left, s, turn = polar(torch.cat(images), self._values[: V.shape[1]])
        V, Z = V @ turn, Z @ turn
        known = s > 1e3 * torch.finfo(s.dtype).eps * s[0]
        safe = torch.where(known, s, torch.ones_like(s))
        outside = torch.linalg.vector_norm(Z / safe - V * s, dim=0)
        residuals = torch.where(known, outside, s)  # of vectors that are rounding
        settings = {"solver": "blocks", "passes": 2, "exact": True}
        noise = self._noise()
        spectrum = self._values
        return Triplets(left, s, V, residuals, spectrum, 0, settings, noise)

    def _again(self) -> Iterator[Source]:
        seen = 0
        for number, given in enumerate(self.blocks()):
            if number >= len(self._prints) or fingerprint(given) != self._prints[number]:
                raise ValueError(
                    f"block {number} is not what it was in the first pass over the blocks; a "
                    "function must return a new iterator over the same blocks every time, in the "
                    "same order: give an iterator instead, which is read once"
                )
            seen += 1
            block = self._checked(number, given)
            if block is not None:
                yield block
        if seen != len(self._prints):
            raise ValueError(
                f"the second pass over the blocks gave {seen} of them, the first "
                f"{len(self._prints)}; a function must return a new iterator over the same blocks "
                "every time: give an iterator instead, which is read once"
            )


class Turned(Source):
    """A matrix (m, n) with few rows in a file, as row blocks of Aᴴ, centred and scaled."""

    structure = BLOCKS
    solver = "blocks"
    probes = False

    def __init__(self, A: np.ndarray, center: Any, scale: Any, rank: int, seed: int) -> None:
        self.array, self.center, self.scale = A, center, scale
        self.rows = Twice(self._columns, rank, seed)
        self.shape, self.device = (A.shape[0], A.shape[1]), torch.device("cpu")
        self.dtype, self.norm2, self.unit = self.rows.dtype, self.rows.norm2, self.rows.unit
        eps, m = float(torch.finfo(torch.float64).eps), A.shape[0]
        self.noise = 4 * eps * math.sqrt(m * self._squared_means) / self.unit

    def _columns(self) -> Iterator[np.ndarray]:
        """Columns of A as rows: all of a column is here, and with it its mean."""
        self._squared_means = 0.0
        for part in slices((self.array.shape[1], self.array.shape[0])):
            source: Source = Dense(np.ascontiguousarray(self.array[:, part]))
            if wanted(self.center, self.scale):
                given = (a if np.ndim(a) == 0 else a[part] for a in (self.center, self.scale))
                means = column_means(source) * source.unit
                source = centred(source, *given)
                self._squared_means += float(means.abs().square().sum())
            yield (source.dense() * source.unit).mH.resolve_conj().numpy()

    @property
    def eps(self) -> float:
        return self.rows.eps

    @property
    def most(self) -> int:
        return self.rows.most

    def apply(self, X: Tensor) -> Tensor:
        raise NotImplementedError

    def adjoint(self, Y: Tensor) -> Tensor:
        raise NotImplementedError

    def give(self, result: Tensor) -> Any:
        return self.rows.give(result)

    def solve(self, rank: int, *, accuracy: float, seed: int) -> Triplets:
        """Those of Aᴴ, turned."""
        return self.rows.solve(rank, accuracy=accuracy, seed=seed).adjoint


class Once(Rows):
    """Blocks that come once. Values are a little too small, by what was dropped on the way."""

    def __init__(self, blocks: Iterator[Any], rank: int, seed: int) -> None:
        empty = 0
        for first in blocks:
            if len(np.shape(first)) != 2 or first.shape[0]:
                break
            empty += 1
        else:
            raise ValueError("there are no blocks with rows" if empty else "there are no blocks")
        super().__init__(first)
        self._state = Incremental(max(2 * rank, rank + KEPT), seed=seed)
        self._turns: list[tuple[int, Tensor]] = []
        for number, given in enumerate(_chain(first, blocks), empty):
            block = self._take(number, given)
            if block is None:
                continue
            old = 0 if self._state.values is None else len(self._state.values)
            self._turns.append((old, self._state.update(block)))
        self._settle()

    def _rescale(self, factor: float) -> None:
        assert self._state.values is not None
        self._state.values = self._state.values * factor

    @property
    def most(self) -> int:
        return 0 if self._state.values is None else len(self._state.values)

    def solve(self, rank: int, *, accuracy: float, seed: int) -> Triplets:
        """Left vectors from the rotations, last block first."""
        assert self._state.values is not None
        assert self._state.right is not None
        s, V = self._state.values / self._ratio, self._state.right
        turn, parts = torch.eye(len(s), dtype=V.dtype, device=self.device), []
        for old, rotation in reversed(self._turns):
            together = rotation @ turn
            turn = together[:old]
            parts.append(together[old:])
        left = torch.cat(parts[::-1])
        # Aᴴu = s v; of A v − s u it is known that it is no larger than all that was dropped
        assert self.norm2 is not None
        noise = self._noise()
        rest = max(self.norm2 - float(s.square().sum()), 0.0)
        dropped = (rest + 2 * self.norm2**0.5 * noise) ** 0.5
        residuals = torch.full_like(s, dropped)
        settings = {"solver": "blocks", "passes": 1, "kept": len(s)}
        return Triplets(left, s, V, residuals, None, 0, settings, noise, None, dropped)


def row_blocks(A: Any, rank: int, seed: int) -> Rows:
    """Blocks of rows as a source: a list, a function that returns an iterator, or an iterator."""
    if isinstance(A, Iterator):
        return Once(A, rank, seed)
    if callable(A):
        return Twice(A, rank, seed)
    return Twice(lambda: iter(A), rank, seed)


def fingerprint(given: Any) -> str:
    """A digest of a block: its shape, its type and every byte of it, in order."""
    digest = hashlib.blake2b(digest_size=16)
    if isinstance(given, Centred):
        given = given.source.entries()
    if scipy.sparse.issparse(given):
        rows = given.tocsr()
        parts = [rows.indptr, rows.indices, rows.data]
    else:
        dense = given.detach().cpu().resolve_conj().numpy() if isinstance(given, Tensor) else given
        parts = [dense]
    digest.update(repr((given.shape, str(given.dtype))).encode())
    for part in parts:
        digest.update(np.ascontiguousarray(part).view(np.uint8).data)
    return digest.hexdigest()


def _block(given: Any) -> Dense | Sparse | Centred:
    if scipy.sparse.issparse(given):
        return Sparse(given)
    if isinstance(given, Centred):
        return given
    if isinstance(given, (np.ndarray, Tensor)):
        return Dense(given)
    raise ValueError(
        f"blocks must be arrays, tensors or sparse matrices, got {type(given).__name__}"
    )


def _first(blocks: Iterable[Any]) -> Any:
    """The first block with rows."""
    empty = 0
    for block in blocks:
        if len(np.shape(block)) != 2 or block.shape[0]:
            return block
        empty += 1
    raise ValueError("there are no blocks with rows" if empty else "there are no blocks")


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest
