"""Gaussians with correlated axes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from schmidt.operators.measures import Gaussian


class RotatedGaussian(Gaussian):
    """N(0, C) by its principal axes: a :class:`Gaussian` with independent axes, turned.

    Args:
        covariance: C, symmetric and positive.
    """

    def __init__(self, covariance: np.ndarray) -> None:
        variances, axes = np.linalg.eigh(covariance)
        if not variances[0] > 0:
            raise ValueError("the covariance of a Gaussian must be positive definite")
        super().__init__(np.sqrt(variances).tolist(), len(variances))
        self.axes = torch.from_numpy(axes)

    def transform(self, u: Tensor) -> Tensor:
        return super().transform(u) @ self.axes.T

    def density(self, x: Tensor) -> Tensor:
        return super().density(x @ self.axes.to(x))

    def rule(self, n: int | None = None) -> tuple[Tensor, Tensor] | None:
        rule = super().rule(n)
        return None if rule is None else (rule[0] @ self.axes.T, rule[1])
