"""How much of the gradient of the weights an adapter can follow: ε_t / ‖G_t‖, step by step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from schmidt.adapters import find_pairs
from schmidt.adapters.gradients import GradientHooks
from schmidt.adapters.tangent import alignment_error


class Alignment:
    """ε / ‖G‖ over all pairs of a model, of the backward passes inside its context.

    ε² = Σ ‖(I − P_B) G (I − P_A)‖_F² is what no step of the factors can follow, to first order. It
    is a property of the factors and the gradient, whatever the optimizer does with them.
    """

    def __init__(self, body: nn.Module) -> None:
        self._pairs = {p.name: p for p in find_pairs(body)}
        self._gradients: dict[str, Tensor] = {}

    def watch(self) -> GradientHooks:
        """A context in which one backward pass is measured."""
        self._gradients.clear()
        layers: Mapping[str, Any] = {name: p.module for name, p in self._pairs.items()}
        return GradientHooks(layers, self._keep)

    def _keep(self, name: str, gradient: Tensor) -> None:
        self._gradients[name] = self._gradients.get(name, 0) + gradient

    @torch.no_grad()
    def value(self) -> float:
        """ε / ‖G‖; call it before the factors change."""
        missed = total = 0.0
        for name, G in self._gradients.items():
            pair = self._pairs[name]
            error = alignment_error(pair.right(pair.A)[0], pair.left(pair.B)[0], G)
            missed += float(error) ** 2
            total += float(G.double().square().sum())
        self._gradients.clear()
        return math.sqrt(missed / total) if total else math.nan
