"""Potentials of one's own: typed formulas have the spectra that are known for them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from schmidt.operators import Schrodinger
from schmidt.problems import Problem, Solution, potential, ritz, train
from schmidt.problems.formula import formula


def found(problem: Problem, modes: int | None = None) -> Solution:
    return ritz(problem, modes=modes, budget=1.5, tol=1e-8, progress=False)


def energies(solution: Solution) -> np.ndarray:
    """Of the states, from the eigenvalues of T."""
    assert solution.problem.energy is not None
    return solution.problem.energy(solution.values)


def cup(x: Tensor) -> Tensor:
    return x.pow(2).sum(1)


# formula, dimension, kinetic factor, energies
KNOWN: dict[str, tuple[str, int, float, list[float]]] = {
    "oscillator": ("x**2", 1, 1.0, [1, 3, 5, 7]),
    "off centre": ("(x - 3)^2 + 2", 1, 1.0, [3, 5, 7]),
    "half of everything": ("r^2/2", 2, 0.5, [1, 2, 2, 3, 3, 3]),
    "anisotropic": ("x**2 + 9*y**2", 2, 1.0, [4, 6, 8, 10, 10]),
    "coupled": ("5*x**2 + 8*x*y + 5*y**2", 2, 1.0, [4, 6, 8, 10, 10]),
    "in space": ("x^2 + y^2 + z^2", 3, 1.0, [3, 5, 5, 5]),
    "hydrogen": ("-1/r", 2, 1.0, [-1, -1 / 9, -1 / 9, -1 / 9]),
    "heavy hydrogen": ("-2/r", 2, 0.5, [-8, -8 / 9, -8 / 9, -8 / 9]),
    "hyperbolic": ("-6/cosh(x)^2", 1, 1.0, [-4, -1]),
}


@pytest.mark.parametrize("name", KNOWN)
def test_known_spectra(name: str) -> None:
    text, dim, kinetic, levels = KNOWN[name]
    solution = found(potential(text, dim, modes=len(levels), kinetic=kinetic))
    np.testing.assert_allclose(energies(solution), levels, atol=1e-4 * np.ptp([0, *levels, 1]))
    off = np.abs(energies(solution) - levels)
    assert (off <= solution.radius + 1e-10).all()


def test_a_formula_and_a_function_are_one_problem() -> None:
    typed, given, read = (potential(source, 2) for source in ("r^2", cup, formula("r^2", 2)))
    assert typed.form.offset == pytest.approx(given.form.offset, rel=1e-12)
    assert typed.summary.endswith("V = r^2")
    assert given.summary.endswith("V = cup")
    assert read.summary.endswith("V = V")
    below = potential("-4*exp(-x**2)", 1, modes=1)
    assert below.form.offset < 0
    assert f"V − {-below.form.offset:g}, V" in below.summary
    assert (typed.name, typed.modes, typed.exact) == ("potential", 6, None)
    x = torch.randn(9, 2, dtype=torch.float64)
    for problem in (typed, given, read):
        base = problem.form.base  # type: ignore[attr-defined]
        assert isinstance(base, Schrodinger)
        torch.testing.assert_close(base.potential(x), cup(x))


@pytest.mark.parametrize("height", [-1000.0, 50.0])
def test_a_constant_moves_energies_and_nothing_else(height: float) -> None:
    plain, moved = (potential(f"x**2 + {h:g}", 1, modes=3) for h in (0.0, height))
    assert moved.form.offset - plain.form.offset == pytest.approx(height, abs=1e-3)
    amplitudes = [problem.networks()[0].amplitude for problem in (plain, moved)]
    assert amplitudes[1] == pytest.approx(amplitudes[0], rel=1e-3)
    a, b = found(plain), found(moved)
    np.testing.assert_allclose(energies(b) - height, energies(a), atol=1e-4)
    np.testing.assert_allclose(b.values, a.values, atol=2e-3)


@pytest.mark.parametrize("length", [1e-2, 1e3])
def test_units_do_not_matter(length: float) -> None:
    """V(x/a)/a² has energies E/a², its window a times the size, its shift 1/a² times."""
    plain = potential("x**2 + y**4", 2, modes=3)
    scaled = potential(
        lambda x: ((x[:, 0] / length) ** 2 + (x[:, 1] / length) ** 4) / length**2, 2, modes=3
    )
    assert scaled.form.offset * length**2 == pytest.approx(plain.form.offset, rel=0.05)
    assert scaled.extent is not None
    assert plain.extent is not None
    assert scaled.extent[1] / length == pytest.approx(plain.extent[1], rel=0.05)
    np.testing.assert_allclose(
        energies(found(scaled)) * length**2, energies(found(plain)), rtol=1e-3
    )


@pytest.mark.parametrize(
    ("text", "dim", "modes", "top"),
    [
        ("x^2", 1, 6, 11),
        ("r^2", 2, 6, 6),
        ("r^2", 3, 4, 5),
        ("r^2 - 40", 2, 6, -34),
        ("-1/r", 2, 4, -1 / 9),
        ("-1/r", 3, 5, -1 / 16),
        ("-6/cosh(x)^2", 1, 2, -1),
    ],
)
def test_the_shift_makes_the_expected_states_positive_but_not_large(
    text: str, dim: int, modes: int, top: float
) -> None:
    """It lies above their energies, by no more than their range; so they can be learned."""
    problem = potential(text, dim, modes=modes)
    bottom = {"r^2 - 40": -38, "-1/r": -1 if dim == 2 else -1 / 4, "-6/cosh(x)^2": -4}
    lowest = bottom.get(text, dim)
    assert top < problem.form.offset < top + max(top - lowest, 1)


@pytest.mark.parametrize("kind", ["disjoint", "shared"])
def test_its_networks_learn_it(kind: str) -> None:
    problem = potential("x**2", 1, modes=2)
    points = problem.form.sample(6, torch.Generator().manual_seed(0)).x.x.float()
    assert problem.networks(kind, 4)[0](points).shape == (len(points), 4)
    solution = train(problem, network=kind, steps=120, batch=128, progress=False)
    report = solution.report()
    np.testing.assert_allclose(report["energies"], [1, 3], atol=0.1)
    assert report["exact"] is None


def test_pictures_show_where_the_states_are() -> None:
    """The window holds nearly all of every state, and is not empty."""
    for problem in (potential("x^2 + y^2", 2, modes=6), potential("x**4", 1)):
        assert problem.extent is not None
        low, high = problem.extent
        solution = found(problem)
        inside = (solution.sample.x.x.abs().amax(1) < high).numpy()
        mass = solution.sample.x.weight.numpy()[:, None] * solution.right_values() ** 2
        assert low == -high
        assert float((mass[inside].sum(0) / mass.sum(0)).min()) > 0.95
        outside = (solution.sample.x.x.norm(dim=1) > 0.4 * high).numpy()
        assert float((mass[outside].sum(0) / mass.sum(0)).max()) > 0.05


def test_requests_that_make_no_sense() -> None:
    for text, dim, message in (
        ("x + q", 1, "unknown name 'q'"),
        ("x + y", 1, "y needs --dim 2"),
        ("0*x", 1, "fewer than 6 bound states|spectrum is continuous"),
        ("-x^2", 1, "bound states|not finite"),
        ("log(-1 - r)", 2, "not finite"),
    ):
        with pytest.raises(ValueError, match=message):
            potential(text, dim)
    with pytest.raises(ValueError, match="positive kinetic factor and a positive extent"):
        potential("x^2", 1, kinetic=0)
    with pytest.raises(ValueError, match="must be positive, got 0"):
        found(potential("x^2", 1), modes=0)
