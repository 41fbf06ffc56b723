"""dask arrays: products run on dask's engine, and nothing of m rows is kept on this machine."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
import torch
from torch import Tensor

from schmidt.linalg.bases import extend, orthonormalize, random_normal
from schmidt.matrices.solvers.krylov import (
    Columns,
    NotConvergedError,
    accurate_ones,
    block_size,
    converged,
)
from schmidt.matrices.solvers.triplets import Triplets
from schmidt.matrices.sources.entries import checked
from schmidt.matrices.sources.source import Source, unit_of

SPACE = 40
"""Largest dimension of the Krylov space, in multiples of the rank."""


class Chunked(Source):
    """A dask array (m, n) of any chunks.

    The right side, a basis of some hundred columns of length n, and single blocks of length m are
    held here; the left side stays a dask array, as an expression that nobody has computed yet.
    """

    structure = "dask"

    def __init__(self, A: Any) -> None:
        if not isinstance(A, da.Array):
            raise ValueError(
                f"expected a dask array, got {type(A).__name__}: call .to_dask_array()"
            )
        A = A.astype(float) if A.dtype.kind in "biu" else A
        if any(np.isnan(size) for size in A.shape):
            raise ValueError("the dask array has unknown chunk sizes: call A.compute_chunk_sizes()")
        self.dtype = checked(torch.from_numpy(np.empty((1, 1), A.dtype)), A.shape).dtype
        self.shape, self.device = (int(A.shape[0]), int(A.shape[1])), torch.device("cpu")
        self._measure(A)

    def _measure(self, A: Any) -> None:
        """‖A‖_F² in one pass; where A is far from 1, it becomes unit·A."""
        chunks = tuple((size,) * len(parts) for size, parts in zip((1, 2), A.chunks, strict=True))
        sizes = da.map_blocks(_size, A, dtype=float, chunks=chunks, meta=np.empty((0, 0)))
        units, squares = np.moveaxis(sizes.compute().reshape(len(A.chunks[0]), -1, 2), 2, 0)
        if not np.isfinite(squares).all():
            raise ValueError("the matrix holds NaN or Inf: remove or fill them")
        largest = float(units.max())
        total = float((squares * (units / largest) ** 2).sum()) if largest else 0.0
        self.unit = largest if largest and unit_of(math.sqrt(total) * largest) != 1 else 1.0
        self.array = A if self.unit == 1 else A / self.unit
        self.norm2 = total * (largest / self.unit) ** 2

    def apply(self, X: Tensor) -> Tensor:
        return torch.from_numpy(
            np.ascontiguousarray((self.array @ X.resolve_conj().numpy()).compute())
        )

    def adjoint(self, Y: Tensor) -> Tensor:
        # chunks of Y as those of A's rows, so that every task meets one block of each
        rows = da.from_array(Y.resolve_conj().numpy(), chunks=(self.array.chunks[0], -1))
        return torch.from_numpy(np.ascontiguousarray((self.array.conj().T @ rows).compute()))

    def give_left(self, left: Any, values: Tensor, right: Tensor) -> Any:
        """A V diag(s)⁻¹, not computed; zero columns where s is rounding."""
        s = values.numpy()
        known = ~_negligible(s)
        return self.array @ (right.numpy() * np.where(known, 1 / np.where(known, s, 1), 0))

    def solve(self, rank: int, *, accuracy: float, seed: int) -> Triplets:
        """Block Lanczos on AᴴA, so that only right sides are held; then Rayleigh–Ritz with A.

        One pass over A per step. Values below 1e-5 σ₁ are out of reach of AᴴA.
        """
        n = self.shape[1]
        generator = torch.Generator().manual_seed(seed)
        b = min(block_size(rank), n)
        V, _ = orthonormalize(random_normal(n, b, self.empty(), generator))
        basis, G = Columns(V), V.new_empty(0, 0)
        while True:
            Z = self._normal(basis.last)
            width = min(b, n - basis.size)
            G = _bordered(G, basis.all.mH @ Z)
            if width:
                _, Q, R = extend(basis.all, Z, generator)
            else:
                R = torch.zeros_like(G[:b, :b])
            if basis.size >= rank:
                values, vectors = torch.linalg.eigh((G + G.mH) / 2)
                s = values.flip(0)[:rank].clamp_min(0).sqrt()
                x = vectors.flip(1)[:, :rank]
                outside = torch.linalg.vector_norm(R @ x[-R.shape[1] :], dim=0)
                rest = float(values.clamp_min(0)[:-rank].sum()) / basis.size
                if converged(s, outside, rest, accuracy) or not width:
                    break
                if basis.size + width > max(SPACE * rank, 400):
                    break
            basis.append(Q[:, :width])
        found = replace(
            self._rayleigh_ritz((basis.all @ x).numpy()),
            settings={"solver": "dask", "block": b, "dimension": basis.size},
        )
        good = accurate_ones(found, accuracy)
        if not bool(good.all()):
            assert found.residuals is not None
            worst = float((found.residuals / found.values[0]).max())
            first = int(good.long().cumprod(0).sum())
            raise NotConvergedError(
                f"dask: residuals up to {worst:.1e} σ₁ are left in a Krylov space of dimension "
                f"{basis.size}; a lower accuracy= or another rank may help",
                self._with_rounding(found.truncate(first)) if first else None,
            )
        return self._with_rounding(found)

    def _with_rounding(self, found: Triplets) -> Triplets:
        """Residuals of left sides A v/s, in which the rounding ε σ₁ of A v is ε σ₁/s, and Aᴴ of
        that ε σ₁²/s; columns of zeros leave s on both sides, and the term itself in the error."""
        assert found.residuals is not None
        s, r = found.values.numpy(), found.residuals.numpy()
        gone = _negligible(s)
        self.noise = float(np.linalg.norm(s[gone].astype(float)))
        rounding = 4 * np.finfo(s.dtype).eps * s[0] ** 2 / np.where(gone, 1, s)
        residuals = np.where(gone, math.sqrt(2) * s, r + rounding).astype(s.dtype)
        return replace(found, residuals=torch.from_numpy(residuals))

    def _normal(self, X: Tensor) -> Tensor:
        """AᴴA X in one pass."""
        Y = self.array @ X.resolve_conj().numpy()
        return torch.from_numpy(np.ascontiguousarray((self.array.conj().T @ Y).compute()))

    def _rayleigh_ritz(self, right: np.ndarray) -> Triplets:
        V = np.linalg.qr(right)[0]
        image = self.array @ V
        _, R = da.linalg.tsqr(image.rechunk((self.array.chunks[0], -1)))
        Z = self.array.conj().T @ image
        R, Z = da.compute(R, Z)
        _, s, rotation = np.linalg.svd(R)
        turn = rotation.conj().T
        V, Z = V @ turn, Z @ turn
        known = s > 1e3 * np.finfo(s.dtype).eps * s[0]
        outside = np.linalg.norm(Z / np.where(known, s, 1) - V * s, axis=0)
        residuals = np.where(known, outside, s).astype(s.dtype)
        s, V = np.ascontiguousarray(s), np.ascontiguousarray(V)
        return Triplets(
            None, torch.from_numpy(s), torch.from_numpy(V), torch.from_numpy(residuals), None
        )


def _negligible(s: np.ndarray) -> np.ndarray:
    """Singular values whose left vectors A v/s would be rounding."""
    return s <= 1e2 * np.finfo(s.dtype).eps * s[0]


def _size(block: np.ndarray) -> np.ndarray:
    """A power of two u just below the largest |x| of a block, and Σ|x/u|² in float64."""
    largest = float(np.abs(block).max(initial=0))
    if largest == 0 or not np.isfinite(largest):
        return np.array([[0.0, largest]])
    unit = 2.0 ** (math.frexp(largest)[1] - 1)
    return np.array([[unit, float((np.abs(block / unit).astype(float) ** 2).sum())]])


def _bordered(G: Tensor, column: Tensor) -> Tensor:
    """The Hermitian matrix with one more block column."""
    d = len(G)
    return torch.cat([torch.cat([G, column[:d]], 1), column.mH], 0) if d else column
