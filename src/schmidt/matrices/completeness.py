"""Was a singular value missed? Upper bounds of every σ_j, from what an answer leaves of A.

Let V (n, d) be an orthonormal basis with Ritz pairs (λ_i, x_i) of H = AᴴA, λ_i descending, and
P = I − V Vᴴ. By Courant and Fischer σ_j² is at most the norm of H behind the first j − 1 Ritz
vectors, which is the block matrix

    [ diag(λ_i), i ≥ j    Y* ]
    [ Y                   P H P ],    y_i = P H V x_i,

and by Schur's complement that is at most z as soon as z > λ_j and

    ‖A P‖₂² + ‖Σ_{i≥j} y_i y_i*/(z − λ_i)‖₂ ≤ z.                                                (1)

The Ritz values and the couplings y_i are known; ‖A P‖₂ alone is not. It is zero where V is
everything, at most the rest of ‖A‖_F², and otherwise bounded from random columns (``probe``). With
σ_j ≥ s_j (Cauchy) every σ_j is enclosed, and the same bound for j = k + 1 is one of ‖A − A_k‖₂. V
may be the whole Krylov space, behind which little of A is left, or the triplets alone.

For sparse A whose rows are neighbours the number of singular values above a cut is *counted*
(``inertia``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from schmidt.linalg import random_normal
from schmidt.matrices.inertia import band_order, count_above
from schmidt.matrices.probe import Prober
from schmidt.matrices.solvers.triplets import Triplets
from schmidt.matrices.sources.source import Source

DENSE, NARROW = 8, 4
"""Random columns for dense matrices, whose products are wide, and for others."""
SMALL = 64
"""Columns up to which all of what is left is looked at."""
HALVINGS = 30
"""Of the logarithms of bounds, over 36 decades: to 1e-7."""
FINE = 8
"""Products more than are enough, to prove the values right and not only complete."""


@dataclass(frozen=True)
class Proof:
    """What is known of the singular values of A beside an answer; rounding is not in it.

    Attributes:
        highs: (k + 1,) upper bounds of σ_1 … σ_k, and of ‖A − A_k‖₂.
        lower: a lower bound of ‖A − A_k‖₂.
        failure: the probability that an upper bound is wrong.
        way: how they were found.
        products: columns that A or Aᴴ was applied to.
        missed: (n, c) directions in which there is more of A than the answer's last value.
    """

    highs: np.ndarray
    lower: float
    failure: float
    way: str
    products: int = 0
    missed: Tensor | None = None


@dataclass(frozen=True)
class Deflation:
    """V, its Ritz values and what couples them to the rest.

    Attributes:
        basis: V, (n, d).
        squares: (d,) λ_i, descending.
        coupling: (w, d) coordinates of the y_i, or (d,) their norms.
        floor: rounding of a y_i.
    """

    basis: Tensor
    squares: np.ndarray
    coupling: np.ndarray
    floor: float

    def load(self, z: float, first: int) -> float:
        """‖Σ_{i≥first} y_i y_i*/(z − λ_i)‖, or more."""
        weight = 1 / np.maximum(z - self.squares[first:], 1e-300)
        if not len(weight):
            return 0.0
        y = self.coupling[..., first:]
        if y.ndim == 2:
            scaled = y * np.sqrt(weight)
            small = scaled.conj().T @ scaled if len(y) > y.shape[1] else scaled @ scaled.conj().T
            value = float(np.linalg.eigvalsh(small)[-1]) if small.size else 0.0
        else:
            value = float((y**2 * weight).sum())
        own = self.floor * math.sqrt(float(weight.sum()))
        return (math.sqrt(max(value, 0.0)) + own) ** 2

    def norms(self, first: int) -> np.ndarray:
        """(first,) |y_i| + rounding of the leading ones."""
        y = self.coupling[..., :first]
        return (np.linalg.norm(y, axis=0) if y.ndim == 2 else np.abs(y)) + self.floor

    def allowed(self, targets: np.ndarray, last: float | None) -> float:
        """The largest ‖A P‖₂² with which (1) gives σ_j² ≤ targets_j, and ‖A − A_k‖₂² ≤ last."""
        k = len(targets)
        lam, y = self.squares[:k], self.norms(k)
        rest = self.load(float(targets[-1]), k)
        after = np.triu(np.ones((k, k)))
        # a Ritz value that is not below the target of a later one is not behind it
        gaps = np.maximum(targets[:, None] - lam[None], 1e-300)
        room = targets - (after * y**2 / gaps).sum(1) - rest
        value = float(np.where(targets > lam, room, -np.inf).min())
        if last is not None:
            value = min(value, last - self.load(last, k) if last > self._behind(k) else -np.inf)
        return value

    def highs(self, beta2: float, k: int) -> np.ndarray:
        """(k + 1,) the least z of (1), for j = 1 … k and k + 1, as bounds of σ."""
        last = self._least(beta2, k)
        if k == 0:
            return np.sqrt([last])
        own = self._least(beta2, k - 1)
        lam, y = self.squares[:k], self.norms(k)
        load = self.load(own, k)
        after = np.triu(np.ones((k, k)))
        base = np.maximum(lam, beta2 + load)
        span = max(float(base[0]), 1e-200)
        low, high = np.full(k, math.log(1e-32 * span)), np.full(k, math.log(1e4 * span))
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            z = base + np.exp(middle)
            gaps = np.maximum(z[:, None] - lam[None], 1e-300)
            good = z - (after * y**2 / gaps).sum(1) - load >= beta2
            low, high = np.where(good, low, middle), np.where(good, middle, high)
        found = np.maximum(base + np.exp(high), own)
        return np.sqrt(np.r_[np.minimum.accumulate(found), last])

    def _behind(self, k: int) -> float:
        return float(self.squares[k]) if k < len(self.squares) else 0.0

    def _least(self, beta2: float, first: int) -> float:
        base = max(self._behind(first), beta2)
        span = max(base, float(self.squares[0]) * 1e-30, 1e-200)
        low, high = math.log(1e-32 * span), math.log(1e4 * span)
        while base + math.exp(high) - self.load(base + math.exp(high), first) < beta2:
            high += 5
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            z = base + math.exp(middle)
            good = z - self.load(z, first) >= beta2
            low, high = (low, middle) if good else (middle, high)
        return base + math.exp(high)


class Complement:
    """E = A (I − V Vᴴ) as its products."""

    def __init__(self, source: Source, basis: Tensor) -> None:
        self.source, self.basis = source, basis
        self.images = source.structure.images

    def apply(self, X: Tensor) -> Tensor:
        return self.source.apply(self._behind(X))

    def adjoint(self, Y: Tensor) -> Tensor:
        return self._behind(self.source.adjoint(Y))

    def normal(self, X: Tensor) -> Tensor:
        return self._behind(self.source.normal(self._behind(X))[1])

    def _behind(self, X: Tensor) -> Tensor:
        inside = self.basis.mH @ X
        rounding = 32 * torch.finfo(X.dtype).eps * torch.linalg.vector_norm(X)
        if bool(torch.linalg.vector_norm(inside) <= rounding):
            return X
        return X - self.basis @ inside


def establish(
    source: Source,
    found: Triplets,
    rank: int,
    *,
    completeness: float,
    noise: float,
    seed: int,
    failure: float,
    accuracy: float = 1e-6,
    sharp: float | None = None,
    demanded: bool = False,
) -> Proof:
    """Bounds of σ_1 … σ_k and ‖A − A_k‖₂, from the cheapest proof that is good enough.

    Args:
        source: A.
        found: K ≥ k triplets.
        rank: k.
        completeness: δ/s_k, for σ_j ≤ s_j + δ.
        noise: rounding of values and products.
        seed: of random columns, which must be new to ``found``.
        failure: probability that a bound may fail.
        accuracy: of the values; what is larger than s_k by more was missed.
        sharp: a number that the bound of ‖A − A_k‖₂ should get below, if it can.
        demanded: a proof of all values to ten times ``accuracy`` is wanted at any price.
    """
    s = found.values.double().cpu().numpy()
    known = s if found.spectrum is None else found.spectrum.double().cpu().numpy()
    after = float(known[rank]) if len(known) > rank else 0.0
    if source.norm2 == 0:
        return Proof(np.zeros(rank + 1), 0.0, 0.0, "zero")
    if found.spectrum is not None:
        return Proof(np.r_[known[:rank], after], after, 0.0, "full decomposition")
    if found.dropped is not None:
        highs = np.hypot(np.r_[s[:rank], after], found.dropped)
        return Proof(highs, after, 0.0, "what was dropped")
    delta = max(completeness * s[rank - 1], 2 * noise)
    targets = np.square(s[:rank] + max(delta - noise, 0.5 * delta))
    last = None if sharp is None or sharp <= after * 1.02 + 2 * noise else (sharp - noise) ** 2
    ways = _deflations(found, noise, s)
    if ways and len(ways[0].squares) > rank:  # A − A_k does to later Ritz vectors what A does
        behind = float(ways[0].squares[rank]) - ways[0].floor
        after = max(after, math.sqrt(max(behind, 0.0)))
    if not ways:
        return Proof(np.full(rank + 1, np.inf), after, 0.0, "nothing")
    if ways[0].basis.shape[1] >= source.shape[1]:
        return Proof(ways[0].highs(0.0, rank), after, 0.0, "full space")
    if last is None:
        counted = _by_count(source, found, rank, delta, noise, accuracy)
        if counted is not None:
            return counted
    goal = _Goal(s, rank, after, targets, last, noise, accuracy, sharp, demanded)
    for way in ways:
        rest = _rest(source, way)
        if rest <= way.allowed(goal.fine, last):
            return Proof(way.highs(rest, rank), after, 0.0, "rest of the energy")
    # both have columns of their own, and bounds that hold together
    ways.sort(key=lambda w: -_ease(w, w.allowed(targets, last), s, rank))
    best: Proof | None = None
    for number, way in enumerate(ways):
        proof, good = _by_probe(source, way, goal, [seed, number], failure / len(ways))
        if best is not None:
            highs, lower = np.minimum(best.highs, proof.highs), max(best.lower, proof.lower)
            products = best.products + proof.products
            proof = replace(proof, highs=highs, lower=lower, products=products, failure=failure)
        if good or proof.missed is not None:
            return proof
        best = proof
    assert best is not None
    return best


@dataclass(frozen=True)
class _Goal:
    """What is to be proven of an answer s of rank k: σ_j² ≤ targets_j, ‖A − A_k‖₂² ≤ last."""

    s: np.ndarray
    rank: int
    after: float
    targets: np.ndarray
    last: float | None
    noise: float
    accuracy: float
    sharp: float | None
    demanded: bool

    @property
    def missing(self) -> float:
        """The square that nothing behind the answer exceeds, unless something was missed."""
        value = float(self.s[self.rank - 1])
        value = value if self.sharp is None else min(value, self.sharp)
        return (value * (1 + 10 * self.accuracy) + 2 * self.noise) ** 2

    @property
    def fine(self) -> np.ndarray:
        """Targets with which the values are proven to be right, where that is to be had."""
        near = self.s[: self.rank] + 10 * self.accuracy * self.s[self.rank - 1] + 2 * self.noise
        return np.minimum(np.square(near), self.targets)


def _deflations(found: Triplets, noise: float, s: np.ndarray) -> list[Deflation]:
    """The whole Krylov space, and the triplets alone."""
    ways = []
    eps = float(torch.finfo(found.values.dtype).eps)
    if found.space is not None:
        squares, x = found.space.ritz()
        lam = squares.double().cpu().numpy().copy()
        lam[: len(s)] = np.maximum(lam[: len(s)], s[: len(lam)] ** 2)
        y = found.space.leaving(x).cpu().numpy()
        ways.append(Deflation(found.space.basis.all, lam, y, 20 * eps * float(s[0]) ** 2))
    if found.residuals is not None:
        r = found.errors(noise)
        ways.append(Deflation(found.right, s**2, s * r, 0.0))
    return ways


def _ease(way: Deflation, allowed: float, s: np.ndarray, rank: int) -> float:
    """About how far ‖A P‖₂² lies below what is allowed: few products where it is much."""
    d = way.basis.shape[1]
    rest = way.squares[rank:]
    guess = float(rest.mean()) if len(rest) else float(s[rank - 1] ** 2)
    if d <= len(s):
        guess = float(s[-1] ** 2)
    return allowed / max(guess, 1e-300)


def _rest(source: Source, way: Deflation) -> float:
    """‖A P‖_F², with its rounding, or infinity."""
    if source.norm2 is None:
        return math.inf
    eps = float(torch.finfo(torch.float64).eps)
    wide = float(torch.finfo(source.dtype).eps)
    slack = 16 * max(wide, eps) * source.norm2 + 2 * source.norm2**0.5 * source.noise
    return max(source.norm2 - float(way.squares.sum()), 0.0) + slack


def _by_probe(
    source: Source, way: Deflation, goal: _Goal, seed: list[int], failure: float
) -> tuple[Proof, bool]:
    """Bounds from random columns behind V, and whether they reach the goal."""
    s, rank, missing = goal.s, goal.rank, goal.missing
    n, d = source.shape[1], way.basis.shape[1]
    E = Complement(source, way.basis)
    if n <= SMALL:
        eye = torch.eye(n, dtype=source.dtype, device=source.device)
        values, vectors = torch.linalg.eigh(_hermitian(E.normal(eye)))
        top, over = max(float(values[-1]), 0.0), values > missing
        more = vectors[:, over] if bool(over.any()) else None
        lower = max(goal.after, math.sqrt(top))
        good = top <= way.allowed(goal.targets, goal.last)
        return Proof(way.highs(top, rank), lower, 0.0, "all that is left", n, more), good
    allowed = way.allowed(goal.targets, goal.last)
    fine = min(way.allowed(goal.fine, goal.last), allowed)
    columns = min(DENSE if source.structure.at_hand else NARROW, n - d)
    state = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1)
    prober = Prober(E, n, source.empty(), columns=columns, probability=failure, seed=state)
    aimed = goal.fine if goal.demanded else goal.targets
    enough = float(aimed[-1] / max(s[rank - 1] ** 2, 1e-300))
    steps = 8 + math.ceil(3 * prober.angle / math.acosh(max(2 * enough - 1, 1.004)))
    # beyond, a larger Krylov space is the cheaper way to sharp bounds of every value
    steps = min(steps if E.images else (steps + 1) // 2, 48 if goal.demanded else 400)
    more, good, step = None, False, 0
    while step < steps and not prober.full:
        prober.half_step()
        step += 1
        low = prober.lower() ** 2
        if low > missing and step < 3:
            continue
        if low > min(missing, allowed):
            break
        if step > 32 and step % 4:  # the small problems are no longer small
            continue
        if step > 1 and not good and prober.excess(allowed) < 1:
            good = prober.bound().upper ** 2 <= allowed
            steps = min(steps, step + FINE) if good and not goal.demanded else steps
        if good and _below(prober, fine):
            break
    bound = prober.bound()
    if bound.lower**2 > missing:
        more = prober.above(missing)
    highs, lower = way.highs(bound.upper**2, rank), max(goal.after, bound.lower)
    good = good or bound.upper**2 <= allowed
    return Proof(highs, lower, failure, "random columns", prober.products, more), good


def _below(prober: Prober, square: float) -> bool:
    return prober.excess(square) < 1 and prober.bound().upper ** 2 <= square


def _hermitian(a: Tensor) -> Tensor:
    return (a + a.mH) / 2


def _by_count(
    source: Source, found: Triplets, rank: int, delta: float, noise: float, accuracy: float
) -> Proof | None:
    """By Sylvester's inertia, where a factorization is cheap; None where it is not, or no proof."""
    A = source.entries()
    if A is None or found.residuals is None or source.noise:
        return None
    order = band_order(A, max(found.products, rank))
    if order is None:
        return None
    s = found.values.double().cpu().numpy()
    r = float(np.linalg.norm(found.residuals.double().cpu().numpy())) + noise
    # first a cut that finds out what was missed, then one that proves that nothing was
    cut = float(s[rank - 1]) * (1 + 10 * accuracy) + 2 * noise
    counted = count_above(A, cut, order)
    if counted is not None and counted[0] > int((s > cut - counted[1]).sum()):
        extra = counted[0] - int((s > cut - counted[1]).sum())
        generator = torch.Generator().manual_seed(0)
        more = random_normal(source.shape[1], extra, source.empty(), generator)
        return Proof(np.full(rank + 1, np.inf), 0.0, 0.0, "inertia", 0, more)
    width = r + 2 * noise
    cut = float(s[rank - 1]) + width
    for value in s[::-1]:
        if cut - width <= value <= cut + 2 * width:
            cut = float(value) + 2 * width
    counted = count_above(A, cut, order)
    if counted is None:
        return None
    number, error = counted
    above = int((s > cut).sum())
    top = cut + error
    if number != above or error > width or top - s[rank - 1] > delta:
        return None
    highs = np.where(s[:rank] > cut, s[:rank] + r, top)
    after = float(s[rank]) if len(s) > rank else 0.0
    # the triplets are exact for a matrix that is no further from A than r
    return Proof(np.r_[highs, top + 2 * r], after, 0.0, "inertia")
