"""Features: many functions at once, whose span is searched for eigenfunctions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from schmidt.operators.jet import Jet, JetModule
from schmidt.operators.networks.mlp import activate, named_activation


class TrunkFeatures(JetModule):
    """All hidden units of a perceptron, its inputs and a constant, times M envelopes.

    Drawn at random, a trunk of two tanh layers already spans eigenfunctions of smooth operators to
    many digits; its weights are parameters and can be trained. The order of the
    ``(units + inputs + 1)·M`` features is unit-major.

    Args:
        inputs: map of the coordinates; must have ``.features``.
        envelopes: M factors (B, d) → (B, M) that bring decay or boundary values; None for 1.
        width: units per hidden layer.
        depth: hidden layers.
        gain: scale of the weights: columns of length ``gain`` in the first layer, orthogonal ×
            ``gain`` after.
        seed: of the weights. Parameters are float64.
    """

    def __init__(
        self,
        inputs: JetModule,
        envelopes: JetModule | None,
        *,
        width: int,
        depth: int = 2,
        gain: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if width < 1 or depth < 1 or not gain > 0:
            raise ValueError(
                f"a trunk needs width ≥ 1, depth ≥ 1 and gain > 0, got {width}, {depth}, {gain}"
            )
        self.inputs: Any = inputs.double()
        self.envelopes: Any = envelopes
        entries = int(inputs.features)  # type: ignore[arg-type]
        if envelopes is not None:
            envelopes.double()
        self.activation = named_activation("tanh")
        generator = torch.Generator().manual_seed(seed)
        size = entries
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for layer in range(depth):
            draw = torch.randn(size, width, generator=generator, dtype=torch.float64)
            weight = nn.functional.normalize(draw, dim=0) if layer == 0 else _orthogonal(draw)
            bias = torch.rand(1, width, generator=generator, dtype=torch.float64) * 2 - 1
            self.weights.append(nn.Parameter(gain * weight))
            self.biases.append(nn.Parameter(bias))
            size = width
        self.units = entries + depth * width + 1

    def _hidden(self, u: Jet) -> Tensor:
        """Streams (S, B, units)."""
        h = self.inputs.propagate(u).streams
        out = [h]
        for weight, bias in zip(self.weights, self.biases, strict=True):
            h = activate(h @ weight, bias, u.dim, u.order, self.activation)
            out.append(h)
        constant = torch.zeros_like(h[:, :, :1])
        constant[0] = 1
        return torch.cat([*out, constant], 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.jet(x, 0).value

    def jet(self, x: Tensor, order: int) -> Jet:
        u = Jet.coordinates(x, order)
        h = Jet(self._hidden(u), u.dim, order)
        if self.envelopes is None:
            return h
        e: Jet = self.envelopes.jet(x, order)
        product = Jet(h.streams[..., None], u.dim, order) * Jet(
            e.streams[:, :, None, :], u.dim, order
        )
        return Jet(product.streams.flatten(2), u.dim, order)

    def mixed(self, x: Tensor, order: int, mix: Tensor) -> Jet:
        """Linear combinations of the features, (K, L) → L functions, without forming all K."""
        u = Jet.coordinates(x, order)
        h = self._hidden(u)
        if self.envelopes is None:
            return Jet(h @ mix, u.dim, order)
        e: Jet = self.envelopes.jet(x, order)
        count = e.streams.shape[2]
        parts = mix.reshape(self.units, count, -1)
        out = None
        for m in range(count):
            envelope = Jet(e.streams[:, :, m : m + 1], u.dim, order)
            term = Jet(h @ parts[:, m], u.dim, order) * envelope
            out = term if out is None else out + term
        assert out is not None
        return out


def _orthogonal(square: Tensor) -> Tensor:
    q, r = torch.linalg.qr(square)
    return q * r.diagonal().sign()
