"""The smallest singular values: what is below rounding is said to be below it, never in digits.

‖A − A_k‖ says nothing at this end. By Courant and Fischer the j-th smallest singular value is no
larger than that of A on any span of j columns; that it is no smaller takes a full decomposition, or
a count of the singular values below a cut (``inertia``).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from schmidt.certificate import Bound
from schmidt.linalg import orthonormalize, random_normal
from schmidt.matrices.certify import rounding
from schmidt.matrices.hermitian import Hermitian, solver_of
from schmidt.matrices.inertia import augmented, count_above, factorable
from schmidt.matrices.solvers.choice import ENTRIES
from schmidt.matrices.solvers.krylov import KrylovSpace, block_size
from schmidt.matrices.solvers.triplets import NotConvergedError, Triplets, lapack
from schmidt.matrices.sources.source import Source

SMALL = 1000
"""min(m, n) up to which sparse matrices are decomposed as a whole."""
LARGE = 8192
"""min(m, n) up to which any matrix is."""
STEPS = 60
ROUNDS = 8
ADVICE = (
    "the smallest singular values need a matrix of at most 8,192 rows or columns, or a sparse one "
    "whose graph has narrow separators; a LinearOperator has no entries to factorize"
)


class NormalInverse(Hermitian):
    """(AᴴA + η²)⁻¹, by a factorization of [[ηI, A], [Aᴴ, −ηI]]: AᴴA is never formed."""

    def __init__(self, source: Source, A: Any, eta: float) -> None:
        super().__init__(source, source.noise)
        m, n = source.shape
        self.shape, self.rows, self.eta = (n, n), m, eta
        self._solve = solver_of(augmented(A, eta, -eta), "A")

    def apply(self, X: Tensor) -> Tensor:
        given = X.resolve_conj().numpy()
        right = np.concatenate([np.zeros((self.rows, given.shape[1]), given.dtype), given])
        out = self._solve(right)[self.rows :] / -self.eta
        return torch.from_numpy(np.ascontiguousarray(out))


def smallest(
    source: Source, k: int, *, accuracy: float, seed: int
) -> tuple[Triplets, dict[str, Bound], str, float]:
    """The k smallest singular triplets of A (m, n), m ≥ n, ascending.

    Returns:
        The triplets, with zeros for values that are rounding; bounds of ``values``, ``residuals``
        and ``missed``; how completeness was found out, or ""; and the size of rounding.

    Raises:
        ValueError: a matrix that is too large to be decomposed or factorized.
        NotConvergedError: the values are not accurate after so many steps.
    """
    if source.solver:
        if source.most < source.small:
            raise ValueError(
                "blocks that are read once forget the smallest values: give a list of blocks, or a "
                "function that returns a new iterator"
            )
        if source.solver == "dask":
            raise ValueError(f"{ADVICE}; call .compute() where the array fits into memory")
        every = source.solve(source.small, accuracy=accuracy, seed=seed)
        return _of_all(source, every, k)
    A = source.entries()
    m, n = source.shape
    sparse = A is not None and n > SMALL and factorable(augmented(A, 1.0, 1.0))
    if not sparse:
        if n > LARGE or m * n > ENTRIES:
            raise ValueError(f"{ADVICE}; got shape ({m}, {n})")
        return _of_all(source, lapack(source), k)
    return _by_inverse(source, A, k, accuracy, seed)


def _of_all(
    source: Source, every: Triplets, k: int
) -> tuple[Triplets, dict[str, Bound], str, float]:
    noise = rounding(source, every)
    order = torch.arange(len(every.values) - 1, len(every.values) - k - 1, -1)
    s = every.values[order].double().cpu().numpy()
    residuals = every.errors(noise)[order.numpy()]
    found = Triplets(every.left[:, order], every.values[order], every.right[:, order])
    bounds = {
        "values": Bound(np.maximum(s - noise, 0.0), s + noise),
        "residuals": Bound(0.0, residuals),
        "missed": Bound(0.0, noise),
    }
    return _without_rounding(found, noise), bounds, "full decomposition", noise


def _by_inverse(
    source: Source, A: Any, k: int, accuracy: float, seed: int
) -> tuple[Triplets, dict[str, Bound], str, float]:
    n = source.shape[1]
    norm = math.sqrt(source.norm2 or 1.0)
    size = min(norm, math.sqrt(float(abs(A).sum(0).max()) * float(abs(A).sum(1).max())))
    inverse = NormalInverse(source, A, 1e-5 * size)
    generator = torch.Generator().manual_seed(seed)
    first = random_normal(n, min(8 * (1 + k // 120), n), inverse.empty(), generator)
    space = KrylovSpace(inverse, first, generator)
    extra, found = 0, None
    bounds: dict[str, Bound] = {}
    way, noise = "", 0.0
    for _ in range(ROUNDS):
        found = _converged(space, source, min(k + extra, n), accuracy, size)
        noise = min(rounding(source, found), 64 * source.eps * size * math.sqrt(block_size(k)))
        bounds, way, missing = _judged(source, A, found, k, noise)
        if not missing:
            break
        extra += missing
        space.grow(space.fresh(min(missing + 8, space.room)))
        for _ in range(6):
            if not space.full:
                space.grow()
    assert found is not None
    if not bounds:  # something is missing, and was not found
        s = found.values[:k].double().numpy()
        bounds = {"values": Bound(0.0, s + noise), "missed": Bound(0.0, float(s[-1]) + noise)}
        way = ""
    found = _without_rounding(found.truncate(k), noise)
    # residuals of the size of rounding say nothing of values that are no larger
    lows = torch.as_tensor(np.broadcast_to(bounds["values"].low, (k,)).copy())
    vague = (lows == 0) & (found.values.double() <= 1e3 * source.eps * norm)
    values = torch.where(vague, torch.zeros_like(found.values), found.values)
    return replace(found, values=values), bounds, way, noise


def _converged(
    space: KrylovSpace, source: Source, k: int, accuracy: float, size: float
) -> Triplets:
    for _ in range(STEPS):
        if space.size >= k + 4 or space.full:
            values, x = torch.linalg.eigh((space.G + space.G.mH) / 2)
            some = torch.argsort(values, descending=True)[: k + 4]
            r = torch.linalg.vector_norm(space.leaving(x[:, some[:k]]), dim=0)
            near = r <= 1e-2 * accuracy**0.5 * values[some[:k]].abs()
            if bool(near.all()) or space.full:
                found = _triplets(source, space.basis.all @ x[:, some])
                s = found.values[:k].double()
                assert found.residuals is not None
                enough = torch.clamp(accuracy**0.5 * s, min=1e3 * source.eps * size)
                if space.full or bool((found.residuals[:k] <= enough).all()):
                    return found
        if not space.full:
            space.grow()
    raise NotConvergedError(
        f"the {k} smallest values are not accurate after {STEPS} steps: ask for another number"
    )


def _triplets(source: Source, V: Tensor) -> Triplets:
    """Those of A on the span of V, ascending; where s is rounding, only ‖A v‖ is measured."""
    V = orthonormalize(V)[0]
    image = source.apply(V)
    Q, R = torch.linalg.qr(image)
    inner, s, rotation = torch.linalg.svd(R)
    left, s = (Q @ inner).flip(1), s.flip(0)
    V = (V @ rotation.mH.resolve_conj()).flip(1)
    residuals = torch.linalg.vector_norm(source.adjoint(left) - V * s, dim=0)
    gone = s <= 1e3 * source.eps * math.sqrt(source.norm2 or 1.0)
    return Triplets(left, s, V, torch.where(gone, s, residuals))


def _judged(
    source: Source, A: Any, found: Triplets, k: int, noise: float
) -> tuple[dict[str, Bound], str, int]:
    """Bounds, and how many values were missed below the largest of those asked for."""
    n = source.shape[1]
    s = found.values.double().numpy()
    assert found.residuals is not None
    r = found.residuals.double().numpy()
    known = s > 4 * noise
    low, high = np.zeros(k), s[:k] + noise
    way, missed = "", float(s[k - 1])
    for J in (*range(k, len(s)), *range(k - 1, -1, -1)):  # inside of a group: below it
        width = float(np.linalg.norm(r[:J][known[:J]])) + 2 * noise
        before = float(s[J - 1]) if J else 0.0
        gap = float(s[J]) - before
        if gap <= 8 * width:
            continue
        cut = before + min(gap / 3, max(4 * width, gap / 10))
        if k > J:  # as close to the group as residuals allow
            cut = float(s[J]) - min(gap / 3, max(4 * width, 1e-3 * float(s[J])))
        counted = count_above(A, cut)
        if counted is None or counted[1] > gap / 12:
            continue
        below = n - counted[0]
        if below > J:
            return {}, "inertia", below - J
        if below == J:
            way = "inertia"
            low = np.where(known[:k], np.maximum(s[:k] - width, 0.0), 0.0)
            low[J:] = cut - counted[1]
            missed = max(width, float(s[k - 1]) - cut + counted[1] if k > J else 0.0)
        break
    bounds = {
        "values": Bound(low, high),
        "residuals": Bound(0.0, r[:k] + noise),
        "missed": Bound(0.0, missed),
    }
    return bounds, way, 0


def _without_rounding(found: Triplets, noise: float) -> Triplets:
    """Zeros for values that are no larger than rounding."""
    s = found.values
    values = torch.where(s.double() <= noise, torch.zeros_like(s), s)
    return Triplets(found.left, values, found.right, found.residuals)
