"""Multilayer perceptrons whose L outputs are L functions: disjoint or with a shared trunk."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from schmidt.operators.derivatives import JetModule
from schmidt.operators.jet import Jet
from schmidt.operators.networks import activation as nonlinear


def _check(inputs: int, modes: int, hidden: Sequence[int], outputs: int | None) -> None:
    sizes = [inputs, modes, *hidden, *([] if outputs is None else [outputs])]
    if len(hidden) < 1 or min(sizes) < 1:
        raise ValueError(
            "a network needs positive sizes and at least one hidden layer, got "
            f"inputs={inputs}, modes={modes}, hidden={tuple(hidden)}, outputs={outputs}"
        )


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
        _check(inputs, modes, hidden, outputs)
        self.modes, self.outputs = modes, outputs
        self.activation = nonlinear.activation(activation)
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
            h = nonlinear.activate(z, bias, u.dim, u.order, self.activation)
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
            h = nonlinear.activate(h @ weight, bias, u.dim, u.order, self.activation)
        return h[:, :, None]

    def propagate(self, u: Jet) -> Jet:
        y = self.hidden(u)[:, :, 0] @ self.readout
        if self.outputs:
            y = y.view(*y.shape[:2], self.modes, self.outputs)
        return Jet(y, u.dim, u.order)
