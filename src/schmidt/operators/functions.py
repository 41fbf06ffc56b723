"""Learned functions as results: linear combinations of a network's outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from schmidt.operators.derivatives import Exact, Function
from schmidt.operators.jet import Jet


class Functions(nn.Module):
    """k functions Σ_i f_i(x) mix_il of a network's L outputs; complex if ``mix`` is.

    Call with numpy points (or lists of them) and get a numpy array (N, k) (or (N, k, O)) of the
    same precision, or with a tensor and get a tensor.

    To read functions back from a file, make the network and hand ``Functions(network,
    torch.zeros(L, k))`` to :meth:`schmidt.Factorization.load`.
    """

    mix: Tensor

    def __init__(self, network: Function, mix: Tensor) -> None:
        super().__init__()
        self.network = network
        wide = torch.complex128 if mix.is_complex() else torch.float64
        self.register_buffer("mix", mix.detach().to(wide))

    def forward(self, x: Any) -> Any:
        if isinstance(x, Tensor):
            return self._values(x)
        points = np.array(x)
        with torch.no_grad():
            out = self._values(torch.from_numpy(points).to(self._device()))
        values = out.cpu().numpy()
        if np.iscomplexobj(values) or not np.issubdtype(points.dtype, np.floating):
            return values
        return values.astype(points.dtype)

    def _device(self) -> torch.device:
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    def _dtype(self) -> torch.dtype | None:
        return next((p.dtype for p in self.parameters()), None)

    def _values(self, x: Tensor) -> Tensor:
        if x.is_floating_point() and x.ndim == 1:
            x = x[:, None]
        # integers in one axis are indices, in two they are coordinates
        inside = x.to(self._dtype()) if x.is_floating_point() or x.ndim == 2 else x
        if hasattr(self.network, "mixed") and not self.mix.is_complex():
            out = self.network.mixed(inside, 0, self.mix.to(inside)).value
        else:
            values = self.network(inside)
            mix = self.mix.to(torch.promote_types(self.mix.dtype, values.dtype))
            mix = mix if mix.is_complex() else mix.to(values)
            out = torch.einsum("bi...,il->bl...", values.to(mix.dtype), mix)
        return out.to(x.dtype) if x.is_floating_point() and not out.is_complex() else out

    def jet(self, x: Tensor, order: int) -> Jet:
        """Values and derivatives, in the network's precision."""
        jet = Exact()(self.network, x.to(self._dtype()), order)
        return jet.mix(self.mix.to(jet.streams))

    def truncate(self, k: int) -> Functions:
        return Functions(self.network, self.mix[:, :k])
