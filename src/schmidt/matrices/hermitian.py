"""Hermitian matrices of any kind, and the Krylov spaces of themselves and of their inverses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse
import scipy.sparse.linalg
import torch
from scipy.sparse.linalg import LinearOperator
from torch import Tensor

from schmidt.linalg import orthonormalize, random_normal
from schmidt.matrices.kinds import source_of
from schmidt.matrices.solvers.krylov import Columns, KrylovSpace, block_size
from schmidt.matrices.solvers.triplets import NotConvergedError
from schmidt.matrices.sources.operator import Operator
from schmidt.matrices.sources.source import BLOCKS, DASK, MAPPED, Dense, Source, Wrapped, in_units

WHOLE = 4096
"""Rows up to which a matrix of blocks, in a file or of dask is put together."""
SKEW = 64
"""‖A − Aᴴ‖_F in ε √n ‖A‖_F up to which A is Hermitian to rounding."""
RESTARTS = 60
ADVICE = (
    "eigh needs A = Aᴴ: symmetrise it, (A + A.conj().T)/2, or use schmidt.svd for singular values "
    "and scipy.sparse.linalg.eigs for eigenvalues of matrices that are not Hermitian"
)


class Hermitian(Wrapped):
    """A = Aᴴ as a source whose Krylov spaces are those of A, not of AᴴA.

    Attributes:
        noise: what rounding does to A and its products, ‖A − Aᴴ‖ included.
    """

    solver = ""

    def __init__(self, source: Source, noise: float) -> None:
        super().__init__(source)
        self.noise = noise

    def around(self, source: Source) -> Hermitian:
        return Hermitian(source, self.noise)

    def scaled(self, factor: float) -> Hermitian:
        return Hermitian(self.source.scaled(factor), self.noise / factor)

    def apply(self, X: Tensor) -> Tensor:
        return self.source.apply(X)

    def adjoint(self, Y: Tensor) -> Tensor:
        return self.apply(Y)

    def normal(self, X: Tensor) -> tuple[None, Tensor]:
        return None, self.apply(X)

    def dense(self) -> Tensor:
        return self.source.dense()

    def entries(self) -> Any:
        return self.source.entries()


class Inverse(Hermitian):
    """(A − σI)⁻¹ for a sparse A or an array, in double precision."""

    def __init__(self, source: Hermitian, shift: float) -> None:
        super().__init__(source, source.noise)
        kind = torch.complex128 if source.dtype.is_complex else torch.float64
        self.dtype = kind
        A = source.entries()
        if A is None:
            entries = source.dense().to(kind).cpu().resolve_conj().numpy()
            entries = entries - shift * np.eye(len(entries))
            factors = scipy.linalg.lu_factor(entries, overwrite_a=True)
            if not (np.diag(factors[0]) != 0).all():
                raise NotConvergedError(f"A − {shift:g} I is singular")
            self._solve: Any = lambda b: scipy.linalg.lu_solve(factors, b)
            return
        eye = scipy.sparse.eye_array(A.shape[0], dtype=A.dtype, format="csc")
        self._solve = solver_of(scipy.sparse.csc_array(A) - shift * eye, f"A − {shift:g} I")

    def apply(self, X: Tensor) -> Tensor:
        out = self._solve(np.ascontiguousarray(X.resolve_conj().numpy()))
        if not np.isfinite(out).all():
            raise NotConvergedError("the shift is an eigenvalue: move it a little")
        return torch.from_numpy(np.ascontiguousarray(out))


def solver_of(K: Any, name: str) -> Callable[[np.ndarray], np.ndarray]:
    """b → K⁻¹ b for a sparse symmetric K.

    Raises:
        NotConvergedError: it is singular, or its factors do not fit into memory.
    """
    try:
        factors = scipy.sparse.linalg.splu(scipy.sparse.csc_matrix(K), permc_spec="MMD_AT_PLUS_A")
    except (RuntimeError, MemoryError) as error:
        raise NotConvergedError(f"{name} could not be factorized: {error}") from error
    solve: Callable[[np.ndarray], np.ndarray] = factors.solve
    return solve


class _SelfAdjoint(Operator):
    """A LinearOperator that is its own adjoint: rmatvec is not needed."""

    def adjoint(self, Y: Tensor) -> Tensor:
        return self.apply(Y)


def hermitian(A: Any) -> Hermitian:
    """A matrix of any kind that :func:`schmidt.svd` takes, in its units, checked to be Hermitian.

    Exactly where the entries are at hand, else on random columns. Of what is read in blocks up to
    4,096 rows are put together; an iterator, which is read once, always is.

    Raises:
        ValueError: a matrix that is not square or not Hermitian; says what to do.
    """
    if isinstance(A, Iterator):
        A = list(A)
    if isinstance(A, LinearOperator):
        _square(A.shape)
        try:
            source: Source = in_units(_SelfAdjoint(A))
        except ValueError as error:
            if "not the adjoint" not in str(error):
                raise
            said = str(error).split(": ", 1)[1]
            raise ValueError(f"the LinearOperator is not Hermitian: {said}. {ADVICE}") from None
    else:
        source = in_units(source_of(A))
        _square(source.shape)
    n = source.shape[0]
    if source.structure in (BLOCKS, MAPPED, DASK) and n <= WHOLE:
        source = _together(source)
    norm = math.sqrt(source.norm2) if source.norm2 is not None else 0.0
    entries = source.entries()
    if entries is not None:
        skew = entries - entries.conj().T
        skewness = float(scipy.sparse.linalg.norm(skew)) if skew.nnz else 0.0
    elif source.structure.at_hand:
        M = source.dense()
        rows = (slice(i, i + 1024) for i in range(0, n, 1024))
        parts = [float(torch.linalg.vector_norm(M[r] - M[:, r].mH).double()) for r in rows]
        skewness = math.hypot(*parts)
    else:
        skewness, norm = _random_skewness(source, norm)
    if skewness > SKEW * source.eps * math.sqrt(n) * norm:
        raise ValueError(f"A is not Hermitian: ‖A − Aᴴ‖/‖A‖ is {skewness / norm:.1e}. {ADVICE}")
    return Hermitian(source, _rounding(source, entries, norm) + skewness + source.noise)


def _square(shape: tuple[int, int]) -> None:
    if shape[0] != shape[1]:
        raise ValueError(f"eigh needs a square matrix, got shape {tuple(shape)}: use schmidt.svd")


def _together(source: Source) -> Source:
    given = source.dense()
    whole = Dense(given)
    whole.noise, whole.unit = source.noise, source.unit * whole.unit
    whole.give = source.give  # type: ignore[method-assign]
    return whole


def _random_skewness(source: Source, norm: float) -> tuple[float, float]:
    """About ‖A − Aᴴ‖_F and ‖A‖_F, from two random columns."""
    generator = torch.Generator().manual_seed(0)
    X = random_normal(source.shape[1], 2, source.empty(), generator)
    forth, back = source.apply(X), source.adjoint(X)
    sizes = [
        float(torch.linalg.vector_norm(x).double()) / math.sqrt(2) for x in (forth - back, forth)
    ]
    return sizes[0], norm or sizes[1]


def _rounding(source: Source, entries: Any, norm: float) -> float:
    """8 ε √n ‖A‖_F; for sparse A less, by its rows."""
    n = source.shape[0]
    worst = 8 * source.eps * max(math.sqrt(n), 4) * norm
    if entries is None or not entries.nnz:
        return worst
    longest = float(np.diff(entries.tocsr().indptr).max())
    return min(worst, 8 * source.eps * (4 + math.sqrt(longest)) * float(abs(entries).sum(1).max()))


@dataclass(frozen=True)
class RitzPairs:
    """A V x_i = θ_i V x_i + y_i with y_i orthogonal to V.

    Attributes:
        values: (d,) θ, ascending, in double precision.
        basis: V (n, d), orthonormal.
        x: (d, d) orthonormal.
        coupling: (w, d) coordinates of the y_i in orthonormal directions.
    """

    values: np.ndarray
    basis: Tensor
    x: Tensor
    coupling: np.ndarray

    def vectors(self, which: np.ndarray) -> Tensor:
        """(n, k) Ritz vectors."""
        return self.basis @ self.x[:, torch.as_tensor(which.copy())]

    @property
    def residuals(self) -> np.ndarray:
        """(d,) ‖y_i‖."""
        return np.linalg.norm(self.coupling, axis=0)


def choose(values: np.ndarray, k: int, which: str, shift: float = 0.0) -> np.ndarray:
    """Places of the k values that are asked for, the first one first."""
    key = {
        "largest": -values,
        "smallest": values,
        "magnitude": -np.abs(values),
        "nearest": np.abs(values - shift),
    }[which]
    return np.argsort(key, kind="stable")[:k]


def pairs_of(space: KrylovSpace) -> RitzPairs:
    """The Ritz pairs of A in a Krylov space of A."""
    values, x = torch.linalg.eigh((space.G + space.G.mH) / 2)
    y = space.leaving(x).cpu().resolve_conj().numpy()
    return RitzPairs(values.double().cpu().numpy(), space.basis.all, x, y.astype(_wide(y)))


def pairs_on(source: Source, V: Tensor) -> RitzPairs:
    """The Ritz pairs of A on the span of columns (n, d), with their residuals measured."""
    V = orthonormalize(V.to(source.dtype))[0]
    image = source.apply(V)
    H = V.mH @ image
    values, x = torch.linalg.eigh((H + H.mH) / 2)
    rest = image @ x - V @ (V.mH @ (image @ x))
    R = torch.linalg.qr(rest).R.cpu().resolve_conj().numpy()
    return RitzPairs(values.double().cpu().numpy(), V, x, R.astype(_wide(R)))


def _wide(a: np.ndarray) -> Any:
    return complex if np.iscomplexobj(a) else float


class PairSearch:
    """Pairs by block Krylov spaces of A with thick restarts, or of (A − σI)⁻¹.

    Args:
        source: A.
        which, shift: as for :func:`schmidt.eigh`.
        accuracy: relative, of the values.
        seed: of the start.
        inverse: σ, where the space is that of the inverse.
        start: (n, b) columns to begin with.
    """

    def __init__(
        self,
        source: Hermitian,
        k: int,
        which: str,
        shift: float,
        *,
        accuracy: float,
        seed: int,
        inverse: float | None = None,
        start: Tensor | None = None,
    ) -> None:
        self.source, self.which, self.shift = source, which, shift
        self.accuracy, self.at = accuracy, inverse
        n = source.shape[0]
        self.given = source if inverse is None else Inverse(source, inverse)
        generator = torch.Generator().manual_seed(seed)
        wide = source.structure.batched or source.structure == DASK
        b = min(block_size(k) if wide else 8 * (1 + k // 120), n)
        first = random_normal(n, b, self.given.empty(), generator) if start is None else start
        self.space = KrylovSpace(self.given, first, generator)
        self.restarts = 0

    def pairs(self, k: int) -> RitzPairs:
        """The Ritz pairs of A as they are, at least k of them where there is room."""
        if self.at is None:
            return pairs_of(self.space)
        values, x = torch.linalg.eigh((self.space.G + self.space.G.mH) / 2)
        nu = values.double().numpy()
        if self.which == "nearest":
            order = np.argsort(-np.abs(nu), kind="stable")
        else:  # 1/(λ − σ) from a shift beyond the end: the largest in size, of one sign
            order = np.argsort(-nu if self.which == "smallest" else nu, kind="stable")
        some = torch.as_tensor(order[: k + max(4, k // 4)].copy())
        return pairs_on(self.source, self.space.basis.all @ x[:, some])

    def advance(
        self, k: int, *, restarts: int = RESTARTS, most: int | None = None, steps: int = 0
    ) -> RitzPairs:
        """Grow until the k pairs asked for are accurate, up to ``most`` dimensions at a time,
        by ``steps`` blocks at least.

        Raises:
            NotConvergedError: they are not after so many restarts.
        """
        n = self.source.shape[0]
        most = min(most or max(6 * k, 400, 8 * self.space.block), n)
        for _ in range(steps):
            if not self.space.full and self.space.size + self.space.Q.shape[1] <= 2 * most:
                self.space.grow()
        due = min(k + self.space.block, n)
        while True:
            if self.space.size >= due or self.space.full:
                due = self.space.size + max(2 * self.space.block, self.space.size // 8)
                if not (self._near(k) or self.space.full):
                    continue
                pairs = self.pairs(k)
                if len(pairs.values) >= k and (self._accurate(pairs, k) or self.space.full):
                    return pairs
            if self.space.size + self.space.block > most < n and not self.space.full:
                pairs = self.pairs(k)
                self.restarts += 1
                if self.restarts > restarts:
                    worst = pairs.residuals[choose(pairs.values, k, self.which, self.shift)].max()
                    raise NotConvergedError(
                        f"{k} eigenpairs are not accurate to {self.accuracy:g} after {restarts} "
                        f"restarts: residuals up to {worst * self.source.unit:.1e} are left; a "
                        "preconditioner=, a lower accuracy= or another end (which=) may help"
                    )
                self._restart(k, most)
                due = self.space.size + 4 * self.space.block
            self.space.grow()

    def _near(self, k: int) -> bool:
        """Whether it is worth while to measure residuals, which costs a QR of k columns."""
        if self.at is None:
            return True
        values, x = torch.linalg.eigh((self.space.G + self.space.G.mH) / 2)
        some = torch.argsort(values.abs(), descending=True)[:k]
        r = torch.linalg.vector_norm(self.space.leaving(x[:, some]), dim=0)
        return bool((r <= 1e-2 * self.accuracy**0.5 * values[some].abs()).all())

    def _accurate(self, pairs: RitzPairs, k: int) -> bool:
        theta = pairs.values
        wanted = choose(theta, k, self.which, self.shift)
        r = pairs.residuals[wanted]
        size = max(float(np.abs(theta).max()), 1e-300)
        floor = max(4 * self.source.noise, 1e2 * self.source.eps * size)
        rest = np.delete(theta, wanted)
        gap = np.abs(theta[wanted][:, None] - rest).min(1) if len(rest) else np.full(k, size)
        error = np.minimum(r, r**2 / np.maximum(gap, 1e-300))
        right = error <= np.maximum(self.accuracy * np.abs(theta[wanted]), floor)
        return bool((right & (r <= np.maximum(self.accuracy * size, floor))).all())

    def _restart(self, k: int, most: int) -> None:
        """Keep the best Ritz vectors; what leaves the space stays the same."""
        space = self.space
        values, x = torch.linalg.eigh((space.G + space.G.mH) / 2)
        which = self.which if self.at is None else "magnitude"
        kept = min(k + max(k // 2, 2 * space.block), most // 2 + k // 2)
        some = choose(values.double().cpu().numpy(), kept, which, self.shift)
        x = x[:, torch.as_tensor(some.copy())]
        space.R = space.leaving(x)
        space.basis = Columns(space.basis.all @ x)
        space.G = torch.diag(values[torch.as_tensor(some.copy())]).to(space.G)
        space.open = torch.arange(len(some))

    def look_into(self, columns: Tensor) -> None:
        """Take directions (n, ·) into the space, where something may have been missed."""
        self.space.grow(columns.to(self.space.G))
