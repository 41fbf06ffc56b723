"""Putting inputs, trunk and factors together; and functions on a finite index set."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from schmidt.operators.derivatives import JetModule
from schmidt.operators.jet import Jet


class Ansatz(JetModule):
    """f(x) = amplitude · trunk(inputs(x)) · factor₁(x) · factor₂(x) …

    Args:
        trunk: network of the input features.
        inputs: map of the coordinates; None for the coordinates themselves.
        factors: envelopes, boundary masks, √proposal densities; any number.
        amplitude: a constant. Learned functions have norms √σ (sec. 3.2), so with an amplitude of
            about √σ₁ the trunk's outputs are of order one, which optimizers expect.
    """

    def __init__(
        self,
        trunk: JetModule,
        *factors: JetModule,
        inputs: JetModule | None = None,
        amplitude: float = 1.0,
    ) -> None:
        super().__init__()
        if not amplitude > 0:
            raise ValueError(f"the amplitude must be positive, got {amplitude}")
        self.amplitude = float(amplitude)
        self.inputs = inputs
        self.trunk = trunk
        self.factors = nn.ModuleList(factors)

    def forward(self, x: Tensor) -> Tensor:
        return self.jet(x, 0).value

    def jet(self, x: Tensor, order: int) -> Jet:
        points = Jet.coordinates(x, order)
        out = self.trunk.propagate(self.inputs.propagate(points) if self.inputs else points)
        vector_valued = out.streams.ndim == 4
        for factor in self.factors:
            scale: Jet = factor.jet(x, order)  # type: ignore[operator]
            if vector_valued:
                scale = Jet(scale.streams[..., None], scale.dim, order)
            out = out * scale
        return out if self.amplitude == 1 else out * self.amplitude


class IndexTable(JetModule):
    """L functions on the index set {0, …, n−1}: a table, the 'network' of a matrix form.

    Args:
        size: n.
        modes: L.
        outputs: None, or O for vector-valued functions.
        scale: standard deviation of the random start.
    """

    def __init__(
        self, size: int, modes: int, *, outputs: int | None = None, scale: float = 0.1
    ) -> None:
        super().__init__()
        shape = (size, modes) if outputs is None else (size, modes, outputs)
        self.table = nn.Parameter(scale * torch.randn(shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.table[x]

    def jet(self, x: Tensor, order: int) -> Jet:
        if order != 0:
            raise ValueError("functions on an index set have no derivatives")
        return Jet(self(x)[None], 1, 0)
