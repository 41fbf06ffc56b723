"""What surrounds a trunk: maps of the inputs, and factors – envelopes, masks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from schmidt.operators.jet import Function, Jet, JetModule, forward_mode, radius
from schmidt.parameters import FLAG, Number, check

PARAMETERS = {
    "dim": Number(1, whole=True),
    "centre": Number(),
    "cusp": FLAG,
    "period": Number(0, open="low"),
    "harmonics": Number(1, whole=True),
    "size": Number(1, whole=True),
    "append": FLAG,
}


class ScaledInputs(JetModule):
    """(x − centre) / scale: d features."""

    centre: Tensor
    scale: Tensor

    def __init__(
        self, dim: int, scale: float | Sequence[float] = 1.0, *, centre: float = 0.0
    ) -> None:
        super().__init__()
        check(PARAMETERS, dim=dim, centre=centre)
        self.features = dim
        scales = torch.as_tensor(scale, dtype=torch.float32).reshape(-1)
        if len(scales) not in (1, dim):
            raise ValueError(f"scale must be a number or {dim} of them, got {len(scales)}")
        if not bool((scales > 0).all()):
            raise ValueError(f"scales must be positive, got {scales.tolist()}")
        self.register_buffer("scale", scales.repeat(dim // len(scales)))
        self.register_buffer("centre", torch.full((dim,), float(centre)))

    def propagate(self, u: Jet) -> Jet:
        return (u + (-self.centre)) * (1 / self.scale)


class BoundedInputs(JetModule):
    """Coordinates at several length scales s, bounded however far the point is.

    With a cusp at the origin (1/r potentials): 2x/(s+r) and 2r/(s+r). Without (smooth, confining
    potentials): 2x/√(s²+r²) and 2r²/(s²+r²). (d+1)·len(scales) features. They stay distinct out to
    r ≫ s, where saturating inputs such as tanh(x/s) lose all resolution.
    """

    def __init__(self, dim: int, scales: Sequence[float], *, cusp: bool) -> None:
        super().__init__()
        check(PARAMETERS, dim=dim, cusp=cusp)
        if isinstance(scales, int | float) or not len(scales) or min(scales) <= 0:
            raise ValueError(f"scales must be a list of positive lengths, got {scales!r}")
        self.features = (dim + 1) * len(scales)
        self.scales, self.cusp = tuple(float(s) for s in scales), cusp

    def propagate(self, u: Jet) -> Jet:
        out = []
        if self.cusp:
            r = radius(u)
            for s in self.scales:
                inverse = (r + s).reciprocal() * 2.0
                out += [u * inverse, r * inverse]
        else:
            r2 = (u * u).sum()
            for s in self.scales:
                inverse = (r2 + s * s).reciprocal()
                out += [u * inverse.sqrt() * 2.0, r2 * inverse * 2.0]
        return Jet.cat(out)


class PeriodicInputs(JetModule):
    """cos and sin of 2πk x_i/period, k = 1 … harmonics: periodic; 2·d·harmonics features."""

    def __init__(self, dim: int, *, period: float = 2 * math.pi, harmonics: int = 1) -> None:
        super().__init__()
        check(PARAMETERS, dim=dim, period=period, harmonics=harmonics)
        self.features = 2 * dim * harmonics
        self.frequencies = [2 * math.pi * k / period for k in range(1, harmonics + 1)]

    def propagate(self, u: Jet) -> Jet:
        return Jet.cat([wave for w in self.frequencies for wave in _waves(u * w)])


class FourierFeatures(JetModule):
    """Multi-scale random Fourier features cos(Bx), sin(Bx) (Wu et al. 2023; paper, E.1.1).

    Args:
        dim: d.
        size: K rows of B, drawn with standard deviation 2π·kappa (as the public code does; the
            text says variance). 2K features.
        kappa: the scale, a number, or one for each of several equal groups of rows.
        append: add the raw coordinates (the text does, the public code does not).
    """

    frequencies: Tensor

    def __init__(
        self, dim: int, size: int, kappa: float | Sequence[float], *, append: bool = False
    ) -> None:
        super().__init__()
        check(PARAMETERS, dim=dim, size=size, append=append)
        scales = torch.as_tensor(kappa, dtype=torch.float32).reshape(-1)
        if not bool((scales > 0).all()):
            raise ValueError(f"kappa must be positive, got {scales.tolist()}")
        self.features = 2 * size + dim * append
        self.append = append
        rows = scales.repeat_interleave(math.ceil(size / len(scales)))[:size]
        self.register_buffer("frequencies", torch.randn(dim, size) * (2 * math.pi * rows))

    def propagate(self, u: Jet) -> Jet:
        out = list(_waves(Jet(u.streams @ self.frequencies, u.dim, u.order)))
        return Jet.cat([*out, u] if self.append else out)


def _waves(u: Jet) -> tuple[Jet, Jet]:
    c, s = u.value.cos(), u.value.sin()
    return u.chain(c, -s, -c), u.chain(s, c, -s)


class _RadialDecay(JetModule):
    """exp(−a_l φ(r)) with one rate a_l > 0 for each of L functions, learned in the logarithm."""

    def __init__(self, rates: Sequence[float] | Tensor, *, learn: bool = True) -> None:
        super().__init__()
        rate = torch.as_tensor(rates, dtype=torch.float32).reshape(-1)
        if len(rate) == 0 or not bool((rate > 0).all()):
            raise ValueError(f"decay rates must be positive, got {rate.tolist()}")
        self.log_rate = nn.Parameter(rate.log(), requires_grad=learn)

    def exponent(self, x: Jet) -> Jet:
        raise NotImplementedError

    def propagate(self, u: Jet) -> Jet:
        return (self.exponent(u) * (-self.log_rate.exp())).exp()


class ExponentialEnvelope(_RadialDecay):
    """e^{−a_l r}: bound states of Coulomb-like potentials, with their cusp at the origin."""

    def exponent(self, x: Jet) -> Jet:
        return radius(x)


class GaussianEnvelope(_RadialDecay):
    """e^{−a_l r²/2}: states of confining potentials."""

    def exponent(self, x: Jet) -> Jet:
        return (x * x).sum() * 0.5


class BoxMask(JetModule):
    """Π_i 4 (x_i − low_i)(high_i − x_i)/(high_i − low_i)²: zero on the boundary (Dirichlet).

    Args:
        low, high: the box: numbers, or one per axis.
    """

    def __init__(self, low: float | Sequence[float], high: float | Sequence[float]) -> None:
        super().__init__()
        sides = [torch.as_tensor(v, dtype=torch.float64) for v in (low, high)]
        lengths = {len(v) for v in sides if v.ndim == 1}
        if len(lengths) > 1 or max(v.ndim for v in sides) > 1:
            raise ValueError(f"low and high must be numbers or one per axis, got {low} and {high}")
        if not bool((sides[0] < sides[1]).all()):
            raise ValueError(f"a box needs low < high, got {low} and {high}")
        self.dim = lengths.pop() if lengths else None
        # numbers, not buffers: those would be rounded with the parameters
        self.low, self.high = (v.tolist() for v in torch.broadcast_tensors(*sides))

    def propagate(self, u: Jet) -> Jet:
        if self.dim is None:
            low, high = self.low, self.high
        elif self.dim == u.value.shape[1]:
            low, high = (
                torch.tensor(v, dtype=u.value.dtype, device=u.value.device)
                for v in (self.low, self.high)
            )
        else:
            raise ValueError(f"a box of {self.dim} sides got points of {u.value.shape[1]}")
        inside = (u - low) * (-u + high)
        return (inside * (4 / (high - low) ** 2)).prod()


class Factor(JetModule):
    """Any fixed or learned function (B, d) → (B, 1) or (B, L) as a factor.

    ``Factor(lambda x: proposal.density(x).sqrt()[:, None])`` is the paper's parametrisation of
    f/√w by a network (D.3). Derivatives by forward mode.
    """

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)

    def jet(self, x: Tensor, order: int) -> Jet:
        return forward_mode(self.function, x, order)
