"""One side of a fitted co-embedding: centred combinations of a network's outputs or units."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from schmidt.arrays import tensor

CHUNK = 4096


class Embedding(nn.Module):
    """x ↦ (u(x) − mean) @ mix, (B, …) → (B, L).

    Args:
        network: u, a module (B, …) → (B, K).
        mean: (K,).
        mix: (K, L).
        units: take ``network.features`` for u, the hidden units, instead of its outputs.
    """

    mean: Tensor
    mix: Tensor

    def __init__(
        self, network: nn.Module, mean: Tensor, mix: Tensor, *, units: bool = False
    ) -> None:
        super().__init__()
        self.network = network
        self.units = units
        like = _first(network, mean)
        self.register_buffer("mean", mean.to(like).clone())
        self.register_buffer("mix", mix.to(like).clone())

    @property
    def modes(self) -> int:
        return self.mix.shape[1]

    def forward(self, x: Tensor) -> Tensor:
        network: Any = self.network
        values = network.features(x) if self.units else network(x)
        if values.shape[-1] != len(self.mean):
            raise ValueError(
                f"items have {values.shape[-1]} features each, and were fitted with "
                f"{len(self.mean)}"
            )
        return (values - self.mean) @ self.mix

    @torch.no_grad()
    def embed(self, x: Any, modes: int | None = None) -> Any:
        """Numpy in, numpy out; tensor in, tensor out, on its device; floats keep precision."""
        given = tensor(x)
        if given.ndim == 0 or len(given) == 0:
            raise ValueError(f"expected items (n, …), got shape {tuple(given.shape)}")
        if given.is_floating_point() and not bool(given.isfinite().all()):
            raise ValueError("the items contain NaN or Inf; remove them first")
        mix, device = self.mix, self.mix.device
        parts = []
        for part in given.split(CHUNK):
            part = part.to(device)
            part = part.to(mix.dtype) if part.is_floating_point() else part
            parts.append(self(part)[:, :modes])
        out = torch.cat(parts)
        dtype = given.dtype if given.is_floating_point() else mix.dtype
        out = out.to(given.device, dtype)
        return out if isinstance(x, Tensor) else out.numpy()

    def truncate(self, modes: int) -> Embedding:
        """The first modes only; the network is shared."""
        return Embedding(self.network, self.mean, self.mix[:, :modes], units=self.units)


def _first(network: nn.Module, otherwise: Tensor) -> Tensor:
    """Some tensor of the network, to take precision and device from."""
    both = (*network.parameters(), *network.buffers())
    return next((p for p in both if p.is_floating_point()), otherwise)
