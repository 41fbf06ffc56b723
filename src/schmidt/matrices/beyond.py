"""Was an eigenvalue missed? Upper bounds of the largest eigenvalues of a Hermitian A.

Let V be orthonormal with Ritz pairs (θ_i, x_i), θ descending, y_i = A V x_i − θ_i V x_i, and let no
eigenvalue of A behind V, of (I − V Vᴴ) A (I − V Vᴴ), exceed β. By Courant and Fischer and Schur's
complement λ_j ≤ z for every z > max(θ_j, β) with

    β + ‖Σ_{i≥j} y_i y_i*/(z − θ_i)‖₂ ≤ z,                                                     (1)

and λ_j ≥ θ_j (Cauchy). β comes from one of

- a count: where exactly J eigenvalues lie above c, as many as V has Ritz values there, V the
  span of these, Haynsworth's law of inertia says that β ≤ c + ‖Y‖²/(θ_J − c);                   (2)
- random columns behind the whole Krylov space: what ``probe`` says of S(z) holds for Hermitian
  matrices of any sign after an even number of products.

The smallest eigenvalues are those of −A.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from schmidt.matrices.hermitian import Hermitian, RitzPairs
from schmidt.matrices.inertia import count_below
from schmidt.matrices.probe import Prober

COLUMNS = 4
SMALL = 64
"""Dimensions up to which all of what is left is looked at."""
STEPS = 120


@dataclass(frozen=True)
class Beyond:
    """What is known of the k largest eigenvalues of ±A beside their Ritz values; no rounding in it.

    Attributes:
        highs: (k + 1,) upper bounds, the last of every further eigenvalue.
        way: how they were found.
        failure: the probability that one is wrong.
        resolution: how exact a count is.
        missing: how many eigenvalues were certainly missed.
        directions: (n, c) where they may be found.
    """

    highs: np.ndarray
    way: str
    failure: float = 0.0
    resolution: float = 0.0
    missing: int = 0
    directions: Tensor | None = None


class Side:
    """The upper end of A, or of −A.

    Args:
        source: A.
        pairs: Ritz pairs, some of them wanted.
        sign: 1, or −1 for the lower end.
    """

    def __init__(self, source: Hermitian, pairs: RitzPairs, sign: int) -> None:
        self.source, self.sign, self.pairs = source, sign, pairs
        order = np.argsort(-sign * pairs.values, kind="stable")
        self.theta = sign * pairs.values[order]
        self.y = pairs.coupling[:, order]

    def number_above(self, entries: Any, cut: float) -> tuple[int, float] | None:
        """Eigenvalues of ±A above a cut."""
        n = self.source.shape[0]
        found = count_below(entries, self.sign * cut)
        if found is None or self.sign < 0:
            return found
        return n - found[0], found[1]

    def by_count(self, entries: Any, k: int, least: float, delta: float) -> Beyond | None:
        """With a cut below the k-th value, or inside the group of values that it belongs to.

        Args:
            entries: A, for :func:`count_below`.
            k: how many are wanted; may be 0.
            least: the smallest wanted |value| where it is one of the other side's; else −∞.
            delta: how far above the last value a cut may be.
        """
        theta, noise = self.theta, self.source.noise
        size = float(np.abs(theta).max()) if len(theta) else 1.0
        for J, cut, width in self._cuts(k, least, delta):
            found = self.number_above(entries, cut)
            if found is None:
                found = self.number_above(entries, cut + 0.3 * width)
            if found is None:
                continue
            number, error = found
            error += 4 * float(np.finfo(float).eps) * size
            if number > J:
                return Beyond(np.full(k + 1, math.inf), "inertia", 0.0, error, number - J)
            if number < J or error > max(width, 8 * noise):
                continue
            c = cut + error
            highs = np.full(max(k, J) + 1, c)
            if J:
                Y = float(np.linalg.norm(self.y[:, :J], 2))
                highs[:J] = theta[:J] + Y
                gap = float(theta[J - 1]) - c
                if gap > 0:
                    beta = c + Y**2 / gap
                    better = upper_bounds(theta[:J], self.y[:, :J], beta, J)
                    highs[:J] = np.minimum(highs[:J], better[:J])
                    highs[J:] = min(beta, c) if k <= J else c
            after = c if k >= J else float(highs[k])
            return Beyond(np.r_[highs[:k], after], "inertia", 0.0, error)
        return None

    def _cuts(self, k: int, least: float, delta: float) -> list[tuple[int, float, float]]:
        """(J, cut, width) that are worth a factorization, the best first."""
        theta, noise = self.theta, self.source.noise
        cuts = []
        for J in range(k, len(theta)):
            width = float(np.linalg.norm(self.y[:, :J], 2)) + 2 * noise if J else 2 * noise
            low = max(float(theta[J]), least)
            gap = float(theta[J - 1]) - low if J else math.inf
            if gap > 8 * width:
                offset = min(gap / 3, max(4 * width, delta / 2, gap / 10)) if J else 0.0
                cut = float(theta[J - 1]) - offset if J else low + max(4 * width, delta / 20)
                if least > -math.inf and J:  # no further from what is wanted than it must be
                    cut = low + min(gap / 3, max(4 * width, delta / 20))
                cuts.append((J, cut, max(offset / 4, width)))
                break
        if not k:
            return cuts
        width = float(np.linalg.norm(self.y[:, :k], 2)) + 2 * noise
        for offset in (width, delta / 2):  # inside of a group: above the last value
            cut = float(theta[k - 1]) + offset
            for value in theta[:k][::-1]:
                if cut - width / 2 <= value <= cut + width:
                    cut = float(value) + width
            if offset >= width and cut - theta[k - 1] <= max(delta, 4 * width):
                cuts.append((int((theta > cut).sum()), cut, width / 2))
        return cuts

    def by_probe(self, k: int, least: float, delta: float, *, seed: int, failure: float) -> Beyond:
        """With random columns behind the whole basis.

        Args:
            k, least, delta: as for :meth:`by_count`.
            seed: of the columns, which must be new to the solver.
            failure: the probability of a wrong bound.
        """
        theta, noise, V = self.theta, self.source.noise, self.pairs.basis
        n, d = V.shape
        last = least if least > -math.inf else float(theta[k - 1])
        own = float(np.linalg.norm(self.y[:, :k], 2)) if k else 0.0
        missing = last + own + 4 * noise
        behind = _Behind(self.source, V, self.sign)
        if n - d <= SMALL:
            if n == d:
                return Beyond(upper_bounds(theta, self.y, -math.inf, k), "full space")
            Q = torch.linalg.qr(V, mode="complete").Q[:, d:]
            rest = Q.mH @ behind.normal(Q)
            values, vectors = torch.linalg.eigh((rest + rest.mH) / 2)
            top = float(values[-1])
            if top > missing:
                return Beyond(
                    np.full(k + 1, math.inf),
                    "all that is left",
                    0.0,
                    0.0,
                    int((values > missing).sum()),
                    Q @ vectors[:, values > missing],
                )
            return Beyond(upper_bounds(theta, self.y, top, k), "all that is left")
        prober = Prober(
            behind,
            n,
            self.source.empty(),
            columns=min(COLUMNS, n - d),
            probability=failure,
            seed=seed,
        )
        nothing = Beyond(np.full(k + 1, math.inf), "random columns", failure)
        span = max(float(theta[0] - theta[-1]), float(np.abs(theta).max()), 1e-300)
        for step in range(1, STEPS + 1):
            if prober.full:
                return nothing
            prober.half_step()
            values = prober.ritz()[0]
            top = float(values[-1]) if len(values) else -math.inf
            if top > missing and step >= 3:
                return Beyond(
                    np.full(k + 1, math.inf),
                    "random columns",
                    failure,
                    0.0,
                    int((values > missing).sum()),
                    prober.above(missing),
                )
            if step < 4 or step % 4:
                continue
            beta = self._allowed(k, last, delta, top, span, prober)
            if beta is not None:
                return Beyond(upper_bounds(theta, self.y, beta, k), "random columns", failure)
        return nothing

    def _allowed(
        self, k: int, last: float, delta: float, top: float, span: float, prober: Prober
    ) -> float | None:
        """The least of a few β that random columns prove, if it is good enough."""
        room = max(last + delta - top, 0.0)
        for share in (0.05, 0.2, 0.5, 0.9):
            beta = top + share * room
            if not _excluded(prober, beta, span):
                continue
            highs = upper_bounds(self.theta, self.y, beta, k)
            wanted = np.r_[self.theta[:k], last] + delta
            return beta if (highs <= wanted).all() else None
        return None


class _Behind:
    """±(I − V Vᴴ) A (I − V Vᴴ)."""

    images = False

    def __init__(self, source: Hermitian, V: Tensor, sign: int) -> None:
        self.source, self.V, self.sign = source, V, sign

    def apply(self, X: Tensor) -> Tensor:
        return self.normal(X)

    def adjoint(self, Y: Tensor) -> Tensor:
        return self.normal(Y)

    def normal(self, X: Tensor) -> Tensor:
        return self.sign * self._project(self.source.apply(self._project(X)))

    def _project(self, X: Tensor) -> Tensor:
        return X - self.V @ (self.V.mH @ X)


def _excluded(prober: Prober, beta: float, span: float) -> bool:
    """Every z ≥ β, on a grid that is fine where it begins and ends beyond 20 times the spectrum."""
    if prober.excess(beta) >= 1:
        return False
    steps = span * np.geomspace(1e-6, 20.0, 40)
    return all(prober.excess(beta + step) < 1 for step in steps)


def upper_bounds(theta: np.ndarray, y: np.ndarray, beta: float, k: int) -> np.ndarray:
    """(k + 1,) the least z of (1) for j = 1 … k and k + 1.

    Args:
        theta: (d,) Ritz values, descending.
        y: (w, d) coordinates of the couplings.
        beta: of what lies behind them; −∞ where nothing does.
    """
    k = min(k, len(theta))
    if math.isinf(beta):
        return np.r_[theta[:k], theta[k] if k < len(theta) else -math.inf]
    last = _least(theta, y, beta, k)
    if not k:
        return np.array([last])
    own = _least(theta, y, beta, k - 1)
    base_load = _load(theta, y, own, k)
    squares = np.square(np.linalg.norm(y[:, :k], axis=0))
    after = np.triu(np.ones((k, k)))
    base = np.maximum(theta[:k], beta + base_load)
    span = max(float(np.abs(theta).max()), abs(beta), 1e-290)
    low, high = np.full(k, math.log(1e-20 * span)), np.full(k, math.log(1e3 * span))
    for _ in range(45):
        middle = (low + high) / 2
        z = base + np.exp(middle)
        gaps = np.maximum(z[:, None] - theta[None, :k], 1e-300)
        good = z - (after * squares / gaps).sum(1) - base_load >= beta
        low, high = np.where(good, low, middle), np.where(good, middle, high)
    # bounds with the load of z = own hold from there on
    found = np.maximum(base + np.exp(high), own)
    return np.r_[np.minimum.accumulate(found), min(last, float(found[-1]))]


def _load(theta: np.ndarray, y: np.ndarray, z: float, first: int) -> float:
    """‖Σ_{i≥first} y_i y_i*/(z − θ_i)‖₂."""
    if first >= len(theta):
        return 0.0
    scaled = y[:, first:] / np.sqrt(np.maximum(z - theta[first:], 1e-300))
    if not scaled.size:
        return 0.0
    wide = scaled.shape[1] > scaled.shape[0]
    gram = scaled @ scaled.conj().T if wide else scaled.conj().T @ scaled
    return max(float(np.linalg.eigvalsh(gram)[-1]), 0.0)


def _least(theta: np.ndarray, y: np.ndarray, beta: float, first: int) -> float:
    base = max(float(theta[first]) if first < len(theta) else -math.inf, beta)
    span = max(float(np.abs(theta).max()) if len(theta) else 0.0, abs(beta), 1e-290)
    low, high = math.log(1e-20 * span), math.log(1e3 * span)
    for _ in range(40):
        middle = (low + high) / 2
        z = base + math.exp(middle)
        good = z - _load(theta, y, z, first) >= beta
        low, high = (low, middle) if good else (middle, high)
    return base + math.exp(high)
