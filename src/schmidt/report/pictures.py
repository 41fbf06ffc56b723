"""The pictures of solutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from schmidt import plotting
from schmidt.certificate import Bound
from schmidt.compare import degenerate_groups
from schmidt.operators.ritz import Ritz
from schmidt.problems import Solution

GRID = 121
MAX_SHOWN = 32
SIDE_BY_SIDE = 16
LEVELS = 12
"""More levels than this cannot be told apart in one diagram."""
ASIDE = 0.07
"""In more than two dimensions a plane is drawn that misses the centre by this share of the window:
half of all states vanish on the plane through it."""
DECAYED = 0.01
"""A window ends where functions have fallen to this share of their largest size."""


def draw(solution: Solution, out: Path) -> list[Path]:
    """Functions beside the exact ones, spectrum, orthogonality, and how the answer was found."""
    figures: dict[str, plotting.Figure] = {}
    figures |= _functions(solution)
    figures |= _certified(solution) if solution.certified else _trained(solution)
    for name, figure in figures.items():
        plotting.finish(figure, out / name)
    return [out / name for name in figures]


def spectrum_of(solution: Solution) -> plotting.Figure:
    """Energies where the problem has them, else values of T; certified intervals as error bars,
    relative errors beside them."""
    problem, exact, k = solution.problem, solution.exact, solution.modes
    title = f"spectrum of {problem.name}"
    if np.iscomplexobj(solution.values):
        assert isinstance(solution.found, Ritz)
        return plotting.complex_spectrum(
            solution.values, exact, title, radius=solution.found.residual
        )
    if solution.certified:
        estimates = {"Ritz": solution.values}
    else:
        s = solution.spectrum
        estimates = {"norm": s.norm, "Rayleigh": s.rayleigh, "Ritz": s.ritz}
        if solution.shown == "polished":
            estimates = {"polished": solution.values, **estimates}
        estimates = {name: v for name, v in estimates.items() if np.isfinite(v).any()}
    errors: dict[str, np.ndarray] | None = None
    if exact is not None:
        sizes = solution.sizes(exact)
        errors = {name: np.abs(v - exact[: len(v)]) / sizes for name, v in estimates.items()}
    known = solution.certificate["values"]
    if problem.energy is not None:
        estimates = {name: problem.energy(v) for name, v in estimates.items()}
        exact = None if exact is None else problem.energy(exact)
        if known.per_mode:
            ends = problem.energy(np.asarray(known.low)), problem.energy(np.asarray(known.high))
            known = Bound(np.minimum(*ends), np.maximum(*ends), known.failure)
    return plotting.spectrum(
        estimates,
        None if exact is None else exact[:k],
        title,
        bounds=known,
        errors=errors,
        quantity="energy" if problem.energy is not None else "value of T",
    )


def _trained(solution: Solution) -> dict[str, plotting.Figure]:
    c = solution.comparison
    assert not isinstance(solution.found, Ritz)
    return {
        "spectrum.png": spectrum_of(solution),
        "orthogonality.png": plotting.orthogonality(
            solution.gram(), c.orthogonality if c else float("nan")
        ),
        "training.png": plotting.training_curve(solution.found.history),
    }


def _certified(solution: Solution) -> dict[str, plotting.Figure]:
    found, scale = solution.found, solution.sizes(solution.values)
    assert isinstance(found, Ritz)
    trials = found.report()["trials"]
    return {
        "bounds.png": plotting.bounds(
            found.radius / scale,
            found.estimate / scale,
            None if solution.exact is None else solution.relative_error,
            found.residual / scale,
        ),
        **({"search.png": plotting.search(trials)} if len(trials) > 1 else {}),
        "spectrum.png": spectrum_of(solution),
    }


def _functions(solution: Solution) -> dict[str, plotting.Figure]:
    problem = solution.problem
    count = solution.compared if solution.comparable else solution.functions[0].mix.shape[1]
    shown = min(count, MAX_SHOWN)
    values = solution.values if solution.energies is None else solution.energies
    labels = [f"{i + 1}: {_label(v)}" for i, v in enumerate(values[:shown])]
    points = solution.sample.x.x
    if not points.is_floating_point():
        index = np.arange(len(solution.sample.x))
        learned, exact = solution.aligned(index)
        curves = (index, learned[:, :shown], _first(exact, shown), labels, "index")
        return {"functions.png": plotting.function_curves(*curves)}
    if problem.extent is None:
        return {}
    if points.shape[1] == 1:
        return _on_a_line(solution, shown, labels)
    windows = _windows(solution, count)[:shown]
    images, references = _images(solution, windows)
    return {"functions.png": plotting.function_images(images, references, windows, labels)}


def _on_a_line(solution: Solution, shown: int, labels: list[str]) -> dict[str, plotting.Figure]:
    """Curves; and on the potential, where there is one, every level with its function."""
    problem = solution.problem
    axis = np.linspace(*_reach(solution, shown), 8 * GRID)
    learned, exact = solution.aligned(axis[:, None])
    learned, exact = learned[:, :shown], _first(exact, shown)
    out = {"functions.png": plotting.function_curves(axis, learned, exact, labels)}
    potential = getattr(problem.form.unshifted, "potential", None)
    if potential is not None and solution.energies is not None:
        few = min(shown, LEVELS)
        with np.errstate(all="ignore"):
            height = potential(torch.from_numpy(axis[:, None]))
        out["levels.png"] = plotting.level_diagram(
            axis,
            np.asarray(height, dtype=float).reshape(-1),
            solution.energies[:few],
            learned[:, :few],
            solution.radius[:few],
            f"levels of {problem.name}",
        )
    return out


def _reach(solution: Solution, shown: int) -> tuple[float, float]:
    """The problem's window, widened until every shown function has decayed at its ends; a window
    that is the whole domain stays as it is."""
    problem = solution.problem
    assert problem.extent is not None
    low, high = problem.extent
    if problem.whole:
        return low, high
    for _ in range(8):
        x = np.linspace(low, high, 4 * GRID)
        size = np.abs(solution.aligned(x[:, None])[0][:, :shown])
        edge = np.maximum(size[0], size[-1]) / size.max(0)
        if (edge < DECAYED).all():
            break
        low, high = low - (high - low) / 4, high + (high - low) / 4
    return low, high


def _images(
    solution: Solution, windows: Sequence[tuple[float, float]]
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
    solutions: Mapping[str, Solution], errors: Mapping[str, np.ndarray], out: Path
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


def _windows(solution: Solution, count: int) -> list[tuple[float, float]]:
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
