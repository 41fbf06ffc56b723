"""Matrices larger than memory, as blocks of rows: read once, or twice.

Twice where blocks can be had again (a list, or a function that returns an iterator): the first pass
finds the right singular vectors, the second the left ones and the error. Up to ``WIDE`` columns the
first pass is a QR decomposition of everything, and exact; beyond, an :class:`Incremental` SVD.
Once for an iterator: an incremental SVD that remembers its left rotations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from schmidt.matrices.solvers.choice import solve
from schmidt.matrices.solvers.triplets import Triplets, lapack
from schmidt.matrices.sources.entries import double, squared_norm
from schmidt.matrices.sources.source import Dense, Source, Sparse, unit_of


class Incremental:
    """Singular values and right vectors of all rows so far, in float64, at most ``size`` of them.

    Args:
        size: l, the number that is kept.
        accuracy: of batches that are not dense.
        seed: of those.
    """

    def __init__(self, size: int, *, accuracy: float = 1e-10, seed: int = 0) -> None:
        self.size, self.accuracy, self.seed = size, accuracy, seed
        self.updates = 0
        self.values: Tensor | None = None
        self.right: Tensor | None = None

    def update(self, batch: Source, extra: Tensor | None = None) -> Tensor:
        """Take in a batch (r, n), and rows ``extra`` (e, n) that stand between it and the old ones.

        Returns:
            The rotation (l_old + e + r, l_new): the left vectors of the stack, in float64.
        """
        batch, rows = batch.wide(), []
        if self.values is not None:
            assert self.right is not None
            rows.append(self.values[:, None] * self.right.mH)
        if extra is not None:
            rows.append(extra.to(batch.dtype))
        if isinstance(batch, Dense):
            stack: Source = Dense(torch.cat([*rows, batch.matrix]).resolve_conj())
        elif rows:
            stack = Stacked(torch.cat(rows).resolve_conj(), batch)
        else:
            stack = batch
        wanted = min(self.size, stack.small)
        found = self._leading(stack, wanted).truncate(wanted)
        self.values, self.right = found.values, found.right.resolve_conj()
        self.updates += 1
        return found.left

    def _leading(self, stack: Source, wanted: int) -> Triplets:
        if isinstance(stack, Dense):
            m, n = stack.shape
            if n > 2 * m:
                return lapack(Dense(stack.matrix.mH.resolve_conj()), wanted).adjoint
            return lapack(stack, wanted)
        return solve(stack, wanted, accuracy=self.accuracy, seed=self.seed)


class Stacked(Source):
    """[top; bottom] with few dense rows on top."""

    structure = "sparse"

    def __init__(self, top: Tensor, bottom: Source) -> None:
        self.top, self.bottom = top, bottom
        self.shape = (len(top) + bottom.shape[0], bottom.shape[1])
        self.dtype, self.device = bottom.dtype, bottom.device
        self.norm2 = None

    def apply(self, X: Tensor) -> Tensor:
        return torch.cat([self.top @ X, self.bottom.apply(X)])

    def adjoint(self, Y: Tensor) -> Tensor:
        head, tail = Y[: len(self.top)], Y[len(self.top) :]
        return self.top.mH @ head + self.bottom.adjoint(tail.contiguous())

    def give(self, result: Tensor) -> Any:
        return self.bottom.give(result)


WIDE = 2048
"""Columns up to which the triangular factor of all rows is kept, (n, n)."""
KEPT = 64
"""Triplets that an incremental SVD keeps beyond those that are asked for, at least."""


class Rows(Source):
    """What all matrices of row blocks have in common: one triplet solver, no further products."""

    structure = "blocks"
    probes = False

    def __init__(self, first: Any) -> None:
        block = _block(first)
        self.dtype, self.device = block.dtype, block.device
        self._numpy = not isinstance(first, Tensor)
        self._columns = block.shape[1]
        self._rows, self.norm2 = 0, 0.0

    def apply(self, X: Tensor) -> Tensor:
        raise NotImplementedError

    def adjoint(self, Y: Tensor) -> Tensor:
        raise NotImplementedError

    def give(self, result: Tensor) -> Any:
        return result.numpy() if self._numpy else result

    def _settle(self, updates: int) -> None:
        """After all rows: their shape, their unit, and the rounding of so many decompositions."""
        assert self.norm2 is not None
        self.shape = (self._rows, self._columns)
        self.unit = unit_of(math.sqrt(self.norm2))
        self.norm2 = self.norm2 / self.unit / self.unit
        eps = float(torch.finfo(torch.float64).eps)
        self.noise = 4 * eps * math.sqrt(self.small * self.norm2) * updates

    def _read(self, blocks: Iterable[Any]) -> Iterator[Source]:
        """Checked blocks; counts rows and energy on the way."""
        for number, given in enumerate(blocks):
            block = _block(given)
            if block.shape[1] != self._columns:
                raise ValueError(
                    f"block {number} has {block.shape[1]} columns, the first has {self._columns}"
                )
            if block.dtype != self.dtype:
                raise ValueError(f"block {number} is {block.dtype}, the first is {self.dtype}")
            assert block.norm2 is not None
            self.norm2 = (self.norm2 or 0.0) + block.norm2
            self._rows += block.shape[0]
            yield block


class Twice(Rows):
    """Blocks that can be read again.

    Args:
        blocks: returns a new iterator over blocks (r_i, n).
        rank: how many triplets are wanted; more can be had up to ``WIDE`` columns.
    """

    def __init__(self, blocks: Callable[[], Iterable[Any]], rank: int, seed: int) -> None:
        self.blocks, self.rank = blocks, rank
        super().__init__(_first(blocks()))
        n = self._columns
        self._exact = n <= WIDE
        # every block adds its rounding, so both are in double precision
        kind = double(self.dtype)
        triangle = torch.empty(0, n, dtype=kind, device=self.device)
        self._state = Incremental(max(2 * rank, rank + KEPT), seed=seed)
        updates = 0
        for block in self._read(blocks()):
            if self._exact:
                triangle = torch.linalg.qr(torch.cat([triangle, block.dense().to(kind)])).R
            else:
                self._state.update(block)
            updates += 1
        self._settle(updates)
        if self._exact:
            _, values, vh = torch.linalg.svd(triangle, full_matrices=False)
            right = vh.mH.resolve_conj()
        else:
            assert self._state.values is not None
            assert self._state.right is not None
            values, right = self._state.values, self._state.right
        self._values = (values / self.unit).to(self.empty().real.dtype)
        self._right = right.to(self.dtype)

    @property
    def most(self) -> int:
        return self._right.shape[1]

    def solve(self, rank: int, *, accuracy: float, seed: int) -> Triplets:
        """The second pass: W = A V, AᴴW, and a Rayleigh–Ritz step in the span of V."""
        V = self._right[:, : rank if self._exact else None]
        left, Z = [], torch.zeros_like(V, dtype=double(self.dtype))
        for block in self._again():
            image = block.apply(V) / self.unit
            left.append(image)
            Z += block.adjoint(image) / self.unit
        Q, R = torch.linalg.qr(torch.cat(left))
        inner, s, rotation = torch.linalg.svd(R)
        turn = rotation.mH.resolve_conj()
        known = s > 1e3 * torch.finfo(s.dtype).eps * s[0]
        safe = torch.where(known, s, torch.ones_like(s))
        outside = torch.linalg.vector_norm((Z.to(V) @ turn) / safe - (V @ turn) * s, dim=0)
        residuals = torch.where(known, outside, s)  # of vectors that are rounding
        settings = {"solver": "blocks", "passes": 2, "exact": self._exact}
        spectrum = self._values if self._exact else None
        return Triplets(Q @ inner, s, V @ turn, residuals, spectrum, 0, settings)

    def _again(self) -> Iterator[Source]:
        seen = 0
        for given in self.blocks():
            block = _block(given)
            seen += block.shape[0]
            yield block
        if seen != self.shape[0]:
            raise ValueError(
                f"the second pass over the blocks gave {seen} rows, the first {self.shape[0]}; "
                "a function must return a new iterator over the same blocks every time"
            )


class Once(Rows):
    """Blocks that come once. Values are a little too small, by what was dropped on the way."""

    def __init__(self, blocks: Iterator[Any], rank: int, seed: int) -> None:
        first = next(blocks, None)
        if first is None:
            raise ValueError("there are no blocks")
        super().__init__(first)
        self._state = Incremental(max(2 * rank, rank + KEPT), seed=seed)
        self._turns: list[tuple[int, Tensor]] = []
        for block in self._read(_chain(first, blocks)):
            old = 0 if self._state.values is None else len(self._state.values)
            self._turns.append((old, self._state.update(block)))
        self._settle(self._state.updates)

    @property
    def most(self) -> int:
        return 0 if self._state.values is None else len(self._state.values)

    def solve(self, rank: int, *, accuracy: float, seed: int) -> Triplets:
        """Left vectors from the rotations, last block first."""
        assert self._state.values is not None
        assert self._state.right is not None
        s, V = self._state.values / self.unit, self._state.right
        turn, parts = torch.eye(len(s), dtype=V.dtype, device=self.device), []
        for old, rotation in reversed(self._turns):
            together = rotation @ turn
            turn = together[:old]
            parts.append(together[old:])
        left = torch.cat(parts[::-1]).to(self.dtype)
        # Aᴴu = s v; of A v − s u it is known that it is no larger than all that was dropped
        assert self.norm2 is not None
        rest = max(self.norm2 - float(s.square().sum()), 0.0)
        dropped = (rest + 2 * self.norm2**0.5 * self.noise) ** 0.5
        s = s.to(self.empty().real.dtype)
        residuals = torch.full_like(s, dropped)
        settings = {"solver": "blocks", "passes": 1, "kept": len(s)}
        return Triplets(left, s, V.to(self.dtype), residuals, None, 0, settings)


def row_blocks(A: Any, rank: int, seed: int) -> Rows:
    """Blocks of rows as a source: a list, a function that returns an iterator, or an iterator."""
    if isinstance(A, Iterator):
        return Once(A, rank, seed)
    if callable(A):
        return Twice(A, rank, seed)
    return Twice(lambda: iter(A), rank, seed)


def _block(given: Any) -> Source:
    if scipy.sparse.issparse(given):
        return Sparse(given)
    if isinstance(given, (np.ndarray, Tensor)):
        return Dense(given)
    raise ValueError(
        f"blocks must be arrays, tensors or sparse matrices, got {type(given).__name__}"
    )


def _first(blocks: Iterable[Any]) -> Any:
    for block in blocks:
        return block
    raise ValueError("there are no blocks")


def _chain(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from rest


__all__ = ["Once", "Rows", "Twice", "row_blocks", "squared_norm"]
