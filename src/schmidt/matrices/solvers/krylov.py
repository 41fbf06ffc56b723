"""Block Krylov for the leading singular triplets: few passes over A, each a product of matrices."""

from __future__ import annotations

import torch
from torch import Tensor

from schmidt.linalg.bases import extend, orthonormalize, random_normal
from schmidt.matrices.solvers.triplets import Triplets
from schmidt.matrices.sources.source import Source

SAFETY = 0.3
"""On the estimated error of the singular values, because the estimate is not a bound."""


class NotConvergedError(RuntimeError):
    """A solver stopped before its triplets were as accurate as asked.

    ``found`` holds the leading ones that are, where the solver hands them over.
    """

    def __init__(self, message: str, found: Triplets | None = None) -> None:
        super().__init__(message)
        self.found = found


def block_krylov(
    source: Source,
    rank: int,
    *,
    accuracy: float = 1e-6,
    seed: int = 0,
    block: int | None = None,
    largest: int | None = None,
) -> Triplets:
    """The leading triplets from span{X, AᴴA X, (AᴴA)² X, …} of a Gaussian block X.

    Musco and Musco 2015, with an orthonormal basis V kept by block Gram–Schmidt, so that
    AᴴA V = V T + Q R E* as in block Lanczos. Ritz triplets (W = A V, V x, W x/s) satisfy
    A v = s u by construction, and the norm of Aᴴu − s v is ‖R x_last‖/s without another product.

    Args:
        source: A (m, n) with m ≥ n.
        rank: k.
        accuracy: wanted relative error of the singular values; their error is of second order in
            the residual, r²/s, up to gaps. It is not a bound: the certificate is.
        seed: of X.
        block: columns of X; default 12, 24 or 48, by k.
        largest: dimension of the space at which to give up; default n.

    Raises:
        NotConvergedError: the space reached ``largest``.

    Cost: two products of A with ``block`` columns per step, and 4 (m + n) d² for the orthogonality
    of a space of dimension d.
    """
    n = source.shape[1]
    generator = torch.Generator().manual_seed(seed)
    b = min(block or block_size(rank), n)
    largest = n if largest is None else min(largest, n)
    V, _ = orthonormalize(random_normal(n, b, source.empty(), generator))
    basis, images = Columns(V), Columns(source.apply(V))
    G = images.last.mH @ images.last
    products, due = b, rank
    while True:
        Z = source.adjoint(images.last)
        products += images.last.shape[1]
        width = min(b, n - basis.size)
        if width:
            _, Q, R = extend(basis.all, Z, generator)
            Q, R = Q[:, :width], R
        else:
            R = torch.zeros_like(G[:b, :b])
        if basis.size >= due or not width:
            # Ritz values of a large space are not free
            due = basis.size + max(0, basis.size - 400) // 8
            s, x = _ritz(G, images.all, rank)
            outside = torch.linalg.vector_norm(R @ x[-R.shape[1] :], dim=0)
            rest = (float(G.diagonal().real.sum()) - float(s.square().sum())) / basis.size
            if converged(s, outside, max(rest, 0.0), accuracy) or not width:
                found = _triplets(source, basis, images, x, R, products, b, accuracy)
                if accurate(found, accuracy):
                    return found
                products = found.products
            if not width or due + b > largest < n:
                raise NotConvergedError(
                    f"{rank} triplets are not accurate to {accuracy:g} in a Krylov space of "
                    f"dimension {basis.size}"
                )
        basis.append(Q)
        new = source.apply(Q)
        products += width
        images.append(new)
        cross = images.all.mH @ new
        G = torch.cat([torch.cat([G, cross[: len(G)]], 1), cross.mH], 0)


def accurate(triplets: Triplets, accuracy: float) -> bool:
    """Are all residuals so small that the values are accurate to second order, or rounding?"""
    return bool(accurate_ones(triplets, accuracy).all())


def accurate_ones(triplets: Triplets, accuracy: float) -> Tensor:
    """(k,) of which triplets :func:`accurate` is true."""
    r, s = triplets.residuals, triplets.values
    assert r is not None
    rounding = 1e3 * torch.finfo(s.dtype).eps * s[0]
    return r <= torch.maximum(accuracy**0.5 * s, rounding)


def block_size(rank: int) -> int:
    """Wide blocks make fast products, narrow ones high degrees. BLAS likes multiples of 12."""
    return 12 if rank <= 12 else 24 if rank <= 120 else 48


class Columns:
    """Columns that grow by blocks, in one piece of memory."""

    def __init__(self, first: Tensor) -> None:
        rows, b = first.shape
        self._memory = first.new_empty(rows, 6 * b)
        self._memory[:, :b] = first
        self.size, self._width = b, b

    def append(self, block: Tensor) -> None:
        b = block.shape[1]
        if self.size + b > self._memory.shape[1]:
            grown = block.new_empty(len(block), 2 * self._memory.shape[1])
            grown[:, : self.size] = self.all
            self._memory = grown
        self._memory[:, self.size : self.size + b] = block
        self.size, self._width = self.size + b, b

    @property
    def all(self) -> Tensor:
        return self._memory[:, : self.size]

    @property
    def last(self) -> Tensor:
        return self._memory[:, self.size - self._width : self.size]


def gram(dtype: torch.dtype) -> float:
    """Smallest σ/σ₁ for which a singular value may be taken from the Gram matrix: 6e-6 in float64.

    The square of σ carries the rounding of σ₁², so its relative error is ε (σ₁/σ)² = ε^(1/3).
    """
    return float(torch.finfo(dtype).eps ** (1 / 3))


def _ritz(G: Tensor, W: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Singular values and right singular vectors (d, k) of W, from G = WᴴW where that is exact
    enough."""
    values, vectors = torch.linalg.eigh((G + G.mH) / 2)
    top = values.flip(0)[:rank]
    if bool(top[-1] > gram(G.dtype) ** 2 * top[0]):
        return top.sqrt(), vectors.flip(1)[:, :rank]
    _, s, vh = torch.linalg.svd(torch.linalg.qr(W).R, full_matrices=False)
    return s[:rank], vh.mH[:, :rank]


def converged(s: Tensor, outside: Tensor, rest: float, accuracy: float) -> bool:
    """Are the singular values accurate, to second order?

    What the space lacks is the block behind it. Its Rayleigh quotient is about ``rest``, the mean
    of those that the space holds and nobody wants, and the coupling of AᴴA to it is ``outside``
    = r s. So s² is too small by about (r s)²/(s² − rest).
    """
    rounding = 10 * torch.finfo(s.dtype).eps * s[0]
    gap = (s.square() - rest).clamp_min(0)
    small = outside.square() <= 2 * SAFETY * accuracy * s.square() * gap
    return bool((small | (s <= rounding) | (outside <= rounding * s)).all())


def _triplets(
    source: Source,
    basis: Columns,
    images: Columns,
    x: Tensor,
    R: Tensor,
    products: int,
    block: int,
    accuracy: float,
) -> Triplets:
    # A last QR of A v makes u orthonormal to rounding, and σ as accurate as that of A v
    Q, small = torch.linalg.qr(images.all @ x)
    inner, s, rotation = torch.linalg.svd(small)
    turned = rotation.mH
    left, right = Q @ inner, basis.all @ (x @ turned)
    outside = torch.linalg.vector_norm(R @ (x[-R.shape[1] :] @ turned), dim=0)
    # r s is known up to rounding in σ₁², which says nothing about small σ: those are measured
    rounding = 10 * torch.finfo(s.dtype).eps * s[0].square()
    enough = (10 * torch.finfo(s.dtype).eps) ** 0.5 / accuracy**0.25
    known = s > max(gram(s.dtype), enough) * s[0]
    residuals = (outside + rounding) / torch.where(known, s, torch.ones_like(s))
    if not bool(known.all()):
        rest = ~known
        back = source.adjoint(left[:, rest]) - right[:, rest] * s[rest]
        residuals[rest] = torch.linalg.vector_norm(back, dim=0)
        products += int(rest.sum())
    settings = {
        "solver": "krylov",
        "block": block,
        "steps": -(-basis.size // block),
        "dimension": basis.size,
    }
    return Triplets(left, s, right, residuals, None, products, settings)


STEPS = 5000


def power_iteration(
    source: Source, rank: int | float, *, accuracy: float = 1e-6, seed: int = 0, steps: int = STEPS
) -> Triplets:
    """v ← XᵀX v/‖XᵀX v‖ until it stands still; then x_i ← x_i − ⟨x_i, v⟩ v, and again.

    Deflation is a projection of v, so that X is never changed. Converges like (σ₂/σ₁)² per step;
    equal values are fine (any direction of their space will do), nearly equal ones are slow.

    Args:
        source: X (m, n), real.
        rank: k, or the share of ‖X‖_F² that the components are to explain.
        accuracy: relative change of σ per step, relative to what is still to come, at which to
            stop.
        seed: of the starting vectors.
        steps: per component.

    Raises:
        NotConvergedError: after so many steps of one component.
    """
    n = source.shape[1]
    generator = torch.Generator().manual_seed(seed)
    V = torch.zeros(n, 0, dtype=source.dtype)
    values: list[float] = []
    left: list[torch.Tensor] = []
    most = rank if isinstance(rank, int) else source.small
    energy = 0.0
    while len(values) < most:
        v = torch.randn(n, 1, dtype=torch.float64, generator=generator).to(source.dtype)
        v, image, s = _component(source, V, v, accuracy, steps, values)
        V = torch.cat([V, v], 1)
        values.append(s)
        left.append(image / s if s > 0 else image)
        energy += s * s
        if isinstance(rank, float) and energy >= rank * (source.norm2 or 0.0):
            break
    s_all = torch.tensor(values, dtype=source.dtype)
    return Triplets(torch.cat(left, 1), s_all, V, settings={"solver": "power"})


def _component(
    source: Source,
    V: torch.Tensor,
    v: torch.Tensor,
    accuracy: float,
    steps: int,
    found: list[float],
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """The leading v orthogonal to V, X v and σ."""
    rounding = 100 * torch.finfo(source.dtype).eps
    v = _project(V, v)
    for _ in range(steps):
        image = source.apply(v)
        s = float(torch.linalg.vector_norm(image))
        if s <= rounding * max([s, *found]):
            return v, image, s
        back = source.adjoint(image)
        step = _project(V, back)
        # ‖XᵀX v − σ² v‖ / σ², whose square is the relative error of σ² up to the gap
        residual = float(torch.linalg.vector_norm(back - V @ (V.mH @ back) - s * s * v)) / s**2
        v = step
        if residual <= max(accuracy**0.5 * 1e-2, rounding):
            image = source.apply(v)
            return v, image, float(torch.linalg.vector_norm(image))
    raise NotConvergedError(
        f"component {len(found) + 1} has not converged after {steps} power iterations: its "
        "variance is nearly that of the next one; use solver='auto'"
    )


def _project(V: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    for _ in range(2):
        v = v - V @ (V.mH @ v)
        v = v / torch.linalg.vector_norm(v).clamp_min(torch.finfo(v.dtype).tiny)
    return v
