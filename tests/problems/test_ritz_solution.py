"""What is reported of a Ritz solution: plain finite numbers that agree with one another."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from schmidt.problems import (
    Problem,
    Solution,
    named,
    ornstein_uhlenbeck,
    oscillator2d,
    potential,
    ritz,
    solve,
)

# who is solved, modes
CASES: dict[str, tuple[Callable[[], Problem], int]] = {
    "oscillator": (lambda: oscillator2d(5.0), 5),
    "torus": (lambda: named("torus", 1), 5),
    "no exact answer": (lambda: potential("x^2 + y^2 + x^2*y^2/10", 2), 3),
    "rotation": (ornstein_uhlenbeck, 6),
    "reversible": (lambda: ornstein_uhlenbeck([[2.0, 0.5], [0.5, 1.0]]), 4),
    "triangular": (lambda: ornstein_uhlenbeck([[1.0, 0.3], [0.0, 2.3]]), 4),
    "density": (lambda: named("fokker-planck"), 3),
}
COMPLEX = {"rotation"}
SELF_ADJOINT = {"oscillator", "torus", "no exact answer", "reversible"}


@pytest.fixture(scope="module")
def solved() -> Callable[[str], Solution]:
    """Name of a case → its solution, computed once."""
    known: dict[str, Solution] = {}

    def find(name: str) -> Solution:
        if name not in known:
            problem, modes = CASES[name]
            known[name] = ritz(problem(), modes=modes, budget=1.5, tol=1e-8, progress=False)
        return known[name]

    return find


def plain(value: Any) -> bool:
    """Whether a value is None, text, a finite number, or made of such."""
    if isinstance(value, dict):
        return all(isinstance(k, str) and plain(v) for k, v in value.items())
    if isinstance(value, list):
        return all(plain(v) for v in value)
    return value is None or type(value) in (str, bool, int) or bool(np.isfinite(value))


def numbers(entries: list[Any]) -> np.ndarray:
    """Values as they were before they became JSON."""
    pairs = [complex(*v) if isinstance(v, list) else np.nan if v is None else v for v in entries]
    return np.array(pairs)


@pytest.mark.parametrize("name", CASES)
def test_reports_are_plain_and_complete(name: str, solved: Callable[[str], Solution]) -> None:
    report, modes = solved(name).report(), CASES[name][1]
    assert plain(report)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert (report["method"], report["modes"], report["seed"]) == ("ritz", modes, 0)
    assert report["problem"] == solved(name).problem.name
    for key in ("values", "residual", "radius", "relative_residual", "relative_error"):
        assert len(report[key]) == modes
    assert report["held_out_points"] == len(solved(name).sample.x) > 0
    assert {"budget", "tol", "width", "points", "rank"} <= set(report["settings"])
    np.testing.assert_array_equal(numbers(report["values"]), solved(name).values)


@pytest.mark.parametrize("name", CASES)
def test_relative_numbers_are_absolute_ones_over_one_scale(
    name: str, solved: Callable[[str], Solution]
) -> None:
    report = solved(name).report()
    scale = solved(name).sizes(solved(name).values)
    assert (scale > 0).all()
    for absolute in ("residual", "radius", "estimate"):
        key = {"estimate": "estimated_error"}.get(absolute, absolute)
        np.testing.assert_allclose(
            numbers(report[f"relative_{absolute}"]) * scale, numbers(report[key]).astype(float)
        )
    known = name in SELF_ADJOINT
    assert np.isfinite(numbers(report["radius"]).astype(float)).all() == known
    assert np.isfinite(numbers(report["estimated_error"]).astype(float)).all() == known


@pytest.mark.parametrize("name", [name for name in CASES if name != "no exact answer"])
def test_values_are_judged_by_exact_ones(name: str, solved: Callable[[str], Solution]) -> None:
    solution = solved(name)
    report, modes = solution.report(), CASES[name][1]
    values, exact = numbers(report["values"]), numbers(report["exact"])
    errors = np.abs(values - exact)
    np.testing.assert_allclose(numbers(report["relative_error"]) * solution.sizes(exact), errors)
    assert report["mean_relative_error"] == pytest.approx(np.mean(report["relative_error"]))
    assert report["mean_relative_error"] < 1e-2
    assert report["judged_modes"] == modes
    if name in SELF_ADJOINT:
        assert (errors <= numbers(report["radius"]) + 1e-10).all()


@pytest.mark.parametrize("name", [name for name in CASES if name != "no exact answer"])
def test_functions_are_compared_where_they_are_real(
    name: str, solved: Callable[[str], Solution]
) -> None:
    solution = solved(name)
    report = solution.report()
    distances = ("angle_distance", "subspace_distance", "subspace_distance_total", "orthogonality")
    if name in COMPLEX:
        assert all(report[key] is None for key in distances)
        return
    assert max(report["angle_distance"]) < 3e-2
    assert report["subspace_distance"] < 1e-3
    assert report["subspace_distance_total"] < 1e-3
    if name in SELF_ADJOINT:
        assert report["orthogonality"] < 1e-2
    x = solution.sample.x.x.numpy()
    shown, exact = solution.aligned(x)
    assert exact is not None
    assert np.isrealobj(shown)
    assert np.abs(shown - exact).max() < 0.1 * np.abs(exact).max()


def test_without_an_exact_answer_there_is_nothing_to_compare(
    solved: Callable[[str], Solution],
) -> None:
    solution = solved("no exact answer")
    report = solution.report()
    nothing = ("exact", "mean_relative_error", "angle_distance", "subspace_distance")
    assert all(report[key] is None for key in (*nothing, "orthogonality"))
    assert report["relative_error"] == [None] * 3
    assert report["judged_modes"] == 0
    assert solution.comparison is None
    assert solution.aligned(np.zeros((2, 2)))[1] is None
    np.testing.assert_allclose(solution.gram(), np.eye(3), atol=1e-2)
    # x²y² is positive: all energies rise, by less than its mean in the oscillator's states
    assert (np.array(report["energies"]) > [2, 4, 4]).all()
    assert report["energies"][0] < 2 + 0.1 / 4
    assert report["energies"][1] == pytest.approx(report["energies"][2], abs=1e-4)


def test_complex_values_come_as_pairs(solved: Callable[[str], Solution]) -> None:
    report = solved("rotation").report()
    values = numbers(report["values"])
    assert all(len(pair) == 2 for pair in (*report["values"], *report["exact"]))
    np.testing.assert_allclose(values[1], values[2].conj(), atol=1e-6)
    assert report["energies"] is None
    assert min(report["condition"]) >= 1 - 1e-6
    assert max(report["condition"]) > 1.01


@pytest.mark.parametrize("shift", [5.0, 60.0])
def test_errors_are_relative_to_energies_whatever_the_shift(shift: float) -> None:
    solution = ritz(oscillator2d(shift), modes=6, budget=1.0, tol=1e-6, progress=False)
    exact = solution.exact
    assert exact is not None
    np.testing.assert_allclose(solution.sizes(exact), [2, 4, 4, 6, 6, 6])
    np.testing.assert_allclose(solution.report()["energies"], [2, 4, 4, 6, 6, 6], atol=1e-4)
    assert solution.judged == 6


def test_values_at_zero_are_judged_by_the_spacing(solved: Callable[[str], Solution]) -> None:
    """The constant on a circle: 0, 1, 1, 4, 4."""
    solution = solved("torus")
    exact = solution.exact
    assert exact is not None
    assert solution.sizes(exact)[0] == pytest.approx(4 / (4 * 5))
    np.testing.assert_allclose(solution.sizes(exact)[1:], [1, 1, 4, 4])


def test_solving_by_name_and_by_problem_is_the_same() -> None:
    by_name = solve("oscillator2d", modes=3, budget=1.0, tol=1e-3, progress=False)
    assert isinstance(by_name, Solution)
    again = ritz(named("oscillator2d"), modes=3, budget=1.0, tol=1e-3, progress=False)
    np.testing.assert_allclose(by_name.values, again.values, atol=1e-9)
