"""What all methods but the raw one are fed: features, or their principal components, whitened."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from schmidt.dependence import ClassPairs
from schmidt.dependence.inputs import input_maps
from schmidt.experiments.retrieval.dataset import Items, Pair, ZeroShot

BLOCK = 8192
Map = Callable[[Items], np.ndarray]


class Inputs:
    """Items of all parts as rows of numbers, made once for all methods.

    Where features of both domains have one length, they share their components, so that a direction
    means the same in both. Each domain loses its own mean, and with it what tells them apart.

    Args:
        components: principal components of training items; None for features as they are.
        damping: of the whitening, see :class:`~schmidt.dependence.CDK`.

    Attributes:
        train, valid, test: pairs of arrays (n, d), single precision.
        shared: whether coordinates of X and Y mean the same.
    """

    def __init__(self, data: ZeroShot, components: int | None = 256, damping: float = 0.1) -> None:
        self.data = data
        self.shared = data.comparable
        self._maps: tuple[Map, Map] = (_values, _values)
        if components is not None:
            self._maps = _whitening(data.train, components, damping, self.shared)
        self.train, self.valid, self.test = (
            self._mapped(pair) for pair in (data.train, data.valid, data.test)
        )

    def _mapped(self, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
        return self._maps[0](pair.x), self._maps[1](pair.y)


def _values(items: Items) -> np.ndarray:
    return items.values


def _whitening(train: Pair, components: int, damping: float, shared: bool) -> tuple[Map, Map]:
    sides = [(torch.from_numpy(items.features), items.classes) for items in (train.x, train.y)]
    pairs = ClassPairs(*sides[0], *sides[1])
    found = input_maps(pairs, "whiten", components, damping, shared=shared, scale=False)
    return _linear(found[0]), _linear(found[1])


def _linear(map: nn.Module) -> Map:
    def mapped(items: Items) -> np.ndarray:
        blocks = torch.from_numpy(items.features).split(BLOCK)
        return torch.cat([map(block) for block in blocks]).numpy()

    return mapped
