"""The Gaussian kernel under a Gaussian law: a compact operator with a known spectrum."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.special import eval_hermite
from torch import Tensor, nn

from schmidt.operators.kernel import Kernel
from schmidt.operators.measures import Distribution, Gaussian
from schmidt.operators.networks import (
    Ansatz,
    BoundedInputs,
    DisjointMLP,
    GaussianEnvelope,
    SharedMLP,
)
from schmidt.operators.training import Training
from schmidt.problems.problem import Exact, Problem


def gaussian_kernel(length: float = 1.0, scale: float = 1.0) -> Problem:
    """k(x, y) = exp(−(x−y)²/2ℓ²) in L²(N(0, σ²)).

    Eigenvalues √(2a/A)(b/A)^k with a = 1/4σ², b = 1/2ℓ², A = a + b + √(a² + 2ab); eigenfunctions
    Hermite polynomials times a Gaussian (Rasmussen & Williams 2006, sec. 4.3.1).

    Args:
        length: ℓ.
        scale: σ.
    """
    if not (length > 0 and scale > 0):
        raise ValueError(f"length and scale must be positive, got {length} and {scale}")
    a, b = 1 / (4 * scale**2), 1 / (2 * length**2)
    c = math.sqrt(a * a + 2 * a * b)
    total = a + b + c

    def kernel(y: Tensor, x: Tensor) -> Tensor:
        return (-b * (y - x.T).pow(2)).exp()

    def values(count: int) -> np.ndarray:
        return math.sqrt(2 * a / total) * (b / total) ** np.arange(count)

    def functions(x: np.ndarray, count: int) -> np.ndarray:
        t = x[:, 0]
        decay = np.exp(-(c - a) * t * t)
        out = []
        for k in range(count):
            norm = math.exp(-0.5 * (k * math.log(2) + math.lgamma(k + 1))) * (c / a) ** 0.25
            out.append(norm * decay * eval_hermite(k, math.sqrt(2 * c) * t))
        return np.stack(out, 1)

    def network(kind: str, modes: int) -> nn.Module:
        inputs = BoundedInputs(1, (2.0 * scale,), cusp=False)
        trunk: DisjointMLP | SharedMLP
        if kind == "shared":
            trunk = SharedMLP(inputs.features, modes, (64, 64))
        else:
            trunk = DisjointMLP(inputs.features, modes, (24, 24))
        envelope = GaussianEnvelope(torch.full((modes,), 1 / (2 * scale**2)))
        return Ansatz(trunk, envelope, inputs=inputs)

    return Problem(
        name="gaussian-kernel",
        summary=f"integral operator exp(−(x−y)²/2ℓ²) under N(0, σ²), ℓ = {length:g}, σ = {scale:g}",
        form=Kernel(kernel, Distribution(Gaussian(scale, 1)), symmetric=True),
        modes=6,
        network=network,
        exact=Exact(values, functions),
        training=Training(steps=1500, batch=512, lr=5e-3),
        extent=(-4.0 * scale, 4.0 * scale),
    )
