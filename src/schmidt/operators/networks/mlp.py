"""Multilayer perceptrons whose L outputs are L functions: disjoint or with a shared trunk."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from schmidt.operators.jet import Jet, JetModule
from schmidt.parameters import Choice, Number, check

COUNT = Number(1, whole=True)
PARAMETERS = {
    "inputs": COUNT,
    "modes": COUNT,
    "hidden": COUNT,
    "outputs": Number(1, whole=True, none=True),
    "gain": Number(0, open="low"),
}


@dataclass(frozen=True)
class Activation:
    """A nonlinearity h and its derivatives.

    Attributes:
        plain: h.
        seed: the tensors from which all derivatives follow cheaply, computed from u.
        slopes: (seed, n) → [h, h′, …, h⁽ⁿ⁾], n ≤ 3.
    """

    name: str
    plain: Callable[[Tensor], Tensor]
    seed: Callable[[Tensor], tuple[Tensor, ...]]
    slopes: Callable[[tuple[Tensor, ...], int], list[Tensor]]


def _tanh_slopes(seed: tuple[Tensor, ...], n: int) -> list[Tensor]:
    (t,) = seed
    out = [t]
    if n >= 1:
        out.append(1 - t * t)
    if n >= 2:
        out.append(-2 * t * out[1])
    if n >= 3:
        out.append(out[1] * (6 * t * t - 2))
    return out


def _softplus_slopes(seed: tuple[Tensor, ...], n: int) -> list[Tensor]:
    h, s = seed
    out = [h]
    if n >= 1:
        out.append(s)
    if n >= 2:
        out.append(s * (1 - s))
    if n >= 3:
        out.append(out[2] * (1 - 2 * s))
    return out


def _sine_slopes(seed: tuple[Tensor, ...], n: int) -> list[Tensor]:
    s, c = seed
    return [s, c, -s, -c][: n + 1]


ACTIVATIONS = {
    "tanh": Activation("tanh", torch.tanh, lambda u: (torch.tanh(u),), _tanh_slopes),
    "softplus": Activation(
        "softplus", F.softplus, lambda u: (F.softplus(u), torch.sigmoid(u)), _softplus_slopes
    ),
    "sin": Activation("sin", torch.sin, lambda u: (torch.sin(u), torch.cos(u)), _sine_slopes),
}


def named_activation(name: str) -> Activation:
    """Look an activation up by name; an unknown name lists the known ones."""
    check({"activation": Choice(*sorted(ACTIVATIONS))}, activation=name)
    return ACTIVATIONS[name]


class _Streams(torch.autograd.Function):
    """h on streams (…, S, B, F): the third-last axis is value, d slopes, perhaps a Laplacian."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, bias: Tensor, dim: int, order: int, h: Activation) -> Tensor:
        seed = h.seed(u.select(-3, 0) + bias)
        d = h.slopes(seed, order)
        out = torch.empty_like(u)
        out.select(-3, 0).copy_(d[0])
        gradient = u.narrow(-3, 1, dim)
        torch.mul(gradient, d[1].unsqueeze(-3), out=out.narrow(-3, 1, dim))
        if order == 2:
            curvature = gradient.pow(2).sum(-3).mul_(d[2])
            out.select(-3, dim + 1).copy_(curvature.addcmul_(d[1], u.select(-3, dim + 1)))
        ctx.save_for_backward(u, *seed)
        ctx.dim, ctx.order, ctx.h = dim, order, h
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        u, *seed = ctx.saved_tensors
        dim, order = ctx.dim, ctx.order
        d = ctx.h.slopes(tuple(seed), order + 1)
        out = torch.empty_like(u)
        slope, g_slope = u.narrow(-3, 1, dim), g.narrow(-3, 1, dim)
        torch.mul(g_slope, d[1].unsqueeze(-3), out=out.narrow(-3, 1, dim))
        value = d[1] * g.select(-3, 0)
        value.addcmul_(d[2], (g_slope * slope).sum(-3))
        if order == 2:
            g_lap, lap = g.select(-3, dim + 1), u.select(-3, dim + 1)
            out.narrow(-3, 1, dim).addcmul_(slope, (2 * d[2] * g_lap).unsqueeze(-3))
            out.select(-3, dim + 1).copy_(d[1] * g_lap)
            value.addcmul_(g_lap, d[2] * lap + d[3] * slope.pow(2).sum(-3))
        out.select(-3, 0).copy_(value)
        return out, value.sum(-2, keepdim=True), None, None, None


def activate(u: Tensor, bias: Tensor, dim: int, order: int, h: Activation) -> Tensor:
    """h(u + bias) on streams of shape (…, S, B, F), bias (…, 1, F)."""
    if order == 0:
        return h.plain(u + bias.unsqueeze(-3))
    return _Streams.apply(u, bias, dim, order, h)


def _check_sizes(hidden: Sequence[int]) -> None:
    """Widths of hidden layers, at least one."""
    if isinstance(hidden, int) or not len(hidden):
        raise ValueError(f"hidden must be the widths of one or more layers, (32, 32), got {hidden}")
    for width in hidden:
        check(PARAMETERS, hidden=width)


def _orthogonal(rows: int, columns: int) -> Tensor:
    return nn.init.orthogonal_(torch.empty(rows, columns))


def _unit_columns(rows: int, columns: int) -> Tensor:
    return nn.functional.normalize(torch.randn(rows, columns), dim=0)


class _MLP(JetModule):
    """Arguments, parameters and their random start."""

    shared: bool
    default: tuple[int, ...]

    def __init__(
        self,
        inputs: int,
        modes: int,
        hidden: Sequence[int] | None = None,
        *,
        outputs: int | None = None,
        activation: str = "tanh",
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        hidden = self.default if hidden is None else hidden
        check(PARAMETERS, inputs=inputs, modes=modes, outputs=outputs, gain=gain)
        _check_sizes(hidden)
        self.modes, self.outputs = modes, outputs
        self.activation = named_activation(activation)
        copies, width = (1, modes) if self.shared else (modes, 1)
        lead = () if self.shared else (modes,)
        sizes = [inputs, *hidden]
        draw = [_unit_columns] + [_orthogonal] * (len(hidden) - 1)
        self.weights = nn.ParameterList(
            torch.stack([gain * make(a, b) for _ in range(copies)]).reshape(*lead, a, b)
            for make, a, b in zip(draw, sizes, sizes[1:], strict=False)
        )
        self.biases = nn.ParameterList(torch.rand(*lead, 1, b) * 2 - 1 for b in hidden)
        last = hidden[-1]
        start = torch.randn(*lead, last, width * (outputs or 1))
        self.readout = nn.Parameter(start / math.sqrt(last))


class DisjointMLP(_MLP):
    """L separate perceptrons, evaluated together as batched matrix products.

    Separate parameters for every function are what sequential nesting wants (sec. 3.2.1).

    Args:
        inputs: number F of input features.
        modes: L.
        hidden: widths of the hidden layers; default (32, 32).
        outputs: None for scalar functions (B, L), or O for vector-valued ones (B, L, O).
        activation: "tanh", "softplus" or "sin".
        gain: scale of the weights: unit columns × gain in the first layer, orthogonal × gain after.

    Parameters are drawn from torch's global generator. Cost of a jet: about
    2·L·S·B·Σ in·out multiply-adds for S streams.
    """

    shared = False
    default = (32, 32)

    def _hidden(self, u: Jet) -> Tensor:
        streams, points = u.streams.shape[:2]
        h = u.streams.reshape(1, streams * points, -1).expand(self.modes, -1, -1)
        for weight, bias in zip(self.weights, self.biases, strict=True):
            z = torch.bmm(h, weight).view(self.modes, streams, points, -1)
            h = activate(z, bias, u.dim, u.order, self.activation)
            h = h.view(self.modes, streams * points, -1)
        return h

    def hidden(self, u: Jet) -> Tensor:
        """Streams of the last hidden layer of every network: (S, B, L, units)."""
        streams, points = u.streams.shape[:2]
        return self._hidden(u).view(self.modes, streams, points, -1).permute(1, 2, 0, 3)

    def propagate(self, u: Jet) -> Jet:
        streams, points = u.streams.shape[:2]
        y = torch.bmm(self._hidden(u), self.readout).view(self.modes, streams, points, -1)
        y = y.permute(1, 2, 0, 3)
        return Jet(y if self.outputs else y[..., 0], u.dim, u.order)


class SharedMLP(_MLP):
    """One perceptron with L outputs; meant for joint nesting (sec. 3.2.2).

    Arguments as above, but ``hidden`` is (128, 128) by default.
    """

    shared = True
    default = (128, 128)

    def hidden(self, u: Jet) -> Tensor:
        """Streams of the last hidden layer: (S, B, 1, units)."""
        h = u.streams
        for weight, bias in zip(self.weights, self.biases, strict=True):
            h = activate(h @ weight, bias, u.dim, u.order, self.activation)
        return h[:, :, None]

    def propagate(self, u: Jet) -> Jet:
        y = self.hidden(u)[:, :, 0] @ self.readout
        if self.outputs:
            y = y.view(*y.shape[:2], self.modes, self.outputs)
        return Jet(y, u.dim, u.order)
