"""Integral operators (K f)(y) = ∫ k(y, x) f(x) μ(dx)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from schmidt.operators.form import Form, Sample
from schmidt.operators.jet import Jet
from schmidt.operators.measures import Measure

KernelFunction = Callable[[Tensor, Tensor], Tensor]
"""k(y, x): points (N, d'), (M, d) to the matrix (N, M)."""


class Kernel(Form):
    """An integral operator from L²(X, μ) to L²(Y, ν), by default on one space.

    Args:
        kernel: k(y, x), points (N, d'), (M, d) → (N, M).
        domain: μ, for the argument x.
        codomain: ν, for y; default μ.
        symmetric: True if k(x, y) = k(y, x) and X = Y; default: to be measured if X = Y.

    x and y are drawn independently, so the estimate of ⟨g|Kf⟩ over all B² pairs is unbiased. Cost
    per step: B² kernel values and O(B²L).
    """

    additive = False

    def __init__(
        self,
        kernel: KernelFunction,
        domain: Measure,
        codomain: Measure | None = None,
        *,
        symmetric: bool | None = None,
    ) -> None:
        if symmetric and codomain is not None and codomain is not domain:
            raise ValueError("a symmetric kernel lives on one space: leave codomain out")
        self.kernel = kernel
        self.domain = domain
        self.codomain = domain if codomain is None else codomain
        one_space = self.codomain is domain
        self.self_adjoint = symmetric if one_space else False

    def sample(self, n: int, generator: torch.Generator) -> Sample:
        return Sample(self.domain.sample(n, generator), self.codomain.sample(n, generator))

    def evaluation(self, n: int | None = None) -> Sample:
        x = self.domain.evaluation(n)
        return Sample(x, x if self.codomain is self.domain else self.codomain.evaluation(n))

    def _values(self, sample: Sample) -> Tensor:
        y, x = sample.y.x, sample.x.x
        values = self.kernel(y, x)
        if values.shape != (len(y), len(x)):
            raise ValueError(
                f"the kernel must return shape ({len(y)}, {len(x)}), got {tuple(values.shape)}"
            )
        return values

    def action(self, f: Jet, sample: Sample) -> Tensor:
        """(K f)(y) at the points of Y, estimated from those of X."""
        weighted = f.value * sample.x.weight.reshape(-1, *[1] * (f.value.ndim - 1))
        return torch.tensordot(self._values(sample), weighted, dims=1)

    def matrix(self, g: Jet, f: Jet, sample: Sample) -> Tensor:
        image = self.action(f, sample)
        weighted = g.value * sample.y.weight.reshape(-1, *[1] * (g.value.ndim - 1))
        return torch.einsum("bi...,bj...->ij", weighted, image)
