"""Functions in L² of a normal law: generators of diffusions with a Gaussian stationary state."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from schmidt.operators.jet import JetModule
from schmidt.operators.measures import Affine, Gaussian, Proposal
from schmidt.operators.networks import BoundedInputs
from schmidt.operators.ritz.spaces.frame import Frame
from schmidt.operators.ritz.spaces.space import Choice, Space, square, vector

WIDER = 1.5


class NormalSpace(Space):
    """L²(N(mean, covariance)): functions that may grow like polynomials.

    Args:
        dim: d.
        mean: number or (d,).
        covariance: number, or (d, d).
    """

    ladders: tuple[tuple[str, float], ...] = (("scale", 1.8), ("gain", 1.6))

    def __init__(
        self,
        dim: int,
        *,
        mean: float | Sequence[float] | Tensor = 0.0,
        covariance: float | Tensor = 1.0,
    ) -> None:
        self.mean = vector(mean, dim, "the mean")
        self.covariance = square(covariance, dim, "the covariance")
        root, info = torch.linalg.cholesky_ex(self.covariance)
        if int(info):
            raise ValueError("the covariance must be positive definite")
        self.root = root
        # points spread wider than the law, for functions that grow
        super().__init__(dim, self._density)
        if not self.accurate:
            self.ladders = (*self.ladders, ("points", 2.0))

    def _density(self, x: Tensor) -> Tensor:
        z = torch.linalg.solve_triangular(self.root.to(x), (x - self.mean.to(x)).T, upper=False)
        volume = float(self.root.diagonal().prod()) * (2 * math.pi) ** (self.dim / 2)
        return (-0.5 * z.pow(2).sum(0)).exp() / volume

    def start(self, modes: int) -> Choice:
        if self.accurate:
            return Choice(width=32, points=1500, scale=2.0)
        return Choice(width=96, points=4096, scale=3.0, gain=0.5)

    def inputs(self, choice: Choice) -> JetModule:
        inner = BoundedInputs(self.dim, [4 * choice.scale], cusp=False)
        return Frame(inner, self.mean, self.root)

    def envelopes(self, choice: Choice) -> None:
        return None

    def proposal(self) -> Proposal:
        return Affine(Gaussian(WIDER, self.dim), self.mean, self.root)
