"""A spectral norm from a few random columns: an upper bound that fails with known probability.

Let E (m, n) be fixed, X (n, b) Gaussian, M = EᴴE with top eigenpair (λ, w), and γ = Xᴴw, so that
‖γ‖² is χ²_b. For every matrix polynomial C(z) of degree q with C(λ) = I, the columns
Y = Σ_i Mⁱ X C_i satisfy Yᴴw = γ, and hence γγᴴ ≤ YᴴY. The least such YᴴY,

    S(λ) = min_D ‖X + (M − λ) Q D‖²   over the block Krylov space Q of degree q − 1,

is a least-squares problem of size (q + 1) b, and ‖γ‖² ≤ ‖S(λ)‖₂. As ‖γ‖² > t with probability
1 − δ, the true λ lies outside {λ : ‖S(λ)‖₂ ≤ t} with that probability, for all q at once: the
bound is the end of that set. It is the block form, with b probes, of the bound of van Dorsselaer,
Hochstenbach and van der Vorst (SIAM J. Matrix Anal. Appl. 22, 2000) for the Lanczos process.
With an odd number of products the same holds for E Y, where (E Y)ᴴ(E w) = λ γ.

Every step of the Krylov space multiplies the growth of its polynomials, so a factor of n between
the mass of all of M and that of w costs few products: overestimates are about
cosh(arcosh(√(n/t))/products) at worst, 2.3 for three products and n = 2000.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy.special import gammaincinv
from torch import Tensor

from schmidt.linalg import extend, orthonormalize, random_normal


class Left(Protocol):
    """E as its products, and whether images E X may be kept."""

    images: bool

    def apply(self, X: Tensor) -> Tensor: ...

    def adjoint(self, Y: Tensor) -> Tensor: ...

    def normal(self, X: Tensor) -> Tensor: ...


def smallest_mass(columns: int, probability: float, complex_: bool) -> float:
    """t with P(‖γ‖² ≤ t) = δ for γ of b independent N(0, 1), or complex ones with E|γ|² = 1.

    ‖γ‖² is χ²_b = 2 Γ(b/2), or Γ(b) in the complex case, with Γ of unit scale.
    """
    if complex_:
        return float(gammaincinv(columns, probability))
    return 2 * float(gammaincinv(columns / 2, probability))


@dataclass(frozen=True)
class Probe:
    """lower ≤ ‖E‖₂ always, ‖E‖₂ ≤ upper except with the probability asked for (no rounding)."""

    lower: float
    upper: float
    products: int


class Prober:
    """The Krylov space of a few Gaussian columns, which grows until its bound is good enough.

    Args:
        remainder: E; it must not depend on the columns that ``seed`` gives.
        n: columns of E.
        like: a tensor of the type that products have.
        columns: b.
        probability: δ, of the upper bounds being wrong; they may fail together only.
        seed: of X.
    """

    def __init__(
        self,
        remainder: Left,
        n: int,
        like: Tensor,
        *,
        columns: int,
        probability: float,
        seed: int,
    ) -> None:
        self.E = remainder
        self.generator = torch.Generator().manual_seed(seed)
        b = min(columns, n)
        X = random_normal(n, b, like, self.generator)
        self.t = smallest_mass(b, probability, like.is_complex())
        Q, R = orthonormalize(X)
        self.start = R.to(_wide(R))
        self.n, self.b = n, b
        self.basis, self.images = Q, X.new_empty(0, 0)
        self.T = self.start.new_zeros(b, 0)
        self._root: np.ndarray | None = None  # of the Gram matrix of the images, if there is one
        self.products = self.step = 0

    @property
    def full(self) -> bool:
        """No room for another block."""
        return self.basis.shape[1] + self.b > self.n

    @property
    def angle(self) -> float:
        """arcosh √(n/t): steps of the Krylov space are this over arcosh(2 z/‖M‖ − 1), about."""
        return math.acosh(max(math.sqrt(self.n / self.t), 2.0))

    def half_step(self) -> None:
        """One more product, with E or with Eᴴ in turn, the first with E; or with EᴴE."""
        self.step += 1
        self._root = None
        if not self.E.images:
            width = self.basis.shape[1] - self.T.shape[1]
            self.products += 2 * width
            self._extend(self.E.normal(self.basis[:, -width:]))
            return
        if self.images.shape[1] < self.basis.shape[1]:
            image = self.E.apply(self.basis[:, self.images.shape[1] :])
            self.images = image if self.images.numel() == 0 else torch.cat([self.images, image], 1)
            self.products += image.shape[1]
            return
        width = self.basis.shape[1] - self.T.shape[1]
        self.products += width
        self._extend(self.E.adjoint(self.images[:, -width:]))

    def _extend(self, Z: Tensor) -> None:
        C, Q, R = extend(self.basis, Z, self.generator)
        column = torch.cat([C, R]).to(self.T)
        below = self.T.new_zeros(len(column) - len(self.T), self.T.shape[1])
        self.T = torch.cat([torch.cat([self.T, below]), column], 1)
        self.basis = torch.cat([self.basis, Q], 1)

    def bound(self) -> Probe:
        """Lower and upper bounds from the products so far."""
        lower = self.lower()
        return Probe(lower, math.sqrt(_end(self.excess, lower**2)), self.products)

    def lower(self) -> float:
        """A lower bound of ‖E‖₂."""
        values, _, _ = self.ritz()
        return math.sqrt(max(float(values[-1]), 0.0)) if len(values) else 0.0

    def above(self, square: float) -> Tensor:
        """(n, c) directions in which EᴴE is above a number."""
        values, vectors, width = self.ritz()
        return self.basis[:, :width] @ vectors[:, values > square].to(self.basis)

    def excess(self, square: float) -> float:
        """Below 1 where the square is excluded, as that of ‖E‖₂.

        ‖S(z)‖₂ / t for even, ‖S(z)‖₂ / (z t) for odd numbers of products.
        """
        d, root = self.T.shape[1], self._gram_root()
        shifted = self.T.cpu().numpy() - square * np.eye(len(self.T), d)
        first = np.zeros((len(self.T), self.b), shifted.dtype)
        first[: self.b] = self.start.cpu().numpy()
        if root is not None:
            shifted, first = root @ shifted, root @ first
        if d:
            Q = _range(shifted / np.maximum(np.linalg.norm(shifted, axis=0), 1e-300))
            first = first - Q @ (Q.conj().T @ first)
        largest = float(np.linalg.norm(first, 2)) ** 2
        return largest / (self.t * (square if root is not None else 1.0))

    def ritz(self) -> tuple[Tensor, Tensor, int]:
        """Ritz values, ascending, their vectors, and the dimension of the space."""
        if self.images.numel():
            images = self.images.to(_wide(self.images))
            values, vectors = torch.linalg.eigh(images.mH @ images)
            return values, vectors, len(values)
        d = self.T.shape[1]
        small = self.T[:d]
        values, vectors = torch.linalg.eigh((small + small.mH) / 2)
        return values, vectors, d

    def _gram_root(self) -> np.ndarray | None:
        """Of the images, after an odd number of products."""
        if not self.E.images or self.images.shape[1] != self.basis.shape[1]:
            return None
        if self._root is None:
            images = self.images.to(_wide(self.images))
            values, vectors = torch.linalg.eigh(images.mH @ images)
            root = values.clamp_min(0).sqrt()[:, None] * vectors.mH
            self._root = root.resolve_conj().cpu().numpy()
        return self._root


def _wide(a: Tensor) -> torch.dtype:
    return torch.complex128 if a.is_complex() else torch.float64


def _range(a: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the columns, without directions that are rounding.

    Leaving directions out makes the residual larger, and the bound with it: it stays a bound.
    """
    Q, R = np.linalg.qr(a)
    size = np.abs(R.diagonal())
    if size.min() > 1e-10 * size.max():
        return Q
    u, s, _ = np.linalg.svd(a, full_matrices=False)
    return u[:, s > 1e-13 * s[0]]


def _end(excess: Callable[[float], float], start: float) -> float:
    """The largest z with excess(z) ≥ 1: scanned in steps of 8 % of √z, then bisected."""
    if start == 0:
        return 0.0
    z, last = start, start
    step = 1.08**2
    calm = 0
    while calm < 12:  # a factor of 6 in z beyond the last one that may be λ
        if excess(z) >= 1:
            last, calm = z, 0
        else:
            calm += 1
        z *= step
    low, high = last, last * step
    for _ in range(4):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if excess(middle) >= 1 else (low, middle)
    return high
