"""Certificates: silent on exact solutions, covering perturbed ones, loud on exploited points."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from schmidt.linalg import span
from schmidt.operators import ConvectionDiffusion, Distribution, Gaussian, Schrodinger
from schmidt.operators.ritz import EuclideanSpace, FeatureChoice, NormalSpace
from schmidt.operators.ritz.certify import Evidence, certify
from schmidt.operators.ritz.collocation import (
    collocate,
    compress,
    conditions,
    refine,
    ritz_pairs,
    signed,
)
from schmidt.operators.ritz.trunk import TrunkFeatures

Functions = Callable[[Tensor], Tensor]
Make = Callable[[int], Schrodinger]
EXACT = torch.tensor([-1.0, -3, -5, -7, -9], dtype=torch.float64)


@pytest.fixture
def normalised(hermite: Functions) -> Functions:
    norm = torch.tensor([1, 0.5, 2, 3, 24.0]).double().sqrt() * torch.pi**0.25
    return lambda x: hermite(x) / norm


def certified(
    form: Schrodinger, f: Functions, values: Tensor, mix: Tensor, modes: int, **more: object
) -> Evidence:
    settings = {"points": 200, "seed": 0, **more}
    return certify(form, EuclideanSpace(1), f, values, mix, modes, **settings)  # type: ignore


def test_exact_eigenfunctions_have_no_error(normalised: Functions, oscillator: Make) -> None:
    eye = torch.eye(5, dtype=torch.float64)
    found = certified(oscillator(1), normalised, EXACT, eye, 4)
    assert found.radius.max() < 1e-10
    assert found.estimate.max() < 1e-10
    np.testing.assert_allclose(found.gap, 2, atol=1e-9)
    assert found.groups == [slice(i, i + 1) for i in range(4)]
    assert found.alarms == []
    assert found.overlap < 1e-10
    np.testing.assert_array_equal(found.condition, 1)
    assert 16 * 200 < found.points <= 16 * (200 + 64)  # 64 of them beyond the box


@pytest.mark.parametrize("factor", [1e-3, 1.0, 1e5])
def test_the_norm_of_the_functions_is_immaterial(
    normalised: Functions, oscillator: Make, factor: float
) -> None:
    mix = torch.eye(5, dtype=torch.float64)
    mix[4, 0] = 1e-3
    plain = certified(oscillator(1), normalised, EXACT, mix, 3)
    scaled = certified(oscillator(1), normalised, EXACT, factor * mix, 3)
    np.testing.assert_allclose(scaled.radius, plain.radius, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(scaled.estimate, plain.estimate, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("size", [1e-6, 1e-3, 0.1])
def test_residuals_of_perturbed_functions_are_known(
    normalised: Functions, oscillator: Make, size: float
) -> None:
    """f₀ + ε f₂ with its Rayleigh quotient: residual 4ε/(1 + ε²), error 4ε²/(1 + ε²)."""
    mix = torch.eye(5, dtype=torch.float64)[:, [0, 1, 2]]
    mix[2, 0], mix[0, 2] = size, -size
    mix = mix / mix.norm(dim=0)
    error = 4 * size**2 / (1 + size**2)
    values = EXACT[:3] + torch.tensor([-error, 0, error]).double()
    found = certified(oscillator(1), normalised, values, mix, 2)
    assert found.residual[0] == pytest.approx(4 * size / (1 + size**2), rel=1e-6)
    assert found.residual[0] <= found.radius[0] <= found.residual[0] * (1 + 1e-3)
    assert error <= found.estimate[0] <= found.radius[0]
    if size < 0.1:
        assert found.estimate[0] < 10 * error + 1e-9


def test_a_wrong_value_is_seen(normalised: Functions, oscillator: Make) -> None:
    wrong = EXACT.clone()
    wrong[1] += 0.3
    seen = torch.full((5,), 1e-8, dtype=torch.float64)
    eye = torch.eye(5, dtype=torch.float64)
    found = certified(oscillator(1), normalised, wrong, eye, 3, expected=seen)
    assert found.radius[1] >= 0.3 - 1e-9
    assert found.estimate[1] >= 0.3 - 1e-9
    assert any("residuals of modes 2 are more than three times" in a for a in found.alarms)
    wrong[1] += 1.2
    found = certified(oscillator(1), normalised, wrong, eye, 3)
    assert any("modes 2 are not resolved" in a for a in found.alarms)


def test_functions_that_overlap_are_seen(normalised: Functions, oscillator: Make) -> None:
    mix = torch.eye(5, dtype=torch.float64)
    mix[0, 1] = 0.1
    found = certified(oscillator(1), normalised, EXACT, mix, 3)
    assert found.overlap == pytest.approx(0.1 / 1.01**0.5, rel=1e-3)
    assert any("the quadrature was exploited" in a for a in found.alarms)


def solve(
    form: Schrodinger, width: int, points: int, seed: int, modes: int = 3, gain: float = 1.0
) -> tuple[TrunkFeatures, Tensor, Tensor]:
    """Least squares without a held-out cut, on random points."""
    space = EuclideanSpace(1, reach=3.0)
    choice = FeatureChoice(width=width, points=points, envelopes=1, seed=seed, gain=gain)
    features = space.features(choice)
    rule = space.fresh(points, torch.Generator().manual_seed(seed))
    at = collocate(form, features, rule)
    basis = span(at.values)
    values, vectors = ritz_pairs(compress(basis, at.images), modes + 2, self_adjoint=True)
    return features, values, basis.mix @ vectors


def test_an_exploited_quadrature_raises_alarms(oscillator: Make) -> None:
    """As many functions as points: orthonormal there, and wild in between."""
    form = oscillator(1)
    features, values, mix = solve(form, 60, 12, seed=0, gain=4.0)
    found = certified(form, features, values, mix, 3)
    assert len(found.alarms) >= 2
    assert any("the quadrature was exploited" in a for a in found.alarms)
    assert any("not resolved" in a for a in found.alarms)


def test_coverage_over_seeds(oscillator: Make) -> None:
    """Every radius holds a true eigenvalue, for solutions from rough to fine."""
    form, exact = oscillator(1), -(2 * np.arange(40) + 1.0)
    widths, errors = [4, 6, 8, 12], []
    for seed in range(12):
        for width in widths:
            features, values, mix = solve(form, width, 96, seed)
            found = certified(form, features, values, mix, 3, seed=seed)
            distance = np.abs(values[:3].numpy()[:, None] - exact).min(1)
            assert (distance <= found.radius + 1e-11).all()
            quiet = not found.alarms
            if quiet:
                off = np.abs(values[:3].numpy() - exact[:3])
                assert (off <= found.estimate + 1e-10).all()
                errors.append(off.max())
    assert len(errors) > 20
    assert max(errors) > 1e-6


def test_without_self_adjointness_no_radius_is_claimed() -> None:
    law = Distribution(Gaussian(1.0, 1))
    form = ConvectionDiffusion(law, lambda x: -x, self_adjoint=False)
    mix, values = torch.eye(2, dtype=torch.float64), torch.tensor([0.0, -1.0]).double()

    def functions(x: Tensor) -> Tensor:
        return torch.cat([torch.ones_like(x), x], 1)

    condition = np.array([1.0, 2.0])
    found = certify(
        form, NormalSpace(1), functions, values, mix, 2, points=64, seed=0, condition=condition
    )
    assert np.isnan(found.radius).all()
    assert np.isnan(found.estimate).all()
    assert found.residual.max() < 1e-12
    np.testing.assert_array_equal(found.condition, condition)


def test_refining_removes_the_error_of_rough_combinations(
    hermite: Functions, oscillator: Make
) -> None:
    """Eigenfunctions mixed up by any matrix, real or complex, come out unmixed."""
    form = oscillator(1)
    points = EuclideanSpace(1).rule(60)
    for kind in (torch.float64, torch.complex128):
        mix = torch.randn(5, 5, dtype=kind)
        values, found, condition = refine(form, hermite, mix, points)
        torch.testing.assert_close(values, EXACT, rtol=1e-7, atol=1e-7)
        np.testing.assert_array_equal(condition, 1)
        off = found - torch.diag(found.diagonal())
        assert float((off.abs() / found.diagonal().abs()).max()) < 1e-5


def test_conditions_of_a_triangle() -> None:
    """[[1, a], [0, 0]]: √(1 + a²) for both; ones where eigenvectors are orthogonal."""
    matrix = np.array([[1.0, 3.0], [0.0, 0.0]])
    np.testing.assert_allclose(conditions(matrix, np.array([0.0, 1.0])), np.sqrt(10))
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    np.testing.assert_allclose(conditions(turn, np.array([1j, -1j])), 1)


def test_signs_follow_the_library(hermite: Functions) -> None:
    points = EuclideanSpace(1).fresh(64, torch.Generator().manual_seed(0))
    eye = torch.eye(5, dtype=torch.float64)
    first, second = signed(hermite, eye, points), signed(hermite, -eye, points)
    torch.testing.assert_close(first, second)
    phase = torch.exp(torch.tensor(0.7j, dtype=torch.complex128))
    third = signed(hermite, phase * eye, points)
    torch.testing.assert_close(third, first.to(third.dtype))
