"""Proposal densities as maps of the unit cube: boxes, normal laws, radial, affine, periodic."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import scipy.special
import torch
from torch import Tensor
from torch.nn import functional as F

from schmidt.operators.measures.cube import gauss_legendre, tensor_rule
from schmidt.parameters import Number, check


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


DIM = Number(1, whole=True, advice="it is the number of coordinates")


def _vector(value: float | Sequence[float], dim: int, name: str) -> Tensor:
    check({"dim": DIM}, dim=dim)
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


class Radial(Proposal):
    """Radius r = scale·softplus(s) with s uniform, direction uniform on the sphere.

    Radii are spread evenly in log r below ``scale`` and evenly in r above it, so the density grows
    like r^{−d} towards the centre and ∫ h/r stays finite in variance. Against s every integrand
    that decays is smooth and vanishes at both ends: in the plane, where the angle closes up too,
    randomly shifted grids are spectrally accurate.

    Args:
        dim: d ≥ 2.
        scale: the radius where the two regimes meet; about the size of the finest structure.
        outer: largest radius (functions must have decayed there).
        inner: smallest radius, default 1e-6·scale. The ball inside is left out, which costs an
            integral of h/r a relative error of about (inner/scale)^(d−1).
        aspect: how finely grids divide the radius relative to each angle.
    """

    def __init__(
        self,
        dim: int,
        *,
        scale: float,
        outer: float,
        inner: float | None = None,
        aspect: float = 2.0,
    ) -> None:
        inner = 1e-6 * scale if inner is None else inner
        check({"dim": Number(2, whole=True, advice="in one, use UniformBox or Gaussian")}, dim=dim)
        if not 0 < inner < scale < outer:
            raise ValueError(f"need 0 < inner < scale < outer, got {inner}, {scale}, {outer}")
        self.dim, self.scale, self.inner, self.outer = dim, float(scale), inner, outer
        # softplus⁻¹(y) = y + log(1 − e^{−y})
        self.low, self.high = (
            y + math.log(-math.expm1(-y)) for y in (inner / scale, outer / scale)
        )
        self.sampling = "lattice" if dim == 2 else "sobol"
        self.aspect = (aspect, *[1.0] * (dim - 1 if dim <= 3 else dim))

    def transform(self, u: Tensor) -> Tensor:
        r = self.scale * F.softplus(self.low + (self.high - self.low) * u[:, :1], threshold=50)
        return r * self._direction(u[:, 1:])

    def _direction(self, u: Tensor) -> Tensor:
        if self.dim == 2:
            angle = 2 * math.pi * u[:, 0]
            return torch.stack([angle.cos(), angle.sin()], 1)
        if self.dim == 3:
            z, angle = 2 * u[:, 0] - 1, 2 * math.pi * u[:, 1]
            s = (1 - z * z).clamp_min(0).sqrt()
            return torch.stack([s * angle.cos(), s * angle.sin(), z], 1)
        normal = torch.erfinv((2 * u - 1).clamp(-1 + 1e-15, 1 - 1e-15))
        return F.normalize(normal, dim=1)

    def _sphere(self) -> float:
        return 2 * math.pi ** (self.dim / 2) / math.gamma(self.dim / 2)

    def density(self, x: Tensor) -> Tensor:
        r = x.norm(dim=1)
        slope = -torch.expm1(-r / self.scale)  # sigmoid(s) = 1 − e^{−r/scale}
        p = 1 / ((self.high - self.low) * self.scale * slope * self._sphere() * r ** (self.dim - 1))
        inside = (r >= 0.999 * self.inner) & (r <= 1.001 * self.outer)
        return torch.where(inside, p, torch.zeros_like(p))

    def rule(self, n: int | None = None) -> tuple[Tensor, Tensor] | None:
        """Gauss–Legendre in t, r = scale·t/(1 − t), from the origin itself out to ``outer``;
        uniform in the angle, Gauss–Legendre in cos θ (d = 3)."""
        if self.dim > 3:
            return None
        n = n or {2: 160, 3: 80}[self.dim]
        t, wt = gauss_legendre(n, 0.0, self.outer / (self.scale + self.outer))
        r = self.scale * t / (1 - t)
        wr = wt * self.scale / (1 - t) ** 2 * r ** (self.dim - 1)
        m = max(8, round({2: 0.4, 3: 0.5}[self.dim] * n))
        angle = torch.from_numpy(2 * np.pi * (np.arange(m) + 0.37) / m)
        turn = torch.full((m,), 2 * math.pi / m, dtype=torch.float64)
        if self.dim == 2:
            q, w = tensor_rule([(r, wr), (angle, turn)])
            return torch.stack([q[:, 0] * q[:, 1].cos(), q[:, 0] * q[:, 1].sin()], 1), w
        q, w = tensor_rule([(r, wr), gauss_legendre(m // 2, -1, 1), (angle, turn)])
        flat = q[:, 0] * (1 - q[:, 1] ** 2).sqrt()
        return torch.stack([flat * q[:, 2].cos(), flat * q[:, 2].sin(), q[:, 0] * q[:, 1]], 1), w


class Affine(Proposal):
    """The law of centre + A z with z from another proposal.

    Args:
        base: law of z.
        centre: (d,).
        lengths: A, (d, d), invertible.
    """

    def __init__(self, base: Proposal, centre: Tensor, lengths: Tensor) -> None:
        dim = base.dim
        if centre.shape != (dim,) or lengths.shape != (dim, dim):
            raise ValueError(
                f"need a centre of shape ({dim},) and lengths of shape ({dim}, {dim}), got "
                f"{tuple(centre.shape)} and {tuple(lengths.shape)}"
            )
        self.base, self.dim = base, dim
        self.aspect, self.sampling = base.aspect, base.sampling
        self.centre, self.lengths = centre.double(), lengths.double()
        self.volume = float(torch.linalg.det(self.lengths).abs())
        if not self.volume > 0:
            raise ValueError("the lengths of an affine map must be invertible")
        self.inverse = torch.linalg.inv(self.lengths)

    def _out(self, z: Tensor) -> Tensor:
        return self.centre + z @ self.lengths.T

    def _in(self, x: Tensor) -> Tensor:
        return (x - self.centre.to(x)) @ self.inverse.T.to(x)

    def transform(self, u: Tensor) -> Tensor:
        return self._out(self.base.transform(u))

    def density(self, x: Tensor) -> Tensor:
        return self.base.density(self._in(x)) / self.volume

    def weights(self, u: Tensor, x: Tensor) -> Tensor:
        return self.base.weights(u, self._in(x)) * self.volume

    def rule(self, n: int | None = None) -> tuple[Tensor, Tensor] | None:
        found = self.base.rule(n)
        return None if found is None else (self._out(found[0]), found[1] * self.volume)


class Periodic(UniformBox):
    """Uniform on [0, period]^d for functions that are periodic there.

    Equidistant points are then spectrally accurate: its rule is the tensor trapezoidal rule, and
    randomly shifted grids ("lattice") the default sampling for d ≤ 3.
    """

    def __init__(self, period: float = 2 * math.pi, dim: int = 1) -> None:
        super().__init__(0.0, period, dim)
        self.period = float(period)
        self.sampling = "lattice" if dim <= 3 else "sobol"

    def rule(self, n: int | None = None) -> tuple[Tensor, Tensor] | None:
        if self.dim > 3:
            return None
        n = n or {1: 400, 2: 80, 3: 36}[self.dim]
        step = self.period / n
        axis = (torch.arange(n, dtype=torch.float64) + 0.37) * step
        weight = torch.full((n,), step, dtype=torch.float64)
        return tensor_rule([(axis, weight)] * self.dim)
