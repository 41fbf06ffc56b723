"""Leading triplets and eigenpairs of an array in memory, with one choice of the way by its size."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch import Tensor

from schmidt.linalg.bases import orthonormalize, random_normal
from schmidt.linalg.signs import fix_signs
from schmidt.parameters import SEED, Choice, Number, check

EXACT = 1024
"""Smaller side up to which LAPACK's full decomposition takes well under a second."""
SHARE = 6
"""Beyond a sixth of the smaller side, iterations are slower than LAPACK."""
TALL = 8
"""Ratio of the sides from which the Gram matrix of the smaller one is decomposed, in float64."""
POWERS = 4
FULL = 600
"""Smaller side up to which LAPACK's full decomposition is faster than a Krylov space that must
converge to rounding; and so it is beyond a quarter of the smaller side."""
TABLE = {
    "rank": Number(1, whole=True),
    "method": Choice("auto", "lapack", "gram", "krylov", "projection"),
    "seed": SEED,
}


def leading(
    matrix: Any, rank: int, *, method: str = "auto", seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """U (m, k), σ (k,), V (n, k): the k = min(rank, m, n) largest σ, signs by the one rule on V.

    "lapack" decomposes everything. "gram" takes eigenvectors of the smaller Gram matrix in
    float64: values below 1e-7 σ₁ are rounding then. "krylov" is ARPACK, to rounding, where it is
    faster than LAPACK. "projection" iterates a random block of 2k + 8 columns (Halko, Martinsson
    and Tropp 2011) with four powers. Neither proves that no value was missed: for a certificate
    there is :func:`schmidt.svd`. "auto" takes the projection only where the smaller side is above
    1,024 and k below a sixth of it.

    Args:
        matrix: (m, n) tensor, real or complex; lower precisions than float32 are raised to it.
            A scipy sparse array is decomposed by "gram" only.
        rank: number of triplets.
        method: which way.
        seed: of the random columns; torch's global generators are not touched.

    Raises:
        ValueError: entries that are not finite, a parameter out of range, a sparse array and
            another way than "gram".

    Cost: 6 m n² + 20 n³ flops, m n² or 10 m n k.

    Example:
        >>> U, s, V = leading(torch.diag(torch.tensor([3.0, 1.0, 2.0])), 2)
        >>> s
        tensor([3., 2.])
    """
    check(TABLE, rank=rank, method=method, seed=seed)
    if scipy.sparse.issparse(matrix):
        if method != "gram":
            raise ValueError(f'sparse arrays are for method="gram", got {method!r}; or schmidt.svd')
        U, s, V = _gram(matrix, min(rank, *matrix.shape))
        signs = fix_signs(V)
        return U * signs, s, V * signs
    if not bool(
        torch.isfinite(torch.view_as_real(matrix) if matrix.is_complex() else matrix).all()
    ):
        raise ValueError("the matrix has entries that are not finite")
    A = matrix.to(torch.promote_types(matrix.dtype, torch.float32))
    small, k = min(A.shape), min(rank, *A.shape)
    if method == "auto":
        few = small > EXACT and SHARE * (2 * k + 8) <= small
        method = "projection" if few else "lapack"
    if method == "gram":
        U, s, V = _gram(A, k)
    elif method == "krylov" and small > FULL and 4 * k <= small:
        U, s, V = _krylov(A, k, seed)
    elif method == "projection" and 2 * k + 8 < small:
        U, s, V = _projection(A, k, seed)
    else:
        U, s, Vh = torch.linalg.svd(A, full_matrices=False)
        U, s, V = U[:, :k], s[:k], Vh[:k].mH.resolve_conj()
    signs = fix_signs(V)
    return U * signs, s, V * signs


def leading_eigenpairs(matrix: Tensor, count: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """λ (k,) and V (n, k): the k eigenpairs of largest |λ|, descending, of a Hermitian array.

    LAPACK, or ARPACK to rounding where that is faster; it proves nothing about values missed.
    """
    n = len(matrix)
    if n <= FULL or 4 * count > n:
        values, vectors = torch.linalg.eigh(matrix)
    else:
        found = scipy.sparse.linalg.eigsh(matrix.numpy(), count, which="LM", v0=_start(n, seed))
        values, vectors = (torch.from_numpy(part.copy()) for part in found)
    order = values.abs().argsort(descending=True)[:count]
    return values[order], vectors[:, order]


def _start(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(n)


def _krylov(A: Tensor, k: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    a = A.resolve_conj().cpu().numpy()
    u, s, vh = scipy.sparse.linalg.svds(a, k, v0=_start(min(a.shape), seed).astype(a.dtype))
    order = np.argsort(-s)
    parts = (u[:, order], s[order], vh[order].conj().T)
    U, values, V = (torch.from_numpy(np.ascontiguousarray(part)) for part in parts)
    return U.to(A), values.to(A.real), V.to(A)


def _gram(A: Any, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Q from the eigenvectors of the smaller Gram matrix, then the SVD of QᴴA."""
    sparse = scipy.sparse.issparse(A)
    flip = A.shape[0] < A.shape[1]
    if sparse:
        wide = A.conj().T.tocsr() if flip else A
        gram = torch.from_numpy((wide.conj().T @ wide).toarray())
    else:
        wide = (A.mH if flip else A).to(torch.complex128 if A.is_complex() else torch.float64)
        gram = wide.mH @ wide
    near = torch.linalg.eigh(gram)[1].flip(1)[:, :k]
    Q, R = torch.linalg.qr(torch.from_numpy(wide @ near.numpy()) if sparse else wide @ near)
    inner, s, rotation = torch.linalg.svd(R)
    far, near = Q @ inner, near @ rotation.mH
    left, right = (near, far) if flip else (far, near)
    return (left, s, right) if sparse else (left.to(A), s.to(A.real.dtype), right.to(A))


def _projection(A: Tensor, k: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    Q = orthonormalize(A @ random_normal(A.shape[1], 2 * k + 8, A, generator))[0]
    for _ in range(POWERS):
        Q = orthonormalize(A @ orthonormalize(A.mH @ Q)[0])[0]
    inner, s, Vh = torch.linalg.svd(Q.mH @ A, full_matrices=False)
    return (Q @ inner)[:, :k], s[:k], Vh[:k].mH.resolve_conj()


def whitener(rows: Tensor, rank: int, *, damping: float = 0.0, cut: float = 1e-10) -> Tensor:
    """The matrix (d, k) that turns rows (n, d) into coordinates of covariance one.

    v·(λ + damping·mean λ)^−½ for the leading eigenvectors v of rowsᴴrows, by the smaller side.

    Args:
        rows: (n, d), centred and scaled as they are to be.
        rank: at most so many directions.
        damping: of small ones, relative to the mean λ over those kept.
        cut: directions with λ below cut·λ₁ are left out.

    Raises:
        ValueError: rows that are all zero.
    """
    n, d = rows.shape
    if d <= n:
        values, vectors = torch.linalg.eigh(rows.mH @ rows)
    else:
        values, dual = torch.linalg.eigh(rows @ rows.mH)
        vectors = rows.mH @ dual / values.clamp_min(1e-300).sqrt()
    values, vectors = values.flip(0)[:rank], vectors.flip(1)[:, :rank]
    keep = values > cut * values[0]
    if not bool(keep.any()):
        raise ValueError("all rows are zero: there is no direction to whiten")
    values, vectors = values[keep], vectors[:, keep]
    scale: Any = (values + damping * values.mean()).rsqrt()
    return vectors * scale
