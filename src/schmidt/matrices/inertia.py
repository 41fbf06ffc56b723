"""How many eigenvalues or singular values lie beyond a cut, by Sylvester's law of inertia.

The number of eigenvalues of a Hermitian A below c is that of the negative pivots of A − cI; that
of the singular values above c is that of the negative pivots of [[cI, A], [Aᴴ, cI]]. Where a
triangular factorization has the backward error F, the count is right for the cut c ± ‖F‖.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg

FILL, WORK = 3e7, 2e10
"""Entries and products of a banded factorization that may be computed for a count."""
WIDTH = 8e7
"""n times the widest level of A's graph up to which it is factorized at all."""


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
    K = augmented(A, cut, cut)
    if order is None:
        order = np.arange(K.shape[0])
    return _negative_pivots(K[order][:, order])


def augmented(A: Any, above: float, below: float) -> Any:
    """[[above·I, A], [Aᴴ, below·I]] as a compressed sparse matrix."""
    m, n = A.shape
    A = scipy.sparse.csr_array(A)
    eye = scipy.sparse.eye_array
    return scipy.sparse.block_array(
        [[above * eye(m), A], [A.conj().T, below * eye(n)]], format="csc", dtype=A.dtype
    )


def count_below(A: Any, cut: float) -> tuple[int, float] | None:
    """How many eigenvalues of a Hermitian A, sparse or an array, lie below a cut.

    Sparse: the pivots of SuperLU, as for :func:`count_above`. Dense: those of LAPACK's sytrf, with
    Higham's bound of its backward error. Complex arrays: of [[Re, −Im], [Im, Re]], which has every
    eigenvalue twice.

    Returns:
        N and ε: at most N eigenvalues lie below cut − ε, at least N below cut + ε; or None.

    Cost: n³/3 for an array.

    Example:
        >>> count_below(np.diag([3.0, 2.0, 1.0]), 1.5)[0]
        1
    """
    if scipy.sparse.issparse(A):
        eye = scipy.sparse.eye_array(A.shape[0], dtype=A.dtype, format="csc")
        return _negative_pivots(scipy.sparse.csc_array(A) - cut * eye)
    K = np.array(A, dtype=complex if np.iscomplexobj(A) else float)
    K[np.diag_indices(len(K))] -= cut
    if np.iscomplexobj(K):
        K = np.block([[K.real, -K.imag], [K.imag, K.real]])
        twice = _dense_pivots(K)
        return None if twice is None or twice[0] % 2 else (twice[0] // 2, twice[1])
    return _dense_pivots(K)


def factorable(A: Any) -> bool:
    """Whether a sparse Hermitian matrix can be factorized at a reasonable price.

    By the widest level of its graph, which is about its separators: those of lattices in the plane
    and of trees are narrow, those of random graphs are not. Hubs, with more than 10 √n
    neighbours, come last in any good order and are counted by themselves.
    """
    A = scipy.sparse.csr_array(A)
    n = A.shape[0]
    degrees = np.diff(A.indptr)
    hubs = degrees > max(10 * np.sqrt(n), 30)
    if A.nnz > WIDTH / 4 or n * float(hubs.sum()) > WIDTH:
        return False
    plain = A if not hubs.any() else A[~hubs][:, ~hubs]
    if not plain.shape[0]:
        return True
    graph = scipy.sparse.csr_array(
        (np.ones(plain.nnz), plain.indices, plain.indptr), shape=plain.shape
    )
    parts, labels = scipy.sparse.csgraph.connected_components(graph, directed=False)
    largest = int(np.bincount(labels).argmax()) if parts > 1 else 0
    start = int(np.flatnonzero(labels == largest)[0])
    width = 0
    for _ in range(2):
        order, before = scipy.sparse.csgraph.breadth_first_order(graph, start, directed=False)
        level = np.zeros(len(before), dtype=np.int64)
        for node in order[1:]:  # parents come first
            level[node] = level[before[node]] + 1
        width = int(np.bincount(level[order]).max())
        start = int(order[-1])
    wide = float(width + hubs.sum())
    return n * wide <= WIDTH and wide**3 <= WORK


def _negative_pivots(K: Any) -> tuple[int, float] | None:
    """Of a sparse Hermitian K, and the largest row sum of its backward error."""
    K = scipy.sparse.csc_matrix(K)
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
    ones = np.ones(K.shape[0])
    size = abs(L) @ (abs(U) @ ones)
    terms = int(np.diff(L.indptr).max())
    rounding = (terms + 2) * float(np.finfo(float).eps) * float(size.max())
    skew = abs(U - scipy.sparse.diags_array(pivots) @ L.conj().T)
    error = rounding + float((abs(L) @ (skew @ ones)).max())
    return int((pivots < 0).sum()), error


def _dense_pivots(K: np.ndarray) -> tuple[int, float] | None:
    n, eps = len(K), float(np.finfo(float).eps)
    own = float(np.abs(K).sum(1).max())
    L, D, _ = scipy.linalg.ldl(K, overwrite_a=True, check_finite=False)
    ones = np.ones(n)
    size = np.abs(L) @ (np.abs(D) @ (np.abs(L).T @ ones))
    error = 4 * (n + 10) * eps * (float(size.max()) + own)
    if not np.isfinite(error):
        return None
    diagonal, below = D.diagonal(), np.diagonal(D, -1)
    twos = np.flatnonzero(below)
    single = np.ones(n, dtype=bool)
    single[twos] = single[twos + 1] = False
    if not (diagonal[single] != 0).all():
        return None
    number = int((diagonal[single] < 0).sum())
    for j in twos:
        number += int((np.linalg.eigvalsh(D[j : j + 2, j : j + 2]) < 0).sum())
    return number, error
