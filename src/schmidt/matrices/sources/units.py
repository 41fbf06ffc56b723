"""Units: matrices whose norm is far from 1 are solved as unit·A, with an A of norm about 1.

Products of four singular values occur on the way, which leave the range of float32 at 10⁹.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from schmidt.matrices.sources.source import Source

COMFORTABLE = 1e4


class InUnits(Source):
    """source/unit, for a power of two, so that no digit changes."""

    def __init__(self, source: Source, unit: float) -> None:
        self.source, self.unit = source, unit
        self.shape, self.dtype, self.device = source.shape, source.dtype, source.device
        self.structure, self.probes = source.structure, source.probes
        self.norm2 = None if source.norm2 is None else source.norm2 / unit / unit
        self.noise = source.noise / unit

    def apply(self, X: Tensor) -> Tensor:
        return self.source.apply(X) / self.unit

    def adjoint(self, Y: Tensor) -> Tensor:
        return self.source.adjoint(Y) / self.unit

    def dense(self) -> Tensor:
        return self.source.dense() / self.unit

    def give(self, result: Tensor) -> Any:
        return self.source.give(result)

    def give_left(self, left: Any, values: Tensor, right: Tensor) -> Any:
        return self.source.give_left(left, values * self.unit, right)


def in_units(source: Source) -> Source:
    """The source, or source/unit where its norm is far from 1.

    Sources with a solver of their own choose their units themselves. Of an operator, one random
    product says how large it is: ‖A x‖² is ‖A‖_F² in the mean.
    """
    if hasattr(source, "solve"):
        return source
    unit = unit_of(_random_image(source) if source.norm2 is None else math.sqrt(source.norm2))
    return source if unit == 1 else InUnits(source, unit)


def _random_image(source: Source) -> float:
    """‖A x‖ for a Gaussian x."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(source.shape[1], 1, dtype=torch.float64, generator=generator)
    return norm_of(source.apply(x.to(source.empty())))


def norm_of(x: Tensor) -> float:
    """‖x‖_F, without squares that leave the range of the type."""
    largest = float(x.abs().max())
    return largest * float(torch.linalg.vector_norm(x / largest)) if largest else 0.0


def unit_of(norm: float) -> float:
    """The power of two just below a norm that is far from 1, else 1: no larger than the norm, so
    that it has the precision of the matrix whatever that is."""
    if norm == 0 or 1 / COMFORTABLE < norm < COMFORTABLE:
        return 1.0
    return 2.0 ** (math.frexp(norm)[1] - 1)
