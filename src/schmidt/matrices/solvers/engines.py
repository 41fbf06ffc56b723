"""Lanczos bidiagonalisation for sparse matrices and operators: PROPACK, with ARPACK behind it.

scipy's front end to PROPACK hands it tol², and runs it with restarts in a space of dimension 10 k,
which are slow for spectra that decay and fail without a word for spectra that do not. This calls
the routine below the front end, without restarts: the space grows until the triplets have
converged. Where that fails, or is not there, ARPACK takes over. Of both only the span of the right
vectors is believed: the triplets are those of A on that span, and their residuals are measured
before they are called an answer.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse.linalg
import torch
from torch import Tensor

from schmidt.linalg import orthonormalize
from schmidt.matrices.solvers.krylov import KrylovSpace
from schmidt.matrices.solvers.triplets import NotConvergedError, Triplets, accurate, polar
from schmidt.matrices.sources.source import Source

SPACES = (16, 64)
"""Dimensions of PROPACK's space, in multiples of k: large ones are slow to allocate."""
FAILURES = (np.linalg.LinAlgError, RuntimeError, ImportError, TypeError)
"""TypeError: the routine below scipy's front end is private, and its arguments may change."""

MEMORY = 2**31
"""Bytes that PROPACK's basis may take."""


def lanczos(
    source: Source, rank: int, *, accuracy: float = 1e-6, seed: int = 0, solver: str | None = None
) -> Triplets:
    """The leading triplets of a sparse matrix or an operator.

    Args:
        source: A (m, n), on the CPU.
        rank: k < min(m, n).
        accuracy: relative, of the singular values.
        seed: of the starting vector.
        solver: "propack" or "arpack"; default the first that succeeds.

    Raises:
        NotConvergedError: no solver succeeded; says what each of them said.
    """
    operator = _Counting(source)
    # positive, because the first singular vectors of data are
    start = np.random.default_rng(seed).random(max(source.shape))
    said = []
    for name in (solver,) if solver else ("propack", "arpack"):
        try:
            engine = _propack if name == "propack" else _arpack
            right = engine(operator, rank, accuracy, start)
        except SystemError:
            raise operator.error or RuntimeError("PROPACK failed without a reason") from None
        except FAILURES as error:
            said.append(f"{name}: {str(error).splitlines()[0]}")
            continue
        found = rayleigh_ritz(
            source, torch.from_numpy(right), operator.count, {"solver": name}, seed
        )
        if accurate(found, accuracy):
            return found
        assert found.residuals is not None
        worst = float((found.residuals / found.values[0]).max())
        said.append(f"{name}: residuals up to {worst:.1e} σ₁ are left")
    raise NotConvergedError("; ".join(said))


def rayleigh_ritz(
    source: Source,
    right: torch.Tensor,
    products: int = 0,
    settings: dict[str, Any] | None = None,
    seed: int = 0,
) -> Triplets:
    """The triplets of A restricted to span(right): A v = s u to rounding; the rest is measured.

    Args:
        right: (n, k) linearly independent columns.
    """
    V, _ = orthonormalize(right)
    # images of Ritz vectors are orthogonal already: columns of length one make their QR cheap
    image = source.apply(V)
    left, s, turn = polar(image, torch.linalg.vector_norm(image, dim=0))
    V = V @ turn
    products += V.shape[1]
    found = Triplets(left, s, V, None, None, products, settings or {})
    space = KrylovSpace.of(found, source, seed)
    # A^H u s - s^2 v is what leaves the space, and what of it stays inside besides
    inside = space.G - torch.diag(s.square()).to(space.G)
    out = torch.hypot(
        torch.linalg.vector_norm(space.R, dim=0), torch.linalg.vector_norm(inside, dim=0)
    )
    small = s <= 1e-4 * s[0]
    residuals = out / torch.where(small, torch.ones_like(s), s)
    if bool(small.any()):
        back = source.adjoint(left[:, small]) - V[:, small] * s[small]
        residuals[small] = torch.linalg.vector_norm(back, dim=0)
    return replace(found, residuals=residuals, products=space.products, space=space)


class _Counting(scipy.sparse.linalg.LinearOperator):
    """Products with single vectors, counted."""

    def __init__(self, source: Source) -> None:
        self.source, self.count = source, 0
        self.error: BaseException | None = None
        super().__init__(source.empty().numpy().dtype, source.shape)

    def _matvec(self, x: np.ndarray) -> np.ndarray:
        self.count += 1
        return self._product(self.source.apply, x)

    def _rmatvec(self, x: np.ndarray) -> np.ndarray:
        self.count += 1
        return self._product(self.source.adjoint, x)

    def _product(self, product: Any, x: np.ndarray) -> np.ndarray:
        column = torch.from_numpy(np.asarray(x, self.dtype).reshape(-1, 1))
        try:
            return product(column).numpy()[:, 0]
        except BaseException as error:  # Ctrl-C too: PROPACK turns all of them into SystemError
            self.error = error
            raise


@contextlib.contextmanager
def _without_lapack() -> Iterator[None]:
    """Whatever is printed meanwhile, without what LAPACK says of its arguments.

    Where a Lanczos process breaks down PROPACK calls LAPACK with NaN, which writes to the terminal
    below Python; the answer is refused all the same.
    """
    sys.stdout.flush()
    with tempfile.TemporaryFile() as file:
        kept = os.dup(1)
        try:
            os.dup2(file.fileno(), 1)
            yield
        finally:
            sys.stdout.flush()
            os.dup2(kept, 1)
            os.close(kept)
            file.seek(0)
            for line in file:
                if b"On entry to" not in line:
                    os.write(1, line)


def _propack(A: _Counting, rank: int, accuracy: float, start: np.ndarray) -> np.ndarray:
    from scipy.sparse.linalg._svdp import _svdp

    m, n = A.shape
    if 2 * rank + 2 > min(m, n):
        raise np.linalg.LinAlgError(
            f"rank {rank} of min(m, n) = {min(m, n)} is too much for a Lanczos process"
        )
    room = max(MEMORY // (A.dtype.itemsize * (m + n)), 4 * rank)
    spaces = [min(max(times * rank, 200), room, m, n) for times in SPACES]
    # the bound that PROPACK stops by is of second order, like the error of its values
    tol = max(accuracy, 10 * float(np.finfo(A.dtype).eps))
    for space in spaces:
        try:
            with _without_lapack():
                _, s, vh, _ = _svdp(
                    A,
                    rank,
                    irl_mode=False,
                    kmax=space,
                    tol=tol,
                    v0=start[:m].astype(A.dtype),
                    rng=np.random.default_rng(0),
                )
            break
        except np.linalg.LinAlgError:
            if space == spaces[-1]:
                raise
    if not (np.isfinite(vh).all() and np.isfinite(s).all()):
        raise np.linalg.LinAlgError("NaN in the singular vectors")
    columns = np.ascontiguousarray(vh.conj().T)
    # where A has fewer than k values that are not zero, PROPACK may return one of them twice
    off = np.linalg.norm(columns.conj().T @ columns - np.eye(rank))
    if off > 10 * float(np.finfo(A.dtype).eps) ** 0.5:
        raise np.linalg.LinAlgError("the singular vectors are not orthogonal")
    return columns


def _arpack(A: _Counting, rank: int, accuracy: float, start: np.ndarray) -> np.ndarray:
    small = min(A.shape)
    if rank >= small - 2:  # scipy wants k + 1 < ncv < min(m, n) of complex matrices
        raise np.linalg.LinAlgError(f"rank {rank} is too much for ARPACK: min(m, n) is {small}")
    vectors: np.ndarray
    error: Exception = RuntimeError("arpack failed")
    for times in (2, 4, 10):
        try:
            _, s, vh = scipy.sparse.linalg.svds(
                A,
                rank,
                ncv=min(max(times * rank + 1, 20), small - 1),
                tol=accuracy,
                v0=start[:small].astype(A.dtype),
                solver="arpack",
                maxiter=small * 10,
            )
        except scipy.sparse.linalg.ArpackError as failure:
            error = failure
            continue
        vectors = vh.conj().T
        return np.ascontiguousarray(vectors[:, np.argsort(-s)])
    raise error


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
    columns = min(rank + 2 + rank // 10, n // 5)
    vectors = lobpcg_vectors(
        source, columns, preconditioner, accuracy=accuracy, seed=seed, steps=steps
    )
    found = rayleigh_ritz(source, vectors, 0, {"solver": "lobpcg"}, seed).truncate(rank)
    if not accurate(found, accuracy):
        assert found.residuals is not None
        worst = float((found.residuals / found.values[0]).max())
        raise NotConvergedError(
            f"lobpcg: residuals up to {worst:.1e} σ₁ are left after {steps} steps; "
            "a better preconditioner or a smaller rank may help"
        )
    return found


def lobpcg_vectors(
    source: Source,
    columns: int,
    preconditioner: Any = None,
    *,
    accuracy: float = 1e-6,
    seed: int = 0,
    steps: int = 500,
    largest: bool = True,
) -> Tensor:
    """(n, columns) of scipy's LOBPCG at one end of the spectrum; nobody has judged them yet."""
    n = source.shape[1]
    start = np.random.default_rng(seed).standard_normal((n, columns))
    kind = source.empty().numpy().dtype
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # residuals are measured by who asks
        scale = float(np.linalg.norm(source.apply(torch.from_numpy(start.astype(kind))).numpy()))
        _, vectors = scipy.sparse.linalg.lobpcg(
            _operator(source),
            start.astype(kind),
            M=_operator_of(preconditioner, n, kind),
            largest=largest,
            tol=accuracy**0.5 * 1e-2 * scale / np.sqrt(start.size),
            maxiter=steps,
        )
    return torch.from_numpy(np.ascontiguousarray(vectors))


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
