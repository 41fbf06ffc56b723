"""The hidden units of a network as functions: what its outputs are linear combinations of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from schmidt.operators.jet import Jet, JetModule, forward_mode
from schmidt.operators.networks.mlp import DisjointMLP, SharedMLP
from schmidt.parameters import Number, check

PARAMETERS = {
    "size": Number(1, whole=True),
    "modes": Number(1, whole=True),
    "outputs": Number(1, whole=True, none=True),
    "scale": Number(0),
    "amplitude": Number(0, open="low"),
}


class Ansatz(JetModule):
    """f(x) = amplitude · trunk(inputs(x)) · factor₁(x) · factor₂(x) …

    Args:
        trunk: network of the input features. A plain ``nn.Module`` (B, F) → (B, L) or (B, L, O)
            will do; its derivatives are then taken by forward mode.
        inputs: map of the coordinates; None for the coordinates themselves.
        factors: envelopes, boundary masks, √proposal densities; any number.
        amplitude: a constant. Learned functions have norms √σ (sec. 3.2), so with an amplitude of
            about √σ₁ the trunk's outputs are of order one, which optimizers expect.
    """

    def __init__(
        self,
        trunk: nn.Module,
        *factors: JetModule,
        inputs: nn.Module | None = None,
        amplitude: float = 1.0,
    ) -> None:
        super().__init__()
        self.amplitude = _positive(amplitude)
        self.inputs = inputs
        self.trunk = trunk
        self.factors = nn.ModuleList(factors)

    def forward(self, x: Tensor) -> Tensor:
        return self.jet(x, 0).value

    def jet(self, x: Tensor, order: int) -> Jet:
        out = self._features(x, order)
        vector_valued = out.streams.ndim == 4
        for factor in self.factors:
            scale: Jet = factor.jet(x, order)  # type: ignore[operator]
            if vector_valued:
                scale = Jet(scale.streams[..., None], scale.dim, order)
            out = out * scale
        return out if self.amplitude == 1 else out * self.amplitude

    def _features(self, x: Tensor, order: int) -> Jet:
        """The jet of trunk∘inputs: in one pass where both can, else by forward mode."""
        maps = [self.trunk] if self.inputs is None else [self.inputs, self.trunk]
        if not all(_propagates(m) for m in maps):
            return forward_mode(nn.Sequential(*maps), x, order)
        out = Jet.coordinates(x, order)
        for m in maps:
            out = m.propagate(out)  # type: ignore[operator]
        return out


def _propagates(module: nn.Module) -> bool:
    own = getattr(type(module), "propagate", JetModule.propagate)
    return own is not JetModule.propagate


def _positive(amplitude: float) -> float:
    check(PARAMETERS, amplitude=amplitude)
    return float(amplitude)


class IndexTable(JetModule):
    """L functions on the index set {0, …, n−1}, amplitude · table: the 'network' of a matrix form.

    Args:
        size: n.
        modes: L.
        outputs: None, or O for vector-valued functions.
        scale: standard deviation of the random start, before the amplitude.
        amplitude: a constant, as in :class:`Ansatz`: with about √σ₁ the table's entries are of the
            size of normalised functions, which optimizers expect.
    """

    def __init__(
        self,
        size: int,
        modes: int,
        *,
        outputs: int | None = None,
        scale: float = 0.1,
        amplitude: float = 1.0,
    ) -> None:
        super().__init__()
        check(PARAMETERS, size=size, modes=modes, outputs=outputs, scale=scale)
        self.amplitude = _positive(amplitude)
        shape = (size, modes) if outputs is None else (size, modes, outputs)
        self.table = nn.Parameter(scale * torch.randn(shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.amplitude * self.table[x]

    def jet(self, x: Tensor, order: int) -> Jet:
        if order != 0:
            raise ValueError("functions on an index set have no derivatives")
        return Jet(self(x)[None], 1, 0)


class Hidden(JetModule):
    """Units of the last hidden layer times the factors (envelopes, masks) of a network.

    They come in blocks: function l of the network combines the units of block l, or of the one
    block there is. The functions (B, d) → (B, blocks·units) are block-major.

    Args:
        network: an :class:`Ansatz` around, or a bare, ``DisjointMLP`` or ``SharedMLP`` of scalar
            functions; or an ``nn.Sequential`` that ends in a ``Linear`` layer.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.ansatz = network if isinstance(network, Ansatz) else None
        trunk: Any = network.trunk if isinstance(network, Ansatz) else network
        self.plain = isinstance(trunk, nn.Sequential) and isinstance(trunk[-1], nn.Linear)
        if not (self.plain or isinstance(trunk, DisjointMLP | SharedMLP)):
            raise ValueError(
                "hidden units are known for DisjointMLP, SharedMLP (bare or in an Ansatz) and for "
                f"an nn.Sequential that ends in Linear, not for {type(trunk).__name__}"
            )
        if self.plain and self.ansatz is not None and self.ansatz.inputs is not None:
            raise ValueError("put the inputs into the nn.Sequential to have its hidden units")
        if not self.plain and trunk.outputs is not None:
            raise ValueError("hidden units serve scalar functions only, not vector-valued ones")
        self.trunk = trunk
        self.modes = trunk[-1].out_features if self.plain else trunk.modes

    def _units(self, x: Tensor, order: int) -> Jet:
        """Streams (S, B, 1 or L, units)."""
        if self.plain:
            body: nn.Sequential = self.trunk[:-1]
            jet = forward_mode(body, x, order)
            if self.trunk[-1].bias is None:
                return Jet(jet.streams[:, :, None], jet.dim, order)
            one = torch.zeros_like(jet.streams[:, :, :1])
            one[0] = 1
            return Jet(torch.cat([jet.streams, one], 2)[:, :, None], jet.dim, order)
        u = Jet.coordinates(x, order)
        if self.ansatz is not None and self.ansatz.inputs is not None:
            inputs: Any = self.ansatz.inputs
            u = inputs.propagate(u)
        return Jet(self.trunk.hidden(u), u.dim, order)

    def blocks(self, x: Tensor, order: int) -> Jet:
        """Jets with streams (S, B, blocks, units)."""
        out = self._units(x, order)
        for factor in [] if self.ansatz is None else self.ansatz.factors:
            scale: Jet = factor.jet(x, order)  # type: ignore[operator]
            out = out * Jet(scale.streams[..., None], scale.dim, order)
        return out

    def jet(self, x: Tensor, order: int) -> Jet:
        blocks = self.blocks(x, order)
        return Jet(blocks.streams.flatten(2), blocks.dim, order)

    def forward(self, x: Tensor) -> Tensor:
        return self.jet(x, 0).value

    @torch.no_grad()
    def set_readout(self, coefficients: Tensor) -> None:
        """Make function l Σ_i coefficients[l, i] · unit_i of its block; (L, units)."""
        amplitude = 1.0 if self.ansatz is None else self.ansatz.amplitude
        c = coefficients / amplitude
        if self.plain:
            last: nn.Linear = self.trunk[-1]
            bias: Tensor | None = last.bias
            last.weight.copy_(c if bias is None else c[:, :-1])
            if bias is not None:
                bias.copy_(c[:, -1])
        elif isinstance(self.trunk, DisjointMLP):
            self.trunk.readout.copy_(c[:, :, None])
        else:
            self.trunk.readout.copy_(c.T)
