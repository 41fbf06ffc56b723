"""Jets: what functions are at points – value, gradient, Laplacian – and their algebra.

A jet of order k carries derivatives up to k (0: value; 1: and gradient; 2: and Laplacian). Sums,
products and compositions of jets obey the rules of calculus exactly, so a network written in terms
of jets propagates all derivatives through its layers in one pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Jet:
    """Values and derivatives of L functions at B points of R^d.

    Stored as one tensor of *streams*, shape (S, B, L, …): the value, then the d partial
    derivatives (order ≥ 1), then the Laplacian (order 2), so that a linear layer is one matrix
    product. Functions may be vector-valued: trailing axes O after L.
    """

    def __init__(self, streams: Tensor, dim: int, order: int) -> None:
        expected = {0: 1, 1: 1 + dim, 2: 2 + dim}.get(order)
        if expected is None:
            raise ValueError(f"a jet has order 0, 1 or 2, got {order}")
        if streams.shape[0] != expected:
            raise ValueError(
                f"a jet of order {order} in {dim} dimensions has {expected} streams, "
                f"got {streams.shape[0]}"
            )
        self.streams = streams
        self.dim = dim
        self.order = order

    @staticmethod
    def coordinates(x: Tensor, order: int) -> Jet:
        """The jet of the identity at points ``x`` of shape (B, d): gradient I, Laplacian 0."""
        if order == 0:
            return Jet(x[None], x.shape[-1], 0)
        if x.ndim != 2:
            raise ValueError(f"derivatives need points of shape (B, d), got {tuple(x.shape)}")
        points, dim = x.shape
        slopes = torch.eye(dim, dtype=x.dtype, device=x.device)[:, None, :].expand(dim, points, dim)
        zero = x.new_zeros(1, points, dim)
        return Jet(torch.cat([x[None], slopes] + [zero] * (order == 2)), dim, order)

    @property
    def value(self) -> Tensor:
        """(B, L, …)."""
        return self.streams[0]

    @property
    def gradient(self) -> Tensor:
        """(B, L, …, d)."""
        if self.order < 1:
            raise ValueError("this jet has no gradient: ask for order=1")
        return self.streams[1 : 1 + self.dim].movedim(0, -1)

    @property
    def laplacian(self) -> Tensor:
        """(B, L, …)."""
        if self.order < 2:
            raise ValueError("this jet has no Laplacian: ask for order=2")
        return self.streams[-1]

    def _like(self, streams: Tensor) -> Jet:
        return Jet(streams, self.dim, self.order)

    def _check(self, other: Jet) -> None:
        # broadcasting would silently take a value for a derivative
        if (self.order, self.dim) != (other.order, other.dim):
            raise ValueError(
                f"cannot combine jets of order {self.order} and {other.order}: lower one of them"
                if self.dim == other.dim
                else f"cannot combine jets in {self.dim} and {other.dim} dimensions"
            )

    def detach(self) -> Jet:
        return self._like(self.streams.detach())

    def lower(self, order: int) -> Jet:
        """The same jet with derivatives up to ``order`` only."""
        if order > self.order:
            raise ValueError(f"a jet of order {self.order} has no derivatives of order {order}")
        return Jet(self.streams[: 1 + (order > 0) * self.dim + (order > 1)], self.dim, order)

    def split(self, sizes: Sequence[int]) -> list[Jet]:
        """The jet at consecutive blocks of points."""
        return [self._like(s) for s in self.streams.split(list(sizes), dim=1)]

    def mix(self, matrix: Tensor) -> Jet:
        """The jets of linear combinations Σ_i f_i matrix_il: shape (L, L') in, L' functions out."""
        return self._like(torch.einsum("sbi...,il->sbl...", self.streams, matrix))

    def __add__(self, other: Jet | Tensor | float) -> Jet:
        if isinstance(other, Jet):
            self._check(other)
            return self._like(self.streams + other.streams)
        return self._like(torch.cat([self.streams[:1] + other, self.streams[1:]]))

    __radd__ = __add__

    def __neg__(self) -> Jet:
        return self._like(-self.streams)

    def __sub__(self, other: Jet | Tensor | float) -> Jet:
        return self + (-other)

    def __mul__(self, other: Jet | Tensor | float) -> Jet:
        """Product rule; a plain tensor or number is a constant factor."""
        if not isinstance(other, Jet):
            return self._like(self.streams * other)
        self._check(other)
        u, v, d = self.streams, other.streams, self.dim
        parts = [u[:1] * v[:1]]
        if self.order >= 1:
            parts.append(u[:1] * v[1 : 1 + d] + u[1 : 1 + d] * v[:1])
        if self.order == 2:
            cross = (u[1 : 1 + d] * v[1 : 1 + d]).sum(0, keepdim=True)
            parts.append(u[:1] * v[-1:] + u[-1:] * v[:1] + 2 * cross)
        return self._like(torch.cat(parts))

    __rmul__ = __mul__

    def chain(self, h: Tensor, dh: Tensor | None = None, d2h: Tensor | None = None) -> Jet:
        """h∘u from h, h′ and h″ at the values of u: ∇ = h′∇u, Δ = h′Δu + h″|∇u|²."""
        parts = [h[None]]
        if self.order >= 1:
            assert dh is not None
            slopes = self.streams[1 : 1 + self.dim]
            parts.append(dh * slopes)
        if self.order == 2:
            assert dh is not None
            assert d2h is not None
            parts.append((dh * self.streams[-1] + d2h * slopes.pow(2).sum(0))[None])
        return self._like(torch.cat(parts))

    def exp(self) -> Jet:
        h = self.value.exp()
        return self.chain(h, h, h)

    def reciprocal(self) -> Jet:
        h = self.value.reciprocal()
        return self.chain(h, -h * h, 2 * h**3)

    def sqrt(self) -> Jet:
        h = self.value.sqrt()
        return self.chain(h, 0.5 / h, -0.25 / h**3)

    def sum(self) -> Jet:
        """Σ over the functions, keeping the axis: (B, L) → (B, 1)."""
        return self._like(self.streams.sum(2, keepdim=True))

    def prod(self) -> Jet:
        """Π over the functions, keeping the axis: (B, L) → (B, 1)."""
        out = self._like(self.streams[:, :, :1])
        for i in range(1, self.streams.shape[2]):
            out = out * self._like(self.streams[:, :, i : i + 1])
        return out

    @staticmethod
    def cat(jets: Sequence[Jet]) -> Jet:
        """Jets of several sets of functions side by side."""
        for other in jets[1:]:
            jets[0]._check(other)
        return jets[0]._like(torch.cat([j.streams for j in jets], dim=2))


def radius(u: Jet) -> Jet:
    """|u|, usually of the coordinates: (B, L) → (B, 1). At 0 derivatives are those of a tiny u."""
    size = u.value.norm(dim=1, keepdim=True).clamp_min(torch.finfo(u.value.dtype).tiny ** 0.25)
    parts = [size[None]]
    if u.order >= 1:
        slopes, unit = u.streams[1 : 1 + u.dim], u.value / size
        along = (unit * slopes).sum(-1, keepdim=True)
        parts.append(along)
    if u.order == 2:
        across = slopes.pow(2).sum((0, -1))[:, None] - along.pow(2).sum(0)
        parts.append(((unit * u.laplacian).sum(-1, keepdim=True) + across / size)[None])
    return Jet(torch.cat(parts), u.dim, u.order)
