"""LOBPCG for symmetric operators whose inverse is nearly known: Knyazev 2001."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.sparse.linalg
import torch
from torch import Tensor

from schmidt.matrices.solvers.krylov import NotConvergedError, accurate
from schmidt.matrices.solvers.lanczos import rayleigh_ritz
from schmidt.matrices.solvers.triplets import Triplets
from schmidt.matrices.sources.source import Source


def lobpcg(
    source: Source,
    rank: int,
    preconditioner: Any = None,
    *,
    accuracy: float = 1e-6,
    seed: int = 0,
    steps: int = 500,
) -> Triplets:
    """The leading eigenpairs of a symmetric positive semidefinite operator as singular triplets.

    Negative eigenvalues are not looked for: where there are large ones, the certificate's
    spectral bound says that something is missing.

    Args:
        source: A (n, n), symmetric or Hermitian; checked on random columns.
        rank: k, at most n/5 or so.
        preconditioner: X (n, b) → about (θ − A)⁻¹ X; a function of blocks, a matrix or an operator.
        accuracy: relative, of the eigenvalues.
        seed: of the start.
        steps: after which to give up.
    """
    n = source.shape[1]
    _check_symmetric(source, seed)
    if 5 * rank > n:
        raise ValueError(f"LOBPCG finds at most n/5 = {n // 5} eigenpairs, got rank {rank}")
    rng = np.random.default_rng(seed)
    start = rng.standard_normal((n, min(rank + 2 + rank // 10, n // 5)))
    kind = source.empty().numpy().dtype
    operator = _operator(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # residuals are measured below
        scale = float(np.linalg.norm(source.apply(torch.from_numpy(start.astype(kind))).numpy()))
        _, vectors = scipy.sparse.linalg.lobpcg(
            operator,
            start.astype(kind),
            M=_operator_of(preconditioner, n, kind),
            largest=True,
            tol=accuracy**0.5 * 1e-2 * scale / np.sqrt(start.size),
            maxiter=steps,
        )
    found = rayleigh_ritz(
        source, torch.from_numpy(np.ascontiguousarray(vectors)), 0, {"solver": "lobpcg"}
    ).truncate(rank)
    if not accurate(found, accuracy):
        assert found.residuals is not None
        worst = float((found.residuals / found.values[0]).max())
        raise NotConvergedError(
            f"lobpcg: residuals up to {worst:.1e} σ₁ are left after {steps} steps; "
            "a better preconditioner or a smaller rank may help"
        )
    return found


def _operator(source: Source) -> scipy.sparse.linalg.LinearOperator:
    def product(X: np.ndarray) -> np.ndarray:
        columns = torch.from_numpy(np.ascontiguousarray(X.reshape(len(X), -1)))
        return source.apply(columns.to(source.dtype)).numpy().reshape(X.shape)

    kind = source.empty().numpy().dtype
    return scipy.sparse.linalg.LinearOperator(source.shape, product, matmat=product, dtype=kind)


def _operator_of(preconditioner: Any, n: int, kind: np.dtype) -> Any:
    if preconditioner is None or not callable(preconditioner) or hasattr(preconditioner, "shape"):
        return preconditioner
    return scipy.sparse.linalg.LinearOperator(
        (n, n), preconditioner, matmat=preconditioner, dtype=kind
    )


def _check_symmetric(source: Source, seed: int) -> None:
    m, n = source.shape
    if m != n:
        raise ValueError(f"LOBPCG is for symmetric operators, got shape ({m}, {n})")
    generator = torch.Generator().manual_seed(seed)
    X: Tensor = torch.randn(n, 2, dtype=torch.float64, generator=generator).to(source.dtype)
    forth, back = source.apply(X), source.adjoint(X)
    error = float(torch.linalg.vector_norm(forth - back) / torch.linalg.vector_norm(forth))
    if error > 1e3 * torch.finfo(source.dtype).eps * n**0.5:
        raise ValueError(f"LOBPCG is for symmetric operators: ‖AX − AᴴX‖/‖AX‖ is {error:.1e}")
