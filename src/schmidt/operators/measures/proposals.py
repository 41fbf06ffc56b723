"""Proposal densities on R^d: maps of the unit cube, with their density and a fine rule."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import scipy.special
import torch
from torch import Tensor

from schmidt.operators.measures.cube import gauss_legendre, tensor_rule


class Proposal(ABC):
    """A probability density p on R^d given by a map of the unit cube.

    Attributes:
        dim: d.
        aspect: one number per axis of the cube: how finely to divide it relative to the others.
        sampling: the spreading of points that suits the map best.
    """

    dim: int
    aspect: tuple[float, ...]
    sampling: str = "sobol"

    @abstractmethod
    def transform(self, u: Tensor) -> Tensor:
        """Points (N, d) of density p from uniform points (N, k) of the cube."""

    @abstractmethod
    def density(self, x: Tensor) -> Tensor:
        """p(x): (N, d) → (N,)."""

    def weights(self, u: Tensor, x: Tensor) -> Tensor:
        """1/p at the points x = transform(u); overridden where u gives it more directly."""
        return 1 / self.density(x)

    def rule(self, n: int | None = None) -> tuple[Tensor, Tensor] | None:
        """A fine quadrature rule for ∫ … dx where p lives (d ≤ 3), or None.

        Args:
            n: points per axis; default: enough for functions that p was made for.
        """
        return None


def _vector(value: float | Sequence[float], dim: int, name: str) -> Tensor:
    v = torch.as_tensor(value, dtype=torch.float64)
    if v.ndim == 0:
        v = v.expand(dim)
    if v.shape != (dim,):
        raise ValueError(f"{name} must be a number or have {dim} entries, got {tuple(v.shape)}")
    return v.clone()


class UniformBox(Proposal):
    """Uniform on Π [low_i, high_i]; its rule is tensor Gauss–Legendre."""

    def __init__(
        self, low: float | Sequence[float], high: float | Sequence[float], dim: int
    ) -> None:
        self.dim = dim
        self.low, self.high = _vector(low, dim, "low"), _vector(high, dim, "high")
        if not bool(((self.low < self.high) & (self.high - self.low).isfinite()).all()):
            raise ValueError(
                f"a box needs low < high on every axis, both finite, got {low} and {high}"
            )
        self.aspect = tuple((self.high - self.low).tolist())

    def transform(self, u: Tensor) -> Tensor:
        return self.low + u * (self.high - self.low)

    def density(self, x: Tensor) -> Tensor:
        low, high = self.low.to(x), self.high.to(x)
        inside = ((x >= low) & (x <= high)).all(1)
        return inside.to(x.dtype) / (high - low).prod()

    def rule(self, n: int | None = None) -> tuple[Tensor, Tensor] | None:
        if self.dim > 3:
            return None
        n = n or {1: 400, 2: 80, 3: 36}[self.dim]
        bounds = zip(self.low.tolist(), self.high.tolist(), strict=True)
        return tensor_rule([gauss_legendre(n, a, b) for a, b in bounds])


class SmoothBox(UniformBox):
    """On a box, denser towards the walls: x' = (8/3) sin⁴(πu) on every axis (Sidi 1993).

    The map makes any smooth integrand periodic up to its fourth derivative in u, so that randomly
    shifted grids ("lattice" sampling) are accurate to O(n⁻⁵) without any condition at the walls.
    """

    sampling = "lattice"

    def transform(self, u: Tensor) -> Tensor:
        return self.low + _sidi(u) * (self.high - self.low)

    def weights(self, u: Tensor, x: Tensor) -> Tensor:
        return (8 / 3 * torch.sin(math.pi * u) ** 4 * (self.high - self.low)).prod(1)

    def density(self, x: Tensor) -> Tensor:
        low, high = self.low.to(x), self.high.to(x)
        t = (x - low) / (high - low)
        below, above = torch.zeros_like(t), torch.ones_like(t)
        for _ in range(50):
            middle = (below + above) / 2
            small = _sidi(middle) < t
            below, above = torch.where(small, middle, below), torch.where(small, above, middle)
        slope = 8 / 3 * torch.sin(math.pi * (below + above) / 2) ** 4 * (high - low)
        inside = ((t > 0) & (t < 1)).all(1)
        return torch.where(inside, 1 / slope.prod(1), torch.zeros_like(t[:, 0]))


def _sidi(u: Tensor) -> Tensor:
    """∫₀ᵘ (8/3) sin⁴(πt) dt."""
    wave = 2 / 3 * torch.sin(2 * math.pi * u) - torch.sin(4 * math.pi * u) / 12
    return u - wave / math.pi


class Gaussian(Proposal):
    """N(centre, scale²) with independent axes.

    Its rule is tensor Gauss–Hermite in units of ``scale``: exact for polynomials times
    exp(−x²/scale²), accurate for functions that decay within a few ``scale``.
    """

    def __init__(
        self, scale: float | Sequence[float], dim: int, centre: float | Sequence[float] = 0.0
    ) -> None:
        self.dim = dim
        self.scale, self.centre = _vector(scale, dim, "scale"), _vector(centre, dim, "centre")
        if not bool((self.scale > 0).all()):
            raise ValueError(f"the scale of a Gaussian must be positive, got {scale}")
        self.aspect = (1.0,) * dim

    def transform(self, u: Tensor) -> Tensor:
        z = math.sqrt(2) * torch.erfinv((2 * u - 1).clamp(-1 + 1e-15, 1 - 1e-15))
        return self.centre + z * self.scale

    def density(self, x: Tensor) -> Tensor:
        scale = self.scale.to(x)
        z = (x - self.centre.to(x)) / scale
        return (-0.5 * (z * z).sum(1)).exp() / (scale.prod() * (2 * math.pi) ** (self.dim / 2))

    def rule(self, n: int | None = None) -> tuple[Tensor, Tensor] | None:
        if self.dim > 3:
            return None
        n = n or {1: 200, 2: 80, 3: 36}[self.dim]
        x, w = (torch.from_numpy(a) for a in _hermite(n))
        axes = zip(self.centre, self.scale, strict=True)
        return tensor_rule([(c + s * x, s * w) for c, s in axes])


def _hermite(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss–Hermite nodes x and weights times e^{x²}, for any n.

    The latter are 1/(n ψ²) with the Hermite function ψ_{n−1}, whose recurrence is scaled as it
    goes: weights themselves are below the smallest number from n ≈ 380 on.
    """
    if n <= 150:
        x, w = np.polynomial.hermite.hermgauss(n)
        return x, w * np.exp(x**2)
    x = scipy.special.roots_hermite(n)[0]
    before, now = np.zeros(n), np.full(n, np.pi**-0.25)
    log = -(x**2) / 2
    for k in range(1, n):
        before, now = now, np.sqrt(2 / k) * x * now - np.sqrt((k - 1) / k) * before
        size = np.maximum(np.abs(before), np.abs(now))
        before, now, log = before / size, now / size, log + np.log(size)
    return x, np.exp(-2 * log) / (n * now**2)


class Mixture(Proposal):
    """Σ_j weight_j p_j; the first axis of the cube chooses the component.

    It has no quadrature of its own: results are judged on Sobol points, to about three digits.
    """

    def __init__(
        self, components: Sequence[Proposal], weights: Sequence[float] | None = None
    ) -> None:
        if not components or len({c.dim for c in components}) != 1:
            raise ValueError("a mixture needs components of one dimension")
        given = [1.0] * len(components) if weights is None else [float(w) for w in weights]
        w = torch.tensor(given, dtype=torch.float64)
        if len(w) != len(components) or not bool((w > 0).all()):
            raise ValueError(f"a mixture needs one positive weight per component, got {weights}")
        self.components, self.shares = list(components), w / w.sum()
        self.dim = components[0].dim
        self.aspect = (1.0,) * (1 + max(len(c.aspect) for c in components))

    def transform(self, u: Tensor) -> Tensor:
        choice = torch.searchsorted(self.shares.cumsum(0)[:-1].contiguous(), u[:, 0].contiguous())
        x = u.new_empty(len(u), self.dim)
        for j, component in enumerate(self.components):
            mine = choice == j
            x[mine] = component.transform(u[mine, 1 : 1 + len(component.aspect)])
        return x

    def density(self, x: Tensor) -> Tensor:
        parts = [w * c.density(x) for w, c in zip(self.shares, self.components, strict=True)]
        return torch.stack(parts).sum(0)
