"""Bounds from random columns: χ² quantiles, exhaustive small cases, and how often they may fail."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import chi2, kstest

from schmidt.matrices.probe import Prober, smallest_mass


class Diagonal:
    """E = diag(d)."""

    def __init__(self, d: np.ndarray) -> None:
        self.d, self.images = torch.from_numpy(d)[:, None], True

    def apply(self, X: torch.Tensor) -> torch.Tensor:
        return self.d * X

    def adjoint(self, Y: torch.Tensor) -> torch.Tensor:
        return self.d.conj() * Y

    def normal(self, X: torch.Tensor) -> torch.Tensor:
        return self.adjoint(self.apply(X))


def probe(d: np.ndarray, steps: int, seed: int = 0, **settings: Any) -> Prober:
    like = torch.empty(0, dtype=torch.from_numpy(d).dtype)
    options = {"columns": 8, "probability": 1e-6, **settings}
    prober = Prober(Diagonal(d), len(d), like, seed=seed, **options)
    for _ in range(steps):
        prober.half_step()
    return prober


SPECTRA = {
    "flat": np.linspace(1, 0.9, 500),
    "decaying": np.arange(1, 501) ** -0.5,
    "steep": 10.0 ** -np.arange(500.0),
    "spike": np.where(np.arange(500) == 77, 1.3, 1.0),
    "low rank": np.where(np.arange(500) < 3, 2.0, 0.0),
    "complex": np.exp(1j * np.arange(500)) / (1 + np.arange(500)),
}


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("name", SPECTRA)
def test_the_norm_lies_between_the_bounds(name: str, steps: int) -> None:
    d = SPECTRA[name]
    for seed in range(5):
        bounds = probe(d, steps, seed).bound()
        assert bounds.lower <= np.abs(d).max() * (1 + 1e-12)
        assert np.abs(d).max() <= bounds.upper


@pytest.mark.parametrize("name", SPECTRA)
def test_more_products_tighten_both_bounds(name: str) -> None:
    prober = probe(SPECTRA[name], 2)
    loose = prober.bound()
    for _ in range(6):
        prober.half_step()
    tight = prober.bound()
    assert loose.lower <= tight.lower * (1 + 1e-12)
    assert tight.upper <= loose.upper * 1.01
    assert tight.upper < 1.3 * tight.lower


def test_the_failure_probability_is_what_is_claimed() -> None:
    """With δ = 0.2, no spectrum makes bounds fail more often.

    Nearly equal values and a spike are the hardest: one product with 2 columns, 400 trials. The
    number of failures is binomial with mean at most 80 and deviation 8.
    """
    for d in (np.ones(40), np.r_[1.0, np.zeros(39)], np.r_[1.0, np.full(39, 0.2)]):
        failed = sum(
            probe(d, 1, seed, columns=2, probability=0.2).bound().upper < 1 for seed in range(400)
        )
        assert failed <= 80 + 4 * 8
    # for rank one and one product, the bound is exact: it fails as often as it may
    one = np.r_[1.0, np.zeros(39)]
    failed = sum(
        probe(one, 1, seed, columns=2, probability=0.2).bound().upper < 1 for seed in range(400)
    )
    assert failed >= 80 - 4 * 8


@pytest.mark.parametrize("complex_", [False, True])
def test_quantiles_of_the_smallest_mass(complex_: bool, rng: np.random.Generator) -> None:
    x = rng.standard_normal((4000, 3))
    mass = (x**2).sum(1)
    if complex_:
        mass = (mass + (rng.standard_normal((4000, 3)) ** 2).sum(1)) / 2
    for p in (0.05, 0.5):
        assert abs((mass <= smallest_mass(3, p, complex_)).mean() - p) < 0.03
    freedom = 6 if complex_ else 3
    assert kstest(mass * (2 if complex_ else 1), chi2(freedom).cdf).pvalue > 1e-3
    assert smallest_mass(8, 1e-6, False) == pytest.approx(chi2(8).ppf(1e-6), rel=1e-9)


def test_zero_has_norm_zero() -> None:
    bounds = probe(np.zeros(100), 3).bound()
    assert bounds.lower == bounds.upper == 0
