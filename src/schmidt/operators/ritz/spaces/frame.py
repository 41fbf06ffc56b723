"""Modules of the coordinates z in x = centre + A z."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from schmidt.operators.jet import Jet, JetModule


class Frame(JetModule):
    """A module applied to z = A⁻¹(x − centre)."""

    centre: Tensor
    inverse: Tensor

    def __init__(self, module: JetModule, centre: Tensor, lengths: Tensor) -> None:
        super().__init__()
        self.module: Any = module
        self.register_buffer("centre", centre.double())
        self.register_buffer("inverse", torch.linalg.inv(lengths.double()).T.contiguous())

    @property
    def features(self) -> int:
        return int(self.module.features)

    def propagate(self, u: Jet) -> Jet:
        moved = u + (-self.centre)
        return self.module.propagate(Jet(moved.streams @ self.inverse, u.dim, u.order))
