"""The pictures that ``schmidt solve`` writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from schmidt import plotting
from schmidt.compare import degenerate_groups
from schmidt.problems import Solution

GRID = 121
MAX_SHOWN = 32


def draw(solution: Solution, out: Path) -> list[Path]:
    """Functions beside the exact ones, spectrum, orthogonality, training curve."""
    s, c = solution.spectrum, solution.comparison
    estimates = {"norm": s.norm, "Rayleigh": s.rayleigh, "Ritz": s.ritz}
    figures = {
        "functions.png": _functions(solution),
        "spectrum.png": plotting.spectrum(
            estimates, solution.exact, f"spectrum of {solution.problem.name}"
        ),
        "orthogonality.png": plotting.orthogonality(
            solution.gram(), c.orthogonality if c else float("nan")
        ),
        "training.png": plotting.training_curve(solution.fit.history),
    }
    for name, figure in figures.items():
        plotting.finish(figure, out / name)
    return [out / name for name in figures]


def _functions(solution: Solution) -> plotting.Figure:
    problem = solution.problem
    shown = min(solution.compared, MAX_SHOWN)
    labels = [f"{i + 1}: {v:.4g}" for i, v in enumerate(solution.spectrum.ritz[:shown])]
    if problem.extent is None:
        index = np.arange(len(solution.sample.x))
        learned, exact = solution.aligned(index)
        return plotting.function_curves(index, learned[:, :shown], exact[:, :shown], labels)
    if solution.sample.x.x.shape[1] == 1:
        axis = np.linspace(*problem.extent, 4 * GRID)
        learned, exact = solution.aligned(axis[:, None])
        return plotting.function_curves(axis, learned[:, :shown], exact[:, :shown], labels)
    images: list[tuple[np.ndarray, np.ndarray]] = []
    windows = _windows(solution)[:shown]
    for window in dict.fromkeys(windows):
        axis = np.linspace(*window, GRID)
        x, y = np.meshgrid(axis, axis, indexing="ij")
        learned, exact = solution.aligned(np.stack([x.ravel(), y.ravel()], 1))
        members = [i for i, w in enumerate(windows) if w == window]
        images += [(learned[:, i].reshape(x.shape), exact[:, i].reshape(x.shape)) for i in members]
    if problem.zoom:
        labels = [f"{label}  (±{w[1]:.0f})" for label, w in zip(labels, windows, strict=True)]
    return plotting.function_images(*zip(*images, strict=True), windows, labels)


def _windows(solution: Solution) -> list[tuple[float, float]]:
    """One window per mode: the problem's, or where each level has 99.5 % of its mass."""
    problem, k = solution.problem, solution.compared
    assert problem.extent is not None
    if not problem.zoom or problem.exact.right is None:
        return [problem.extent] * k
    x, weight = solution.sample.x.x.numpy(), solution.sample.x.weight.numpy()
    mass = weight[:, None] * solution.exact_functions(x) ** 2
    reach = np.abs(x).max(1)
    order = np.argsort(reach)
    windows: list[tuple[float, float]] = []
    for group in degenerate_groups(solution.exact[:k]):
        inside = mass[order, group].mean(1).cumsum()
        width = reach[order][np.searchsorted(inside, 0.995 * inside[-1])]
        width = min(float(np.ceil(width)), problem.extent[1])
        windows += [(-width, width)] * (group.stop - group.start)
    return windows
