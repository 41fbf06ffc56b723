"""Points with weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Points:
    """Points ``x`` (N, d) – or indices (N,) – and ``weight`` (N,) with Σ weight h(x) ≈ ∫ h dμ."""

    x: Tensor
    weight: Tensor

    def __post_init__(self) -> None:
        if self.weight.shape != self.x.shape[:1]:
            raise ValueError(
                f"{self.x.shape[0]} points need weights of shape ({self.x.shape[0]},), "
                f"got {tuple(self.weight.shape)}"
            )

    def __len__(self) -> int:
        return len(self.weight)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Points:
        """On another device, in another dtype (indices stay integers)."""
        x = self.x.to(device=device, dtype=dtype if self.x.is_floating_point() else None)
        return Points(x, self.weight.to(device=device, dtype=dtype))

    def part(self, index: slice) -> Points:
        return Points(self.x[index], self.weight[index])
