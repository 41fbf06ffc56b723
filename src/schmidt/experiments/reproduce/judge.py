"""Judging a trained run: the measures of E.1.3 on a fine quadrature, and pictures of the functions.

Eigenvalues are Rayleigh quotients of the functions as learned, as in the paper; without nesting,
where only the span means something, of the Ritz functions in it. A value that is missing counts as
an error of 1.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from schmidt.compare import compare, degenerate_groups, gram, procrustes, relative_errors
from schmidt.experiments.reproduce import model
from schmidt.experiments.reproduce.model import Recipe
from schmidt.operators.fit import Fit
from schmidt.operators.jet import Function
from schmidt.operators.spectrum import (
    Functions,
    Spectrum,
    double,
    overlaps,
    rayleigh_ritz,
    spectrum,
)
from schmidt.problems.problem import Problem
from schmidt.problems.solution import numbers
from schmidt.storage import read_tensors, write_tensors

PICTURES = "pictures.safetensors"
GRID = 61
INSIDE = 0.995
POINTS = (512, 4096, 32768)


def judge(recipe: Recipe, trained: Fit, folder: Path) -> dict[str, Any]:
    """All measures as plain numbers; pictures of the judged functions go to ``folder``."""
    problem = model.problem(recipe)
    exact = problem.exact
    assert exact is not None
    assert exact.right is not None
    sample, k = problem.form.evaluation(), recipe.judged
    form = recipe.scale * problem.form
    found = spectrum(form, trained.right, None, sample, method=trained.method)
    ordered = trained.method is None or trained.method.ordered
    values = (found.rayleigh if ordered else found.ritz) / recipe.scale
    network = double(trained.right)
    functions = Functions(network, found.own_f if ordered else _filled(found))
    x, weight = sample.x.x.numpy(), sample.x.weight.numpy()
    learned, reference = functions(x)[:, :k], exact.right(x, k)
    truth = exact.values(recipe.modes)
    measures = compare(
        learned,
        reference,
        weights=weight,
        values=np.nan_to_num(values[:k]),
        exact=truth[:k],
    )
    groups = degenerate_groups(truth[:k])
    turns = [procrustes(learned[:, g], reference[:, g], weight).numpy() for g in groups]
    _draw(problem, functions, groups, turns, learned, weight, folder)
    outputs = Functions(network, torch.eye(recipe.modes))(x)
    return {
        "relative_error": numbers(_errors(values[:k], truth[:k])),
        "learned_error": numbers(_errors(found.rayleigh[:k] / recipe.scale, truth[:k])),
        "ritz_error": numbers(_errors(found.ritz[:k] / recipe.scale, truth[:k])),
        "ritz_by_points": {} if ordered else _by_points(recipe, network, truth[:k]),
        "angle": numbers(measures.angle_distance),
        "subspace": measures.subspace_distance,
        "subspace_total": measures.subspace_distance_total,
        "orthogonality": measures.orthogonality,
        "values": numbers(values),
        "norms": numbers((weight[:, None] * outputs**2).sum(0) / recipe.scale),
        "exact": numbers(truth),
    }


def _filled(found: Spectrum) -> Tensor:
    """The Ritz functions, with zero functions for those that the span lacks."""
    return torch.nn.functional.pad(found.mix_f, (0, len(found.rayleigh) - found.rank))


def _errors(values: np.ndarray, exact: np.ndarray) -> np.ndarray:
    return np.nan_to_num(relative_errors(values, exact), nan=1.0)


def _by_points(recipe: Recipe, network: Function, exact: np.ndarray) -> dict[str, float]:
    """Mean error of the Ritz values when ⟨φ_i|T φ_j⟩ and ⟨φ_i|φ_j⟩ come from so many random points
    of the paper's law."""
    law = model.form(replace(recipe, sampling="plain", form="weak"))
    out = {}
    for n in POINTS:
        sample = law.sample(n, torch.Generator().manual_seed(n))
        found = rayleigh_ritz(overlaps(law, network, None, sample), True, 1e-10)[0].numpy()
        values = np.full(len(exact), np.nan)
        values[: len(found)] = found[: len(exact)] / recipe.scale
        out[str(n)] = float(_errors(values, exact).mean())
    return out


def _draw(
    problem: Problem,
    functions: Functions,
    groups: list[slice],
    turns: list[np.ndarray],
    learned: np.ndarray,
    weight: np.ndarray,
    folder: Path,
) -> None:
    images = []
    for group, turn, reach in zip(groups, turns, windows(problem, groups), strict=True):
        images.append(functions(grid(reach))[:, group] @ turn)
    stack = np.concatenate(images, 1).T.reshape(-1, GRID, GRID)
    tensors = {
        "images": torch.from_numpy(stack).float(),
        "gram": torch.from_numpy(gram(learned, weight)),
    }
    write_tensors(folder / PICTURES, tensors, {})


def pictures(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (k, GRID, GRID) of the functions, rotated onto the exact ones inside degenerate
    levels; and the Gram matrix of the functions as learned."""
    tensors, _ = read_tensors(folder / PICTURES)
    return tensors["images"].numpy(), tensors["gram"].numpy()


def truth(problem: Problem, count: int) -> tuple[np.ndarray, list[float]]:
    """Images of the exact functions, and the half-width of the window of each."""
    exact = problem.exact
    assert exact is not None
    assert exact.right is not None
    groups = degenerate_groups(exact.values(count))
    images, reaches = [], []
    for group, reach in zip(groups, windows(problem, groups), strict=True):
        images.append(exact.right(grid(reach), count)[:, group])
        reaches += [reach] * (group.stop - group.start)
    return np.concatenate(images, 1).T.reshape(-1, GRID, GRID), reaches


def grid(reach: float) -> np.ndarray:
    """A square grid of points, first axis x."""
    axis = np.linspace(-reach, reach, GRID)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    return np.stack([x.ravel(), y.ravel()], 1)


def windows(problem: Problem, groups: list[slice]) -> list[float]:
    """For every level the half-width of a square that holds 99.5 % of its mass."""
    exact = problem.exact
    assert exact is not None
    assert exact.right is not None
    points = problem.form.evaluation().x
    x, weight = points.x.numpy(), points.weight.numpy()
    mass = weight[:, None] * exact.right(x, groups[-1].stop) ** 2
    far = np.abs(x).max(1)
    order = np.argsort(far)
    out = []
    for group in groups:
        inside = mass[order, group].mean(1).cumsum()
        out.append(float(np.ceil(far[order][np.searchsorted(inside, INSIDE * inside[-1])])))
    return out
