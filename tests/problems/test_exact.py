"""The exact answers of all problems, by the laws they obey."""

import numpy as np
import pytest
import torch

from schmidt.operators import FiniteDifferences, Points, Sample, inner
from schmidt.problems import PROBLEMS, default_dimension, named

QUADRATURE = [
    ("hydrogen2d", None),
    ("hydrogen3d", None),
    ("oscillator2d", None),
    *[("oscillator", d) for d in (1, 2, 3)],
    *[("coupled-oscillators", d) for d in (2, 3)],
    ("well2d", None),
    *[("box", d) for d in (1, 2, 3)],
    *[("torus", d) for d in (1, 2, 3)],
    *[("cosine", d) for d in (1, 2, 3)],
    ("morse", None),
    ("double-well", None),
    ("gaussian-kernel", None),
]
MANY = [
    *[("oscillator", d) for d in (5, 10)],
    *[("coupled-oscillators", d) for d in (5, 10)],
    *[("box", d) for d in (5, 10)],
    ("torus", 5),
    ("cosine", 5),
]
DRIFTING = [("ornstein-uhlenbeck", None), ("fokker-planck", None)]
INTEGRAL = ("gaussian-kernel", None)


def identify(case):
    return case if isinstance(case, str) else str(case or "fixed")


def exact_jet(problem, x, order, step):
    """The exact functions as a jet, by a fine stencil."""

    def function(z):
        return torch.from_numpy(problem.exact.right(z.numpy(), problem.modes))

    return FiniteDifferences(step)(function, x, order)


def test_every_problem_is_judged_here():
    assert {name for name, _ in QUADRATURE + MANY + DRIFTING} == set(PROBLEMS)
    several = {name for name in PROBLEMS if default_dimension(name) is not None}
    assert {name for name, _ in MANY} == several


@pytest.mark.parametrize(("name", "dim"), QUADRATURE, ids=identify)
def test_exact_functions_are_orthonormal(name, dim):
    problem = named(name, dim)
    points = problem.form.evaluation().x
    values = torch.from_numpy(problem.exact.right(points.x.numpy(), problem.modes))
    gram = inner(values, values, points.weight)
    torch.testing.assert_close(gram, torch.eye(problem.modes).double(), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("name", "dim"), [c for c in MANY if c[1] == 5], ids=identify)
def test_exact_functions_are_nearly_orthonormal_on_scattered_points(name, dim):
    """Also a check of the proposals, whose weights must not vary much."""
    problem = named(name, dim)
    points = problem.form.evaluation().x
    values = torch.from_numpy(problem.exact.right(points.x.numpy(), problem.modes))
    gram = inner(values, values, points.weight)
    torch.testing.assert_close(gram, torch.eye(problem.modes).double(), atol=2e-2, rtol=0)


@pytest.mark.parametrize(
    ("name", "dim"), [c for c in QUADRATURE if c != INTEGRAL and c[1] != 3], ids=identify
)
def test_exact_functions_diagonalise_the_form(name, dim):
    """⟨φ_i|T φ_j⟩ = λ_i δ_ij checks form, shift, quadrature and formulas at once."""
    problem = named(name, dim)
    sample = problem.form.evaluation()
    jet = exact_jet(problem, sample.x.x, 1, 1e-5)
    pi = problem.form.matrix(jet, jet, sample)
    values = torch.from_numpy(problem.exact.values(problem.modes))
    torch.testing.assert_close(pi, torch.diag(values), atol=1e-4 * float(values[0]), rtol=0)


@pytest.mark.parametrize(
    ("name", "dim"), [c for c in QUADRATURE + MANY + DRIFTING if c != INTEGRAL], ids=identify
)
def test_exact_functions_solve_the_equation_at_every_point(name, dim):
    """T φ = λ φ, with second derivatives by a stencil, in any number of dimensions."""
    problem = named(name, dim)
    x = problem.form.sample(200, torch.Generator().manual_seed(0)).x.x
    if name.startswith("hydrogen"):
        x = x[x.norm(dim=1) > 0.5]
    points = Points(x, torch.ones(len(x), dtype=torch.float64))
    jet = exact_jet(problem, x, 2, 3e-4)
    image = problem.form.action(jet, Sample(points, points))
    values = torch.from_numpy(problem.exact.values(problem.modes))
    residual = (image - values * jet.value).abs().amax(0) / jet.value.abs().amax(0)
    assert float(residual.max()) < 3e-5 * float(values.abs().max())


@pytest.mark.parametrize(("name", "dim"), QUADRATURE + MANY + DRIFTING, ids=identify)
def test_values_fall_and_do_not_depend_on_how_many_are_asked_for(name, dim):
    problem = named(name, dim)
    # judging asks for some more, to see where the last level ends
    values = problem.exact.values(problem.modes + 64)
    assert len(values) == problem.modes + 64
    np.testing.assert_array_equal(problem.exact.values(problem.modes), values[: problem.modes])
    assert (np.diff(values.real) <= 1e-9).all()
    x = problem.form.sample(8, torch.Generator().manual_seed(0)).x.x.numpy()
    few, more = (problem.exact.right(x, count) for count in (3, problem.modes))
    np.testing.assert_allclose(few, more[:, :3], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "dim"), [c for c in QUADRATURE + MANY if c[1] is not None], ids=identify
)
def test_the_modes_are_whole_levels_above_zero(name, dim):
    problem = named(name, dim)
    values = problem.exact.values(problem.modes + 1)
    assert values[problem.modes - 1] > 0.01 * values[0]
    assert abs(values[problem.modes]) < 1e-12 * values[0]
