"""The pictures that ``schmidt solve`` writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from schmidt import plotting
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
    shown = min(solution.judged, MAX_SHOWN)
    labels = [f"{i + 1}: {v:.4g}" for i, v in enumerate(solution.spectrum.ritz[:shown])]
    if problem.extent is None:
        index = np.arange(len(solution.sample.x))
        learned, exact = solution.aligned(index)
        return plotting.function_curves(index, learned[:, :shown], exact[:, :shown], labels)
    axis = np.linspace(*problem.extent, GRID)
    dim = solution.sample.x.x.shape[1]
    if dim == 1:
        learned, exact = solution.aligned(axis[:, None])
        return plotting.function_curves(axis, learned[:, :shown], exact[:, :shown], labels)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    learned, exact = solution.aligned(np.stack([x.ravel(), y.ravel()], 1))
    shape = (GRID, GRID, -1)
    return plotting.function_images(
        learned[:, :shown].reshape(shape), exact[:, :shown].reshape(shape), problem.extent, labels
    )
