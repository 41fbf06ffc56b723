"""The pictures that ``schmidt solve`` writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from schmidt import plotting
from schmidt.compare import degenerate_groups
from schmidt.problems import RitzSolution, Solution

GRID = 121
MAX_SHOWN = 32
SIDE_BY_SIDE = 16
ASIDE = 0.07
"""In more than two dimensions a plane is drawn that misses the centre by this share of the window:
half of all states vanish on the plane through it."""


def draw(solution: Solution | RitzSolution, out: Path) -> list[Path]:
    """Functions beside the exact ones, spectrum, orthogonality, and how the answer was found."""
    figures: dict[str, plotting.Figure] = {}
    shown = _functions(solution)
    if shown is not None:
        figures["functions.png"] = shown
    if isinstance(solution, RitzSolution):
        figures |= _certified(solution)
    else:
        figures |= _trained(solution)
    for name, figure in figures.items():
        plotting.finish(figure, out / name)
    return [out / name for name in figures]


def _trained(solution: Solution) -> dict[str, plotting.Figure]:
    s, c = solution.spectrum, solution.comparison
    estimates = {"norm": s.norm, "Rayleigh": s.rayleigh, "Ritz": s.ritz}
    estimates = {name: v for name, v in estimates.items() if np.isfinite(v).any()}
    if solution.fit.polished is not None:
        estimates["polished"] = solution.values
    return {
        "spectrum.png": plotting.spectrum(
            estimates, solution.exact, f"spectrum of {solution.problem.name}"
        ),
        "orthogonality.png": plotting.orthogonality(
            solution.gram(), c.orthogonality if c else float("nan")
        ),
        "training.png": plotting.training_curve(solution.fit.history),
    }


def _certified(solution: RitzSolution) -> dict[str, plotting.Figure]:
    found, scale = solution.ritz, solution.sizes(solution.values)
    exact = solution.exact
    title = f"spectrum of {solution.problem.name}"
    out = {
        "bounds.png": plotting.bounds(
            found.radius / scale,
            found.estimate / scale,
            None if exact is None else solution.relative_error,
            found.residual / scale,
        ),
        "search.png": plotting.search(solution.ritz.report()["trials"]),
    }
    if not np.iscomplexobj(solution.values):
        out["spectrum.png"] = plotting.spectrum({"Ritz": solution.values}, exact, title)
    else:
        out["spectrum.png"] = plotting.complex_spectrum(solution.values, exact, title)
    return out


def _functions(solution: Solution | RitzSolution) -> plotting.Figure | None:
    problem = solution.problem
    values = solution.values if isinstance(solution, RitzSolution) else solution.spectrum.ritz
    count = solution.compared if solution.comparable else solution.functions[0].mix.shape[1]
    shown = min(count, MAX_SHOWN)
    if isinstance(solution, RitzSolution) and problem.energy is not None:
        values = problem.energy(values)
    labels = [f"{i + 1}: {_label(v)}" for i, v in enumerate(values[:shown])]
    points = solution.sample.x.x
    if not points.is_floating_point():
        index = np.arange(len(solution.sample.x))
        learned, exact = solution.aligned(index)
        return plotting.function_curves(index, learned[:, :shown], _first(exact, shown), labels)
    if problem.extent is None:
        return None
    if points.shape[1] == 1:
        axis = np.linspace(*problem.extent, 4 * GRID)
        learned, exact = solution.aligned(axis[:, None])
        return plotting.function_curves(axis, learned[:, :shown], _first(exact, shown), labels)
    windows = _windows(solution, count)[:shown]
    images, references = _images(solution, windows)
    if problem.zoom:
        labels = [f"{label}  (±{w[1]:.0f})" for label, w in zip(labels, windows, strict=True)]
    return plotting.function_images(images, references, windows, labels)


def _images(
    solution: Solution | RitzSolution, windows: Sequence[tuple[float, float]]
) -> tuple[list[np.ndarray], list[np.ndarray] | None]:
    """Found functions on a plane, each in its window, and the exact ones where there are any."""
    dim = solution.sample.x.x.shape[1]
    images: list[np.ndarray] = [np.zeros(0)] * len(windows)
    references: list[np.ndarray] = [np.zeros(0)] * len(windows)
    known = False
    for window in dict.fromkeys(windows):
        axis = np.linspace(*window, GRID)
        x, y = np.meshgrid(axis, axis, indexing="ij")
        found, exact = solution.aligned(_plane(x, y, dim, window))
        known = exact is not None
        for i in (i for i, w in enumerate(windows) if w == window):
            images[i] = found[:, i].reshape(x.shape)
            if exact is not None:
                references[i] = exact[:, i].reshape(x.shape)
    return images, references if known else None


def draw_beside(
    solutions: Mapping[str, Solution | RitzSolution], errors: Mapping[str, np.ndarray], out: Path
) -> list[Path]:
    """Several answers to one problem in one picture each for functions and errors."""
    figures: dict[str, plotting.Figure] = {}
    first = next(iter(solutions.values()))
    if first.judged:
        figures["errors.png"] = plotting.errors(
            {name: errors[name][: s.judged] for name, s in solutions.items()}
        )
    points = first.sample.x.x
    flat = points.is_floating_point() and points.shape[1] > 1 and first.problem.extent is not None
    if flat and all(s.comparable for s in solutions.values()):
        shown = min(*(s.compared for s in solutions.values()), SIDE_BY_SIDE)
        windows = _windows(first, first.compared)[:shown]
        rows = {name: _images(s, windows)[0] for name, s in solutions.items()}
        rows["exact"] = _images(first, windows)[1] or []
        labels = [str(mode) for mode in range(1, shown + 1)]
        figures["side-by-side.png"] = plotting.side_by_side(rows, windows, labels)
    for name, figure in figures.items():
        plotting.finish(figure, out / name)
    return [out / name for name in figures]


def _first(columns: np.ndarray | None, count: int) -> np.ndarray | None:
    return None if columns is None else columns[:, :count]


def _label(value: complex) -> str:
    if not np.iscomplexobj(value) or value.imag == 0:
        return f"{np.real(value):.4g}"
    return f"{value.real:.3g}{value.imag:+.3g}i"


def _plane(x: np.ndarray, y: np.ndarray, dim: int, window: tuple[float, float]) -> np.ndarray:
    """Points of the plane of the first two coordinates, the others a little off the middle."""
    low, high = window
    points = np.full((x.size, dim), (low + high) / 2 + ASIDE * (high - low))
    points[:, 0], points[:, 1] = x.ravel(), y.ravel()
    return points


def _windows(solution: Solution | RitzSolution, count: int) -> list[tuple[float, float]]:
    """One window per mode: the problem's, or where each level has 99.5 % of its mass."""
    problem = solution.problem
    assert problem.extent is not None
    if not problem.zoom or not solution.comparable or solution.exact is None:
        return [problem.extent] * count
    x, weight = solution.sample.x.x.numpy(), solution.sample.x.weight.numpy()
    mass = weight[:, None] * solution.exact_functions(x) ** 2
    reach = np.abs(x).max(1)
    order = np.argsort(reach)
    windows: list[tuple[float, float]] = []
    for group in degenerate_groups(solution.exact[:count]):
        inside = mass[order, group].mean(1).cumsum()
        width = reach[order][np.searchsorted(inside, 0.995 * inside[-1])]
        width = min(float(np.ceil(width)), problem.extent[1])
        windows += [(-width, width)] * (group.stop - group.start)
    return windows
