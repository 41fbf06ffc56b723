"""How many singular values of a sparse matrix lie above a cut, by Sylvester's law of inertia.

The number is that of the negative pivots of [[cI, A], [Aᴴ, cI]]. Where a triangular factorization
without exchanges has the backward error F, the count is right for the cut c ± ‖F‖.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

FILL, WORK = 3e7, 2e10
"""Entries and products of a banded factorization that may be computed for a count."""


def band_order(A: Any, products: int) -> np.ndarray | None:
    """An order of the rows of [[cI, A], [Aᴴ, cI]] in which it is a narrow band, or None.

    Narrow is what costs no more, by the worst estimate, than the products that led to the answer.
    """
    m, n = A.shape
    work = min(WORK, max(2e8, 5.0 * products * (A.nnz + (m + n) * products)))
    if A.nnz > FILL / 4:
        return None
    # the row with most entries spans at least half as many places
    most = max(np.diff(A.indptr).max(), np.bincount(A.indices, minlength=n).max()) / 2
    if (m + n) * float(most) ** 2 > work:
        return None
    if (m + n) * _least_band(A) ** 2 > work:
        return None
    pattern = scipy.sparse.csr_array(
        (np.ones(A.nnz, dtype=np.int8), A.indices, A.indptr), shape=A.shape
    )
    K = scipy.sparse.block_array([[None, pattern], [pattern.T, None]], format="csr")
    order = scipy.sparse.csgraph.reverse_cuthill_mckee(K, symmetric_mode=True)
    place = np.empty(m + n, dtype=np.int64)
    place[order] = np.arange(m + n)
    rows = np.repeat(np.arange(m + n), np.diff(K.indptr))
    band = int(np.abs(place[rows] - place[K.indices]).max(initial=0))
    if (m + n) * band > FILL or (m + n) * float(band) ** 2 > work:
        return None
    return order


def _least_band(A: Any) -> float:
    """A lower bound of the bandwidth: r steps away from a node are 2 r bandwidths at most."""
    m = A.shape[0]
    least, rows = 0.0, np.zeros(m)
    rows[int(np.argmax(np.diff(A.indptr) > 0))] = 1
    ones = scipy.sparse.csr_array((np.ones(A.nnz), A.indices, A.indptr), shape=A.shape)
    for steps in range(1, 16, 2):
        columns = ones.T @ rows > 0
        rows = (ones @ columns.astype(float) > 0).astype(float)
        least = max(least, (columns.sum() + rows.sum() - 1) / (2 * steps + 2))
    return least


def count_above(A: Any, cut: float, order: np.ndarray | None = None) -> tuple[int, float] | None:
    """How many singular values of a sparse A lie above a cut, and how far the cut may be off.

    The negative pivots of [[cI, A], [Aᴴ, cI]], whose eigenvalues are c ± σ and c, by SuperLU in its
    symmetric mode; None where it exchanged rows or broke down.

    Returns:
        N and ε: at most N singular values exceed cut + ε, at least N exceed cut − ε.

    Example:
        >>> count_above(scipy.sparse.diags_array([3.0, 2.0, 1.0]), 1.5)[0]
        2
    """
    m, n = A.shape
    A = scipy.sparse.csr_array(A)
    eye = scipy.sparse.eye_array
    K = scipy.sparse.block_array(
        [[cut * eye(m), A], [A.conj().T, cut * eye(n)]], format="csc", dtype=A.dtype
    )
    if order is None:
        order = np.arange(m + n)
    K = scipy.sparse.csc_matrix(K[order][:, order])
    try:
        factor = scipy.sparse.linalg.splu(
            K, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True}
        )
    except (RuntimeError, MemoryError):
        return None
    if not (factor.perm_r == factor.perm_c).all():
        return None
    L, U = factor.L.tocsr(), factor.U.tocsr()
    pivots = U.diagonal()
    if np.abs(pivots.imag).max() > 1e-8 * np.abs(pivots).max() or not np.isfinite(pivots).all():
        return None
    pivots = pivots.real
    if not (pivots != 0).all():
        return None
    ones = np.ones(m + n)
    size = abs(L) @ (abs(U) @ ones)
    terms = int(np.diff(L.indptr).max())
    rounding = (terms + 2) * float(np.finfo(float).eps) * float(size.max())
    skew = abs(U - scipy.sparse.diags_array(pivots) @ L.conj().T)
    error = rounding + float((abs(L) @ (skew @ ones)).max())
    return int((pivots < 0).sum()), error
