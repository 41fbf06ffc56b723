"""The pictures that ``schmidt complete`` writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from schmidt import plotting
from schmidt.cli.ratings import Ratings

if TYPE_CHECKING:
    from schmidt.completion import MatrixCompletion

LARGEST = 1000
LABELS = {"biases": "chosen: biases only", "soft-impute": "chosen", "fixed-rank": "chosen"}


def draw_completion(model: MatrixCompletion, data: Ratings, out: Path) -> list[Path]:
    """The λ path, and the matrix before and after where it is small enough to be seen."""
    figures: dict[str, plotting.Figure] = {}
    choice = model.choice_
    if choice is not None:
        figures["path.png"] = _path(choice)
    if max(len(model.row_ids_), len(model.column_ids_)) <= LARGEST:
        figures["matrix.png"] = _matrix(model, data)
    for file, figure in figures.items():
        plotting.finish(figure, out / file)
    return [out / file for file in figures]


def _path(choice: object) -> plotting.Figure:
    from schmidt.completion import Choice

    assert isinstance(choice, Choice)
    path, trial = choice.path, choice.trial
    if path.penalty is None:
        penalty = path.steps[0].penalty
    else:
        penalty = path.penalty if trial is None else trial.penalty
    rank = f", rank {path.rank}" if path.rank else ""
    return plotting.penalty_path(
        [step.penalty for step in path.steps],
        [step.error for step in path.steps],
        [float(step.errors.min()) for step in path.steps],
        [step.rank for step in path.steps],
        path.bias_error,
        (LABELS[choice.method] + rank, penalty, choice.error),
        () if trial is None else trial.tried,
    )


def _matrix(model: MatrixCompletion, data: Ratings) -> plotting.Figure:
    """Rows and columns in the order of their mean prediction, which shows what they share."""
    full = model.reconstruct()
    rows, columns = np.argsort(-full.mean(1)), np.argsort(-full.mean(0))

    def filled(*triples: tuple[list[str], list[str], np.ndarray]) -> np.ndarray:
        matrix = np.full(full.shape, np.nan)
        for users, items, values in triples:
            r, c = model.row_ids_.find(users), model.column_ids_.find(items)
            known = (r >= 0) & (c >= 0)
            matrix[r[known], c[known]] = values[known]
        return matrix[np.ix_(rows, columns)]

    shown = (data.users, data.items, data.values)
    panels = {"observed": filled(shown), "completed": full[np.ix_(rows, columns)]}
    if data.hidden is not None:
        panels["truth"] = filled(shown, data.hidden)
    return plotting.completed(panels, (float(data.values.min()), float(data.values.max())))
