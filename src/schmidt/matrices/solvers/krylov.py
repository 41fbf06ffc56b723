"""Block Krylov for the leading singular triplets: few passes over A, each a product of matrices."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from schmidt.linalg import extend, orthonormalize, random_normal
from schmidt.matrices.solvers.triplets import NotConvergedError, Triplets, accurate_ones
from schmidt.matrices.sources.source import Source

SAFETY = 0.3
"""On the estimated error of the singular values, because the estimate is not a bound."""
STEPS = 5000
PASSES = 60
"""Over a matrix that is read again in every step, before its values are called inaccurate."""


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
    AᴴA V = V G + Q R E* as in block Lanczos. Ritz triplets (W = A V, V x, W x/s) satisfy
    A v = s u by construction, and the norm of Aᴴu − s v is ‖R x_last‖/s without another product.

    Args:
        source: A (m, n), best with m ≥ n.
        rank: k.
        accuracy: wanted relative error of the singular values; their error is of second order in
            the residual, r²/s, up to gaps. It is not a bound: the certificate is.
        seed: of X.
        block: columns of X; default 12, 24 or 48, by k.
        largest: dimension of the space at which to give up; default n.

    Raises:
        NotConvergedError: the space reached ``largest``.

    Cost: two products of A with ``block`` columns per step, and 4 n d² for the orthogonality of a
    space of dimension d.
    """
    n = source.shape[1]
    generator = torch.Generator().manual_seed(seed)
    b = min(block or block_size(rank), n)
    first = random_normal(n, b, source.empty(), generator)
    return advance(KrylovSpace(source, first, generator), rank, accuracy=accuracy, largest=largest)


def advance(
    space: KrylovSpace, rank: int, *, accuracy: float = 1e-6, largest: int | None = None
) -> Triplets:
    """Grow a space until its leading ``rank`` triplets are accurate: see :func:`block_krylov`."""
    n = space.source.shape[1]
    largest = n if largest is None else min(largest, n)
    due = rank
    while True:
        if space.size >= due or space.full:
            # Ritz values of a large space are not free
            due = space.size + max(0, space.size - 400) // 8
            s, x = _leading(space, rank)
            outside = torch.linalg.vector_norm(space.leaving(x), dim=0)
            rest = (float(space.G.diagonal().real.sum()) - float(s.square().sum())) / space.size
            if converged(s, outside, max(rest, 0.0), accuracy) or space.full:
                found = _triplets(space, x, accuracy)
                if bool(accurate_ones(found, accuracy).all()):
                    return found
            if space.full or due + space.block > largest < n:
                found = _triplets(space, x, accuracy)
                good = int(accurate_ones(found, accuracy).long().cumprod(0).sum())
                raise NotConvergedError(
                    f"{rank} triplets are not accurate to {accuracy:g} in a Krylov space of "
                    f"dimension {space.size}: residuals up to {_worst(found):.1e} σ₁ are left; a "
                    "lower accuracy= or another rank may help",
                    found.truncate(good) if good else None,
                    replace(found, short=True),
                )
        space.grow()


def block_size(rank: int) -> int:
    """Wide blocks make fast products, narrow ones high degrees. BLAS likes multiples of 12."""
    return 12 if rank <= 12 else 24 if rank <= 120 else 48


def passes(rank: int) -> int:
    """The largest Krylov space of a matrix that is read again in every step."""
    return max(PASSES * block_size(rank), 2 * rank)


class Columns:
    """Columns that grow by blocks, one after the other in one piece of memory."""

    def __init__(self, first: Tensor) -> None:
        rows, self.size = first.shape
        self._memory = first.new_empty(12 * max(self.size, 1), rows)
        self._memory[: self.size] = first.T

    def append(self, block: Tensor) -> None:
        b = block.shape[1]
        if self.size + b > len(self._memory):
            grown = block.new_empty(max(2 * len(self._memory), 12 * b), len(block))
            grown[: self.size] = self._memory[: self.size]
            self._memory = grown
        self._memory[self.size : self.size + b] = block.T
        self.size += b

    @property
    def all(self) -> Tensor:
        return self._memory[: self.size].T


class KrylovSpace:
    """A block Krylov space of H = AᴴA that can go on: H V = V G + Q R Eᴴ.

    V (n, d) is orthonormal, Q (n, w) orthonormal and orthogonal to it, and E picks the columns of V
    whose image leaves the space, ``open``. Where images W = A V are kept, small singular values are
    had from them. Columns of Q whose rows of R vanish are fresh random directions: a space that is
    exhausted goes on.

    Args:
        source: A (m, n).
        first: (n, b) columns to begin with.
        generator: of fresh directions.
    """

    def __init__(self, source: Source, first: Tensor, generator: torch.Generator) -> None:
        self.source, self.generator = source, generator
        self.products = 0
        self.name = source.solver or "krylov"
        V, _ = orthonormalize(first)
        self.block = V.shape[1]
        self.basis, self.images = Columns(V), Columns(V.new_empty(source.shape[0], 0))
        self.G = V.new_empty(0, 0)
        self.open = torch.arange(0)
        self._multiply(V, 0)

    @classmethod
    def of(cls, found: Triplets, source: Source, seed: int) -> KrylovSpace:
        """The space of triplets with A v = s u, whoever found them."""
        space = cls.__new__(cls)
        space.source, space.generator = source, torch.Generator().manual_seed(seed)
        space.products = found.products
        space.name = str(found.settings.get("solver", "krylov"))
        space.block = min(block_size(len(found.values)), source.shape[1])
        image = found.left * found.values.to(found.left)
        space.basis, space.images = Columns(found.right), Columns(image)
        back = source.adjoint(image)
        space.products += image.shape[1]
        C, space.Q, space.R = extend(found.right, back, space.generator)
        space.G, space.open = (C + C.mH) / 2, torch.arange(len(found.values))
        return space

    @property
    def size(self) -> int:
        """d."""
        return self.basis.size

    @property
    def room(self) -> int:
        """How many dimensions are left."""
        return self.source.shape[1] - self.basis.size

    @property
    def full(self) -> bool:
        """Whether the space is everything."""
        return self.room == 0

    def grow(self, extra: Tensor | None = None) -> None:
        """One more block: what leaves the space, and ``extra`` (n, ·) directions to look into.

        A space that is everything stays what it is.
        """
        if self.full:
            return
        Q = self.Q[:, : self.room]
        width = 0 if extra is None else min(extra.shape[1], self.room - Q.shape[1])
        if extra is not None and width > 0:
            basis = torch.cat([self.basis.all, Q], 1)
            Q = torch.cat([Q, extend(basis, extra[:, :width], self.generator)[1]], 1)
        self.basis.append(Q)
        # H V_open leaves the space through Q, so H Q comes back to V_open and to nothing before it
        self._multiply(Q, int(self.open[0]) if len(self.open) else 0)

    def fresh(self, columns: int) -> Tensor:
        """Random directions."""
        return random_normal(self.source.shape[1], columns, self.G, self.generator)

    def _multiply(self, Q: Tensor, near: int) -> None:
        """Products with the columns that V has just got, and what of them leaves it."""
        d, w = self.basis.size, Q.shape[1]
        image, Z = self.source.normal(Q)
        self.products += w
        if image is not None:
            self.images.append(image)
        room = self.room
        if room >= w:
            C, self.Q, self.R = extend(self.basis.all, Z, self.generator, near=near)
        else:
            C = self.basis.all.mH @ Z
            self.Q, self.R = Z[:, :0], Z.new_zeros(0, w)
            if room:  # too narrow for a block: what is left is all of the rest
                rest = random_normal(len(Z), room, Z, self.generator)
                _, self.Q, _ = extend(self.basis.all, rest, self.generator)
                self.R = self.Q.mH @ Z
        old = len(self.G)
        self.G = torch.cat(
            [torch.cat([self.G, C[:old]], 1), torch.cat([C[:old].mH, _hermitian(C[old:])], 1)]
        )
        self.open = torch.arange(d - w, d)

    def ritz(self) -> tuple[Tensor, Tensor]:
        """All d Ritz values of H, descending, and the vectors x of V x."""
        values, vectors = torch.linalg.eigh(_hermitian(self.G))
        return values.flip(0).clamp_min(0), vectors.flip(1)

    def leaving(self, x: Tensor) -> Tensor:
        """R Eᴴ x, (w, ·): the part of H V x outside of the space, in coordinates of Q."""
        return self.R @ x[self.open]


def _hermitian(a: Tensor) -> Tensor:
    return (a + a.mH) / 2


def gram(dtype: torch.dtype) -> float:
    """Smallest σ/σ₁ for which a singular value may be taken from the Gram matrix: 6e-6 in float64.

    The square of σ carries the rounding of σ₁², so its relative error is ε (σ₁/σ)² = ε^(1/3).
    """
    return float(torch.finfo(dtype).eps ** (1 / 3))


def _leading(space: KrylovSpace, rank: int) -> tuple[Tensor, Tensor]:
    """Leading singular values and right singular vectors (d, k) in the space, from its Gram matrix
    where that is exact enough."""
    values, x = space.ritz()
    top = values[:rank]
    images = space.images.all
    if bool(top[-1] > gram(images.dtype) ** 2 * top[0]) or not images.shape[1]:
        return top.sqrt(), x[:, :rank]
    _, s, vh = torch.linalg.svd(torch.linalg.qr(images).R, full_matrices=False)
    return s[:rank], vh.mH[:, :rank]


def _worst(found: Triplets) -> float:
    assert found.residuals is not None
    return float((found.residuals / found.values[0].clamp_min(1e-300)).max())


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


def _triplets(space: KrylovSpace, x: Tensor, accuracy: float) -> Triplets:
    source, settings = space.source, _settings(space)
    if not space.images.all.shape[1]:
        return source.triplets(space.basis.all @ x, settings).of(space)
    # A last QR of A v makes u orthonormal to rounding, and σ as accurate as that of A v
    image = space.images.all @ x
    length = torch.linalg.vector_norm(image, dim=0)
    length = torch.where(length > 0, length, torch.ones_like(length))
    Q, small = orthonormalize(image / length)
    inner, s, rotation = torch.linalg.svd(small * length)
    turned = rotation.mH
    left, right = Q @ inner, space.basis.all @ (x @ turned)
    outside = torch.linalg.vector_norm(space.leaving(x @ turned), dim=0)
    # r s is known up to rounding in σ₁², which says nothing about small σ: those are measured
    rounding = 10 * torch.finfo(s.dtype).eps * s[0].square()
    enough = (10 * torch.finfo(s.dtype).eps) ** 0.5 / accuracy**0.25
    known = s > max(gram(s.dtype), enough) * s[0]
    residuals = (outside + rounding) / torch.where(known, s, torch.ones_like(s))
    if not bool(known.all()):
        rest = ~known
        back = source.adjoint(left[:, rest]) - right[:, rest] * s[rest]
        residuals[rest] = torch.linalg.vector_norm(back, dim=0)
        space.products += int(rest.sum())
    return Triplets(left, s, right, residuals, None, space.products, settings, 0.0, space)


def _settings(space: KrylovSpace) -> dict[str, object]:
    return {
        "solver": space.name,
        "block": space.block,
        "dimension": space.size,
    }


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
