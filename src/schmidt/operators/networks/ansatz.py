"""Putting inputs, trunk and factors together; and functions on a finite index set."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from schmidt.operators.derivatives import JetModule, forward_mode
from schmidt.operators.jet import Jet


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
    if not amplitude > 0:
        raise ValueError(f"the amplitude must be positive, got {amplitude}")
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
        self.amplitude = _positive(amplitude)
        shape = (size, modes) if outputs is None else (size, modes, outputs)
        self.table = nn.Parameter(scale * torch.randn(shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.amplitude * self.table[x]

    def jet(self, x: Tensor, order: int) -> Jet:
        if order != 0:
            raise ValueError("functions on an index set have no derivatives")
        return Jet(self(x)[None], 1, 0)
