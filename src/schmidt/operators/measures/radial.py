"""A radial proposal with a core: for cusps and 1/r potentials at the origin."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from schmidt.operators.measures.cube import gauss_legendre, tensor_rule
from schmidt.operators.measures.proposals import Proposal


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
        scale: float,
        outer: float,
        inner: float | None = None,
        aspect: float = 2.0,
    ) -> None:
        inner = 1e-6 * scale if inner is None else inner
        if dim < 2:
            raise ValueError(f"a radial proposal needs at least two dimensions, got {dim}")
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
