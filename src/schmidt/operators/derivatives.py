"""The jet of any function: exact by forward mode, or by finite differences, or estimated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from schmidt.operators.jet import Jet

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
        if not epsilon > 0:
            raise ValueError(f"the step of the stencil must be positive, got {epsilon}")
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
        if probes < 1:
            raise ValueError(f"Hutchinson's estimate needs at least one probe, got {probes}")
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
