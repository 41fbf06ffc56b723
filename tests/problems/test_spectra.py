"""Spectra of the self-adjoint problems against independent matrices, multiplicities and limits."""

import itertools
import math

import numpy as np
import pytest
import torch

from schmidt.problems import named, train
from schmidt.problems.oscillator import chain, normal_modes, stiffness
from schmidt.problems.wells import SIZE, curved_valley, galerkin
from schmidt.problems.wells import double_well_reference as reference
from schmidt.problems.wells import mathieu_level as level


def energies(name, count, dim=None):
    problem = named(name, dim)
    return problem.energy(problem.exact.values(count))


def test_hydrogen_in_space_has_n_squared_states_per_shell():
    values = named("hydrogen3d").exact.values(30)
    np.testing.assert_allclose(values, [1 / 4] + [1 / 16] * 4 + [1 / 36] * 9 + [1 / 64] * 16)


@pytest.mark.parametrize("dim", [1, 2, 3, 5, 10, 32])
def test_levels_of_the_oscillator(dim):
    problem = named("oscillator", dim)
    count = 1 + dim + dim * (dim + 1) // 2
    expected = [dim] + [dim + 2] * dim + [dim + 4] * (dim * (dim + 1) // 2)
    np.testing.assert_allclose(problem.energy(problem.exact.values(count)), expected)
    assert problem.modes == {1: 28, 2: 28, 3: 20, 5: 21, 10: 11, 32: 33}[dim]


def test_the_oscillator_in_the_plane_is_the_one_of_the_paper():
    a, b = named("oscillator", 2), named("oscillator2d")
    np.testing.assert_allclose(a.exact.values(40), b.exact.values(40))
    x = np.random.default_rng(0).standard_normal((9, 2))
    np.testing.assert_array_equal(a.exact.right(x, 28), b.exact.right(x, 28))
    np.testing.assert_allclose(named("box", 2).exact.right(x, 9), named("well2d").exact.right(x, 9))


@pytest.mark.parametrize("dim", [2, 3, 5, 10])
def test_coupled_oscillators_by_the_matrix_of_their_form(dim):
    unit = torch.eye(dim, dtype=torch.float64)
    pairs = torch.stack([torch.stack([chain((a + b)[None])[0] for b in unit]) for a in unit])
    alone = chain(unit)
    form = (pairs - alone[:, None] - alone).numpy() / 2
    frequencies = np.sqrt(np.linalg.eigvalsh(form))
    np.testing.assert_allclose(frequencies**2, stiffness(dim), atol=1e-12)
    q = normal_modes(dim)
    np.testing.assert_allclose(q.T @ form @ q, np.diag(stiffness(dim)), atol=1e-12)
    found = energies("coupled-oscillators", 5, dim)
    quanta = itertools.product(range(4 if dim <= 3 else 2), repeat=dim)
    every = sorted(((2 * np.array(n) + 1) * frequencies).sum() for n in quanta)
    np.testing.assert_allclose(found[: 5 if dim <= 3 else 2], every[: 5 if dim <= 3 else 2])


def test_levels_of_boxes_and_tori():
    np.testing.assert_allclose(energies("box", 17, 5) / np.pi**2, [5] + [8] * 5 + [11] * 10 + [13])
    # representations as a sum of two squares: 1, 4, 4, 0, 4, 8 for 0 … 5
    found = energies("torus", 21)
    np.testing.assert_allclose(found, [0] + [1] * 4 + [2] * 4 + [4] * 4 + [5] * 8, atol=1e-12)
    np.testing.assert_allclose(energies("torus", 22, 10), [0] + [1] * 20 + [2], atol=1e-12)


def test_mathieu_values_against_a_galerkin_matrix():
    even, odd = galerkin(False, 60)[0], galerkin(True, 60)[0]
    found = [level(n) for n in range(60)]
    np.testing.assert_allclose(found[0::2], even[:30], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found[1::2], odd[:30], rtol=1e-12, atol=1e-12)
    k = np.arange(-40, 41)
    plane_waves = np.diag(k**2.0) + 0.5 * (np.abs(k[:, None] - k) == 1)
    np.testing.assert_allclose(np.linalg.eigvalsh(plane_waves)[:20], found[:20], atol=1e-10)
    np.testing.assert_allclose(
        energies("cosine", 3, 2), [2 * found[0], found[0] + found[1], found[0] + found[1]]
    )


def test_morse_levels_near_the_bottom_and_at_the_top():
    """Harmonic with 2a√D = 8 at the bottom; bound states only below the first threshold."""
    problem = named("morse")
    found = energies("morse", 90)
    np.testing.assert_allclose(found[:3], [7.875, 15.375, 15.375])
    assert found[problem.max_modes - 1] < 64 + 3.9375 < found[problem.max_modes]
    with pytest.raises(ValueError, match="only 256 states, 300 were asked for"):
        problem.exact.values(300)
    with pytest.raises(ValueError, match="at most"):
        problem.networks(modes=problem.max_modes + 1)


def test_the_double_well_is_converged():
    values = reference()[0]
    for size in ((52, 32), (72, 44)):
        np.testing.assert_allclose(reference(size)[0][:16], values[:16], rtol=0, atol=1e-11)
        np.testing.assert_allclose(reference(size)[0], values, rtol=0, atol=1e-8)
    assert reference(SIZE)[0] is reference(SIZE)[0]
    assert named("double-well").exact.values(17)[16] < 0
    assert np.diff(values[:17]).min() > 0.2
    with pytest.raises(ValueError, match="has 80 states, asked for 81"):
        named("double-well").exact.values(81)


def test_the_double_well_is_one():
    """Two minima with a saddle between them, above the ground state; bounded from below."""
    axis = torch.linspace(-3, 3, 301, dtype=torch.float64)
    valley = curved_valley(torch.stack([axis, 0.3 * axis**2], 1))
    left, right, top = valley[:150].min(), valley[150:].min(), valley[100:200].max()
    assert left < right < reference()[0][0] < top
    far = 10 * torch.randn(2000, 2, dtype=torch.float64)
    assert float(curved_valley(far).min()) > -1


@pytest.mark.parametrize(("kind", "method"), [("disjoint", "sequential"), ("shared", "joint")])
def test_networks_learn_a_problem_with_walls_that_close_up(kind, method):
    solution = train(
        named("cosine", 1), modes=3, network=kind, method=method, steps=300, batch=64, seed=1
    )
    assert solution.mean_relative_error < 1e-2
    assert solution.comparison.subspace_distance_total < 1e-3


@pytest.mark.parametrize("name", ["oscillator", "coupled-oscillators", "box", "torus", "cosine"])
def test_bad_dimensions_are_refused(name):
    least = 2 if name == "coupled-oscillators" else 1
    for dim in (0, -3, 1000):
        with pytest.raises(
            ValueError, match=f"dimension of {name} must lie between {least} and 32, got {dim}"
        ):
            named(name, dim)
    with pytest.raises(ValueError, match=r"must be an integer, got 2\.5"):
        named(name, 2.5)


def test_a_fixed_dimension_cannot_be_changed():
    with pytest.raises(
        ValueError,
        match="dimension of hydrogen2d is fixed; one can be chosen for oscillator, coupled",
    ):
        named("hydrogen2d", 3)
    assert math.isclose(named("box").exact.values(1)[0], named("box", 5).exact.values(1)[0])
