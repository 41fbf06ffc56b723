"""Factors that put decay and boundary conditions into a function by construction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from schmidt.operators.derivatives import Function, JetModule, forward_mode
from schmidt.operators.jet import Jet, radius


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
