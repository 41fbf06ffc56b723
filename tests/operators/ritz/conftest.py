"""Shared pieces: small trunks, and an operator with known answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from schmidt.operators import GaussianEnvelope, Lebesgue, ScaledInputs, Schrodinger
from schmidt.operators.measures import Gaussian
from schmidt.operators.ritz import TrunkFeatures

Trunk = Callable[..., TrunkFeatures]


def _trunk(dim: int = 2, envelopes: int = 2, width: int = 5, **settings: float) -> TrunkFeatures:
    decay = GaussianEnvelope([0.5 + 0.3 * m for m in range(envelopes)]) if envelopes else None
    return TrunkFeatures(ScaledInputs(dim, 1.5), decay, width=width, **settings)  # type: ignore


@pytest.fixture
def trunk() -> Trunk:
    """(dim, envelopes, width, …) → a small trunk."""
    return _trunk


@pytest.fixture
def hermite() -> Callable[[Tensor], Tensor]:
    """The lowest five eigenfunctions of −d²/dx² + x², up to norms: eigenvalues 1, 3, 5, 7, 9."""

    def functions(x: Tensor) -> Tensor:
        z = x[:, :1]
        powers = [
            torch.ones_like(z),
            z,
            2 * z**2 - 1,
            2 * z**3 - 3 * z,
            4 * z**4 - 12 * z**2 + 3,
        ]
        return torch.cat(powers, 1) * (-(z**2) / 2).exp()

    return functions


@pytest.fixture
def oscillator() -> Callable[[int], Schrodinger]:
    """dim → ∇² − |x|², with the eigenvalues −(2n + d)."""

    def make(dim: int) -> Schrodinger:
        measure = Lebesgue(Gaussian(1.1, dim))
        return Schrodinger(lambda x: x.pow(2).sum(1), measure, form="strong")

    return make
