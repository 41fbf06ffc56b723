"""Problems: their exact answers solve their own forms; solving reports honestly."""

import json

import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch

import schmidt
from schmidt.operators import Jet
from schmidt.problems import (
    PROBLEMS,
    gaussian_kernel,
    hydrogen2d,
    matrix,
    oscillator2d,
    solve,
    train,
)
from schmidt.problems.box import well2d
from schmidt.problems.hydrogen import states2d as states
from schmidt.problems.problem import by_level

LEARNED = [name for name in PROBLEMS if PROBLEMS[name]().network is not None]


@pytest.mark.parametrize(("length", "scale"), [(1.0, 1.0), (0.5, 2.0)])
def test_gaussian_kernel_spectrum_against_quadrature(length, scale):
    problem = gaussian_kernel(length, scale)
    sample = problem.form.evaluation()
    x, w = sample.x.x, sample.x.weight
    symmetric = w.sqrt()[:, None] * problem.form.kernel(x, x) * w.sqrt()
    values = torch.linalg.eigvalsh(symmetric).flip(0)[:8]
    np.testing.assert_allclose(values.numpy(), problem.exact.values(8), rtol=1e-10)
    jet = Jet(torch.from_numpy(problem.exact.right(x.numpy(), 8))[None], 1, 0)
    image = problem.form.action(jet, sample)
    torch.testing.assert_close(
        image, jet.value * torch.from_numpy(problem.exact.values(8)), atol=1e-8, rtol=0
    )


def test_spectra_by_level():
    np.testing.assert_allclose(
        hydrogen2d().exact.values(10), [1] + [1 / 9] * 3 + [1 / 25] * 5 + [1 / 49]
    )
    assert states(4) == [(0, 0), (1, -1), (1, 0), (1, 1)]
    np.testing.assert_allclose(oscillator2d(8.0).exact.values(6), [6, 4, 4, 2, 2, 2])
    found = well2d().exact.values(4) / np.pi**2
    np.testing.assert_allclose(found, [27, 24, 24, 21])
    np.testing.assert_allclose(by_level(lambda n: (-n, 2), 3), [0, 0, -1])


@pytest.mark.parametrize("kind", ["disjoint", "shared"])
@pytest.mark.parametrize("name", LEARNED)
def test_networks_are_repeatable_and_fit_the_form(name, kind):
    problem = PROBLEMS[name]()
    state = torch.random.get_rng_state()
    first, left = problem.networks(kind, 4, seed=3)
    second, _ = problem.networks(kind, 4, seed=3)
    other, _ = problem.networks(kind, 4, seed=4)
    assert torch.equal(state, torch.random.get_rng_state())
    assert left is None
    points = problem.form.sample(6, torch.Generator().manual_seed(0)).x.x.float()
    assert first(points).shape == (len(points), 4)
    assert torch.equal(first(points), second(points))
    assert not torch.equal(first(points), other(points))


def test_a_short_real_run_and_its_report():
    """The oscillator with shift 5 has the positive values 3, 1, 1; further modes vanish."""
    problem = oscillator2d(5.0)
    solution = train(problem, modes=5, steps=500, batch=400, seed=1)
    report = json.loads(json.dumps(solution.report(), allow_nan=False))
    assert report["judged_modes"] == 3
    assert report["vanished_modes"] == [4, 5]
    assert report["mean_relative_error"] < 5e-3
    assert report["eigenvalues"]["ritz"][3] is None
    np.testing.assert_allclose(report["energies"][:3], [2, 4, 4], atol=1e-2)
    np.testing.assert_allclose(report["exact"], [3, 1, 1, -1, -1])
    np.testing.assert_allclose(report["eigenvalues"]["norm"][:3], [3, 1, 1], atol=0.1)
    assert report["subspace_distance"] < 1e-2
    assert report["orthogonality"] < 1e-2
    assert len(report["angle_distance"]) == 3
    curve = [h["mean_relative_error"] for h in report["history"] if "mean_relative_error" in h]
    assert curve[-1] < 0.1 * curve[0]
    learned, exact = solution.aligned(np.array([[0.3, -0.2], [1.0, 0.5]]))
    np.testing.assert_allclose(learned, exact, atol=0.02)


def test_reports_use_ritz_values_on_held_out_points():
    solution = solve("gaussian-kernel", modes=3, steps=200, batch=200)
    report = solution.report()
    expected = np.abs(solution.spectrum.ritz - solution.exact) / solution.exact
    assert report["mean_relative_error"] == pytest.approx(expected.mean())
    assert report["energies"] is None
    assert report["held_out_points"] == len(solution.sample.x)
    assert report["settings"]["problem"] == "gaussian-kernel"
    assert {"seed", "steps", "batch", "lr", "method", "network"} <= set(report["settings"])


@pytest.mark.parametrize(("kind", "scale"), [("npy", 7.0), ("mtx", 1e6), ("array", 1e-4)])
def test_a_matrix_is_checked_against_numpy(tmp_path, kind, scale):
    rng = np.random.default_rng(0)
    u = np.linalg.qr(rng.standard_normal((30, 20)))[0]
    v = np.linalg.qr(rng.standard_normal((20, 20)))[0]
    a = scale * (u * 0.6 ** np.arange(20)) @ v.T
    source = a
    if kind == "npy":
        source = tmp_path / "a.npy"
        np.save(source, a)
    elif kind == "mtx":
        source = tmp_path / "a.mtx"
        scipy.io.mmwrite(source, scipy.sparse.coo_matrix(a))
    solution = solve(matrix(source), modes=4, steps=1500)
    report = solution.report()
    np.testing.assert_allclose(report["exact"], np.linalg.svd(a)[1][:4])
    assert report["mean_relative_error"] < 1e-5
    assert report["subspace_distance"] < 1e-3
    left = solution.result.left(np.arange(30))
    np.testing.assert_allclose(np.abs(left.T @ u[:, :4]), np.eye(4), atol=1e-2)


def test_a_rank_deficient_matrix_is_judged_on_what_it_has():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((20, 3)) @ rng.standard_normal((3, 15))
    solution = solve(matrix(a), modes=5, steps=1500)
    assert solution.judged == 3
    assert solution.mean_relative_error < 1e-5
    assert solution.comparison.subspace_distance < 1e-5
    assert solution.report()["vanished_modes"] == [4, 5]


@pytest.mark.parametrize("modes", [2, 5])
def test_modes_that_end_inside_a_level_are_judged_on_the_whole_level(modes):
    solution = train(oscillator2d(8.0), modes=modes, steps=400, batch=400)
    assert solution.mean_relative_error < 1e-3
    assert solution.comparison.subspace_distance < 1e-3
    assert solution.comparison.angle_distance.max() < 0.05
    x = np.array([[0.3, -0.2], [1.0, 0.5]])
    np.testing.assert_allclose(*solution.aligned(x), atol=0.03)


def test_unnested_training_is_judged_by_its_ritz_functions():
    solution = solve("gaussian-kernel", method="none", modes=3, steps=400, batch=300)
    assert solution.report()["functions"] == "ritz"
    assert solution.mean_relative_error < 1e-3
    assert solution.comparison.subspace_distance < 1e-3


def test_bad_input_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="unknown problem 'helium'; known: hydrogen2d"):
        schmidt.solve("helium")
    with pytest.raises(ValueError, match="unknown network 'deep'; known: disjoint, shared"):
        schmidt.solve("hydrogen2d", method="sequential", network="deep")
    with pytest.raises(ValueError, match=r"steps: settings of training.*method='sequential'"):
        schmidt.solve("hydrogen2d", steps=10)
    with pytest.raises(ValueError, match="not for the Ritz solver"):
        schmidt.solve("gaussian-kernel", method="ritz")
    with pytest.raises(ValueError, match="number of modes must be positive, got 0"):
        schmidt.solve("hydrogen2d", modes=0)
    with pytest.raises(ValueError, match="at most 3 modes, got 4"):
        solve(matrix(np.ones((3, 5))), modes=4)
    with pytest.raises(ValueError, match="must exceed the lowest energy"):
        oscillator2d(1.0)
    with pytest.raises(FileNotFoundError, match=r"no such file: .*none\.npy"):
        matrix(tmp_path / "none.npy")
    (tmp_path / "a.txt").write_text("1 2")
    with pytest.raises(ValueError, match=r"expected a \.npy or \.mtx file"):
        matrix(tmp_path / "a.txt")
    np.save(tmp_path / "c.npy", np.ones((2, 2)) * 1j)
    with pytest.raises(ValueError, match="complex"):
        matrix(tmp_path / "c.npy")
    np.save(tmp_path / "n.npy", np.array([[np.nan, 1.0]]))
    with pytest.raises(ValueError, match="NaN or Inf"):
        matrix(tmp_path / "n.npy")
