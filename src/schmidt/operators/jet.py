"""Jets: value, gradient and Laplacian of functions at points, and how any function gets one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from schmidt.parameters import Number, check


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


Function = Callable[[Tensor], Tensor]
"""Points (B, d) to values (B, L) or (B, L, O), row by row."""


class JetModule(nn.Module):
    """A module that propagates jets; its value and its derivatives come from one definition.

    Subclasses write :meth:`propagate`. Maps of coordinates are chained by handing the jet on.
    """

    def propagate(self, u: Jet) -> Jet:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.propagate(Jet.coordinates(x, 0)).value

    def jet(self, x: Tensor, order: int) -> Jet:
        """Value, gradient and Laplacian (as far as ``order`` asks) in one pass."""
        return self.propagate(Jet.coordinates(x, order))


@runtime_checkable
class Derivatives(Protocol):
    """A way to compute jets of an arbitrary function."""

    def __call__(self, function: Function, x: Tensor, order: int) -> Jet: ...


class Exact:
    """Exact derivatives: the library's own modules in one pass, any other by forward mode.

    Cost for a foreign module: d (order 1) or d nested (order 2) forward passes, vectorised.
    """

    def __call__(self, function: Function, x: Tensor, order: int) -> Jet:
        own = getattr(function, "jet", None)
        if own is not None:
            return own(x, order)
        return forward_mode(function, x, order)


def forward_mode(function: Function, x: Tensor, order: int) -> Jet:
    """The exact jet of any row-wise function by (nested) Jacobian–vector products.

    Args:
        function: points (B, d) → (B, L, …); every row of the output may depend on its own row of
            the input only, and it must be differentiable ``order`` times in torch's forward mode.
        x: (B, d).
        order: 0, 1 or 2.
    """
    if order == 0:
        return Jet(function(x)[None], x.shape[-1], 0)
    points, dim = x.shape
    basis = torch.eye(dim, dtype=x.dtype, device=x.device)

    def along(direction: Tensor) -> Any:
        tangent = direction.expand(points, dim)

        def first(z: Tensor) -> Any:
            return torch.func.jvp(function, (z,), (tangent,))

        if order == 1:
            return first(x)
        nested: Any = torch.func.jvp(first, (x,), (tangent,))
        (value, slope), (_, curvature) = nested
        return value, slope, curvature

    value, slope, *curvature = torch.func.vmap(along)(basis)
    parts = [value[:1], slope]
    if order == 2:
        parts.append(curvature[0].sum(0, keepdim=True))
    return Jet(torch.cat(parts), dim, order)


class FiniteDifferences:
    """The central stencil with step ``epsilon``: 2d + 1 evaluations (paper, E.1.1: ε = 0.01).

    Error O(ε²) plus rounding O(u/ε²): in float32 about 1e-3 relative for the Laplacian. Kept to
    compare with the paper; :class:`Exact` is both faster and exact.
    """

    def __init__(self, epsilon: float = 0.01) -> None:
        check({"epsilon": Number(0, open="low")}, epsilon=epsilon)
        self.epsilon = epsilon

    def __call__(self, function: Function, x: Tensor, order: int) -> Jet:
        if order == 0:
            return Jet(function(x)[None], x.shape[-1], 0)
        points, dim = x.shape
        step = self.epsilon * torch.eye(dim, dtype=x.dtype, device=x.device)[:, None, :]
        stencil = torch.cat([x[None], x + step, x - step]).reshape(-1, dim)
        values = function(stencil)
        values = values.reshape(2 * dim + 1, points, *values.shape[1:])
        centre, plus, minus = values[:1], values[1 : 1 + dim], values[1 + dim :]
        parts = [centre, (plus - minus) / (2 * self.epsilon)]
        if order == 2:
            parts.append((plus + minus - 2 * centre).sum(0, keepdim=True) / self.epsilon**2)
        return Jet(torch.cat(parts), dim, order)


class Hutchinson:
    """Exact value and gradient; the Laplacian estimated as the mean of vᵀHv over random signs v.

    Unbiased, with ``probes`` instead of d nested passes: for large d.
    """

    def __init__(self, probes: int = 4, generator: torch.Generator | None = None) -> None:
        check({"probes": Number(1, whole=True)}, probes=probes)
        self.probes = probes
        self.generator = generator

    def __call__(self, function: Function, x: Tensor, order: int) -> Jet:
        if order < 2:
            return Exact()(function, x, order)
        plain = getattr(function, "forward", function)
        signs = torch.randint(
            0, 2, (self.probes, *x.shape), generator=self.generator, device=x.device
        )

        def curvature(tangent: Tensor) -> Tensor:
            def slope(z: Tensor) -> Tensor:
                return torch.func.jvp(plain, (z,), (tangent,))[1]

            return torch.func.jvp(slope, (x,), (tangent,))[1]

        estimate = torch.func.vmap(curvature)(2 * signs.to(x) - 1).mean(0)
        first = Exact()(function, x, 1)
        return Jet(torch.cat([first.streams, estimate[None]]), x.shape[1], 2)
