"""The weights that adapters make, and how far they moved."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from schmidt.adapters.pairs import factors_of as factors

Weights = dict[str, Tensor]


@torch.no_grad()
def effective(layers: Mapping[str, nn.Module]) -> Weights:
    """The weight matrix (out, in) that each linear layer applies, adapters included."""
    return {name: _effective(layer) for name, layer in layers.items()}


@torch.no_grad()
def pretrained(layers: Mapping[str, nn.Module]) -> Weights:
    """The weight matrices below the adapters."""
    return {name: _base(layer).detach().clone() for name, layer in layers.items()}


def change(now: Weights, before: Weights) -> Weights:
    """now − before."""
    return {name: now[name] - before[name] for name in before}


def norm(of: Weights) -> float:
    """The Frobenius norm over all layers together."""
    return math.sqrt(sum(float(w.double().square().sum()) for w in of.values()))


def cosine(one: Weights, other: Weights) -> float:
    """⟨one, other⟩ / (‖one‖ ‖other‖) over all layers together; NaN where one is zero."""
    inner = sum(float((one[n].double() * other[n].double()).sum()) for n in other)
    size = norm(one) * norm(other)
    return inner / size if size else math.nan


def _base(layer: Any) -> Tensor:
    weight = (layer.get_base_layer() if hasattr(layer, "get_base_layer") else layer).weight
    assert isinstance(weight, Tensor)
    return weight


def _effective(layer: Any) -> Tensor:
    W = _base(layer).detach()
    if not hasattr(layer, "active_adapters"):
        return W.clone()
    for adapter in layer.active_adapters:
        pair = factors(layer, adapter)
        if pair:
            W = W + layer.scaling[adapter] * (pair[1] @ pair[0])
    for adapter, magnitude in layer.lora_magnitude_vector.items():  # DoRA: rows of fixed norm
        if adapter in layer.active_adapters:
            W = W * (magnitude.weight / W.norm(dim=1)).unsqueeze(1)
    return W
