"""dask arrays: products run on dask's engine, and nothing of m rows is kept on this machine."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import dask.array as da
import numpy as np
import torch
from torch import Tensor

from schmidt.arrays import refuse_masked
from schmidt.matrices.solvers.krylov import block_krylov
from schmidt.matrices.solvers.triplets import Triplets, negligible
from schmidt.matrices.sources.centred import vector
from schmidt.matrices.sources.entries import checked, unit_of
from schmidt.matrices.sources.source import DASK, Dense, Source

SPACE = 40
"""Largest dimension of the Krylov space, in multiples of the rank."""


def plain_chunks(A: Any) -> Any:
    """The array with dense chunks of a type that can be decomposed, still lazy."""
    if not isinstance(A, da.Array):
        raise ValueError(f"expected a dask array, got {type(A).__name__}: call .to_dask_array()")
    kind = np.dtype(A.dtype)
    if kind.kind in "biu":
        kind = np.dtype(float)
    elif kind == np.float16:
        kind = np.dtype(np.float32)
    return da.map_blocks(_dense_chunk, A, kind, dtype=kind, meta=np.empty((0,) * A.ndim, kind))


def _dense_chunk(block: Any, kind: np.dtype) -> np.ndarray:
    refuse_masked(block)
    if hasattr(block, "todense"):  # scipy.sparse and sparse; a chunk is small
        block = block.todense()
    return np.asarray(block).astype(kind, copy=False)


def shifted(A: Any, center: Any, scale: Any) -> Any:
    """(A − 1 μᵀ) diag(scale)⁻¹ as a lazy dask array; means and deviations take one pass."""
    A = plain_chunks(A)
    kind = np.dtype(complex if A.dtype.kind == "c" else float)
    if A.ndim != 2 or any(np.isnan(size) for size in A.shape):
        return A  # for Chunked to refuse
    like = Dense(np.ones((1, 1), A.dtype))
    given = [
        vector(a, A.shape[1], like, name) for name, a in (("center", center), ("scale", scale))
    ]
    mean, divisor = (None if a is None else a.numpy() for a in given)
    wide = A.astype(kind)
    if divisor is None:
        with np.errstate(over="ignore", invalid="ignore"):
            means, variances, largest = da.compute(wide.mean(0), wide.var(0), np.abs(wide).max())
        if largest and not 1e-120 < largest < 1e140:
            raise ValueError("squares of the entries leave the range of float64: scale the array")
        about = means if mean is None else mean
        variances = variances + np.abs(means - about) ** 2
        mean, size = about, np.sqrt(variances)
        constant = size <= 10 * np.finfo(A.dtype).eps * np.abs(about)
        divisor = np.where(constant, 1.0, size)
    elif mean is None:
        mean = wide.mean(0).compute()
    return da.map_blocks(
        _shift_chunk,
        A,
        da.from_array(mean[None], chunks=(1, A.chunks[1])),
        da.from_array(divisor[None], chunks=(1, A.chunks[1])),
        dtype=A.dtype,
        meta=np.empty((0, 0), A.dtype),
        chunks=A.chunks,
    )


def _shift_chunk(block: np.ndarray, mean: np.ndarray, divisor: np.ndarray) -> np.ndarray:
    # rounded once, when the mean is gone
    return ((block - mean) / divisor).astype(block.dtype, copy=False)


class Chunked(Source):
    """A dask array (m, n) of any chunks.

    The right side, a basis of some hundred columns of length n, and single blocks of length m are
    held here; the left side stays a dask array, as an expression that nobody has computed yet.
    """

    structure = DASK
    solver = "dask"

    def __init__(self, A: Any) -> None:
        A = plain_chunks(A)
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
        known = ~negligible(s, float(np.finfo(s.dtype).eps))
        return self.array @ (right.numpy() * np.where(known, 1 / np.where(known, s, 1), 0))

    def largest(self, rank: int) -> int:
        return max(SPACE * rank, 400)

    def solve(self, rank: int, *, accuracy: float, seed: int) -> Triplets:
        """Block Lanczos on AᴴA, so that only right sides are held; then Rayleigh–Ritz with A.

        One pass over A per step. Values below 1e-5 σ₁ are out of reach of AᴴA.
        """
        return block_krylov(self, rank, accuracy=accuracy, seed=seed, largest=self.largest(rank))

    def normal(self, X: Tensor) -> tuple[None, Tensor]:
        """AᴴA X in one pass."""
        Y = self.array @ X.resolve_conj().numpy()
        return None, torch.from_numpy(np.ascontiguousarray((self.array.conj().T @ Y).compute()))

    def triplets(self, right: Tensor, settings: Any) -> Triplets:
        """Rayleigh–Ritz on span(right) in one pass; left sides stay A v/s, an expression.

        Where those are columns of zeros, the term itself is in the error.
        """
        found = self._rayleigh_ritz(right.resolve_conj().numpy())
        s = found.values.numpy()
        gone = negligible(s, float(np.finfo(s.dtype).eps))
        noise = float(np.linalg.norm(s[gone].astype(float)))
        return replace(found, settings=settings, noise=noise)

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


def _size(block: np.ndarray) -> np.ndarray:
    """A power of two u just below the largest |x| of a block, and Σ|x/u|² in float64."""
    largest = float(np.abs(block).max(initial=0))
    if largest == 0 or not np.isfinite(largest):
        return np.array([[0.0, largest]])
    unit = 2.0 ** (math.frexp(largest)[1] - 1)
    return np.array([[unit, float((np.abs(block / unit).astype(float) ** 2).sum())]])
