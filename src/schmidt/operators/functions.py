"""Learned functions as results: linear combinations of a network's outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from schmidt.operators.derivatives import Exact, Function
from schmidt.operators.jet import Jet


class Functions(nn.Module):
    """k functions Σ_i f_i(x) mix_il of a network's L outputs.

    Call with numpy points (or lists of them) and get a numpy array (N, k) (or (N, k, O)) of the
    same precision, or with a tensor and get a tensor.

    To read functions back from a file, make the network and hand ``Functions(network,
    torch.zeros(L, k))`` to :meth:`schmidt.Factorization.load`.
    """

    mix: Tensor

    def __init__(self, network: Function, mix: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mix", mix.detach().to(torch.float64))

    def forward(self, x: Any) -> Any:
        if isinstance(x, Tensor):
            return self._values(x)
        points = np.array(x)
        with torch.no_grad():
            out = self._values(torch.from_numpy(points).to(self._device()))
        values = out.cpu().numpy()
        return values.astype(points.dtype) if np.issubdtype(points.dtype, np.floating) else values

    def _device(self) -> torch.device:
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    def _dtype(self) -> torch.dtype | None:
        return next((p.dtype for p in self.parameters()), None)

    def _values(self, x: Tensor) -> Tensor:
        if x.is_floating_point() and x.ndim == 1:
            x = x[:, None]
        # integers in one axis are indices, in two they are coordinates
        inside = x.to(self._dtype()) if x.is_floating_point() or x.ndim == 2 else x
        out = torch.einsum("bi...,il->bl...", (v := self.network(inside)), self.mix.to(v))
        return out.to(x.dtype) if x.is_floating_point() else out

    def jet(self, x: Tensor, order: int) -> Jet:
        """Values and derivatives, in the network's precision."""
        jet = Exact()(self.network, x.to(self._dtype()), order)
        return jet.mix(self.mix.to(jet.streams))

    def truncate(self, k: int) -> Functions:
        return Functions(self.network, self.mix[:, :k])
