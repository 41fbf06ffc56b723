"""Levels of separable operators come in order, each once, in any number of dimensions."""

import itertools
import math

import numpy as np
import pytest
import torch

from schmidt.problems.oscillator import RotatedGaussian
from schmidt.problems.separable import (
    energies,
    hermite_functions,
    kinetic,
    lowest,
    multiplication,
    polynomial_well,
    products,
    states,
    whole_levels,
)


def oscillator(n):
    return 2.0 * n + 1


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_the_lowest_sums_against_a_full_grid(dim, rng):
    """Random levels, some of them equal on one axis."""
    tables = [np.sort(np.round(rng.random(12) * 6, 1)) for _ in range(dim)]
    axes = [lambda n, t=t: t[n] if n < len(t) else math.inf for t in tables]
    every = sorted(
        math.fsum(t[n] for t, n in zip(tables, state, strict=True))
        for state in itertools.product(range(12), repeat=dim)
    )
    count = min(len(every), 500)
    found = lowest(axes, count)
    np.testing.assert_allclose([v for v, _ in found], every[:count], atol=1e-12)
    assert len({s for _, s in found}) == count
    for value, state in found[:20]:
        assert value == pytest.approx(sum(t[n] for t, n in zip(tables, state, strict=True)))


def test_equal_sums_have_a_fixed_order():
    assert states([oscillator] * 2, 6) == [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2)]
    assert states([oscillator] * 3, 20)[:7] == states([oscillator] * 3, 7)


def test_many_dimensions_cost_little():
    found = lowest([oscillator] * 30, 600)
    np.testing.assert_allclose([v for v, _ in found[:31]], [30] + [32] * 30)
    assert found[-1][0] == 36
    assert sum(v == 34 for v, _ in found) == math.comb(31, 2)


def test_asking_for_more_states_than_there_are():
    axes = [lambda n: float(n) if n < 3 else math.inf] * 2
    np.testing.assert_allclose(energies(axes, 9), [0, 1, 1, 2, 2, 2, 3, 3, 4])
    with pytest.raises(ValueError, match="only 9 states, 10 were asked for"):
        energies(axes, 10)


def test_modes_end_at_a_clear_gap():
    assert whole_levels([oscillator] * 2, 28) == (28, 16)
    assert whole_levels([oscillator] * 2, 27) == (21, 14)
    assert whole_levels([oscillator] * 40, 28) == (41, 44)
    levels = [0.0, 1.0, 2.0, 3.0, 3.01, 4.0]
    assert whole_levels([lambda n: levels[n] if n < 6 else math.inf], 4) == (3, 3.0)


def test_products_of_functions():
    a, b = np.arange(6.0).reshape(2, 3), np.arange(4.0).reshape(2, 2)
    found = products([a, b], [(0, 1), (2, 0)])
    np.testing.assert_allclose(found, np.stack([a[:, 0] * b[:, 1], a[:, 2] * b[:, 0]], 1))
    assert products([a + 1j, b], [(0, 0)]).dtype == complex


def test_hermite_functions_and_their_matrices():
    t = np.linspace(-20, 20, 4001)
    h = hermite_functions(t, 60)
    step = t[1] - t[0]
    np.testing.assert_allclose(step * h.T @ h, np.eye(60), atol=1e-12)
    np.testing.assert_allclose(
        step * (h * (t**3 - 2)[:, None]).T @ h, multiplication((-2, 0, 0, 1), 60), atol=1e-8
    )
    slope = np.gradient(h, t, axis=0)
    np.testing.assert_allclose(step * slope.T @ slope, kinetic(60), atol=0.3)
    assert hermite_functions(t, 1).shape == (4001, 1)


def test_a_polynomial_well_that_is_an_oscillator():
    """−d² + 4(x−1)²: energies 2(2n+1), whatever the scale of the basis."""
    for scale in (0.5, 0.8):
        values, _ = polynomial_well((4.0, -8.0, 4.0), 80, scale)
        np.testing.assert_allclose(values[:10], 2 * (2 * np.arange(10) + 1), atol=1e-9)


def test_a_rotated_gaussian_has_its_covariance():
    covariance = np.array([[2.0, 0.7], [0.7, 0.5]])
    law = RotatedGaussian(covariance)
    x, w = law.rule()
    mass = w * law.density(x)
    assert float(mass.sum()) == pytest.approx(1, rel=1e-10)
    np.testing.assert_allclose((x * mass[:, None]).T @ x, covariance, rtol=1e-8)
    drawn = law.transform(torch.rand(40000, 2, generator=torch.Generator().manual_seed(0)).double())
    np.testing.assert_allclose(np.cov(drawn.numpy().T), covariance, atol=0.05)
    with pytest.raises(ValueError, match="positive definite"):
        RotatedGaussian(np.diag([1.0, -1.0]))
