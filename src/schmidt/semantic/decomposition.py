"""The leading singular triplets of a weighted term-document matrix."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from schmidt.linalg import fix_signs
from schmidt.matrices.svd import svd

GRAM, PART, ROUNDING = 4000, 0.05, 1e-7


def triplets(
    weights: sparse.csr_array, rank: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """V, σ and U of the (documents, terms) matrix V diag(σ) Uᵀ.

    Many triplets of a matrix whose smaller side is at most 4000 come from the eigenvectors of its
    Gram matrix, which costs less than any iteration; otherwise from :func:`schmidt.svd`.
    Squaring costs half of the digits of the smallest values: those below 1e-7 σ₁ are left out.

    Args:
        weights: (N, T).
        rank: at most so many; fewer come if the matrix has a smaller rank.
        seed: of the iteration's start.

    Returns:
        Documents (N, k), values (k,), terms (T, k); the sign rule is applied to the terms.
    """
    small = min(weights.shape)
    if small <= GRAM and rank >= PART * small:
        documents, values, terms = _by_gram(weights, rank)
    else:
        found = svd(weights, rank=rank, seed=seed)
        documents, values, terms = found.left, found.values, found.right
    kept = values > ROUNDING * values[:1]
    documents, values, terms = documents[:, kept], values[kept], terms[:, kept]
    signs = fix_signs(terms) if len(values) else np.ones(0)
    return documents * signs, values, terms * signs


def _by_gram(weights: sparse.csr_array, rank: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    wide = weights.shape[0] <= weights.shape[1]
    matrix = weights if wide else weights.T.tocsr()
    squares, vectors = np.linalg.eigh((matrix @ matrix.T).toarray())
    near = vectors[:, ::-1][:, :rank]
    values = np.sqrt(np.maximum(squares[::-1][:rank], 0))
    far = (matrix.T @ near) / np.where(values > 0, values, 1)
    return (near, values, far) if wide else (far, values, near)
