"""The pictures of ``schmidt finetune``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from schmidt import plotting
from schmidt.experiments.finetune import Results, Run, mean_score
from schmidt.plotting import Curve, Dot, Look

LOOKS = {
    "full": Look(0, 0),
    "lora": Look(1, 0),
    "rslora": Look(1, 1),
    "lora-plus": Look(1, 2),
    "dora": Look(1, 3),
    "lora-ga": Look(2, 0),
    "pro-sgd": Look(3, 2),
    "pro-efficient": Look(3, 3),
    "pro-factored": Look(3, 0),
    "pro-full": Look(3, 1),
    "ga-pro": Look(4, 0),
}
TUNED_DASH = 4
SMOOTHED = 9
"""Steps of the running mean of the losses."""


def draw_finetuning(results: Results, out: Path) -> list[Path]:
    """Curves over steps, results with seeds and intervals, and the sweeps of the long tier."""
    rows = _rows(results)
    if not rows:
        return []
    name, title = results.task.name, results.task.title
    score = results.task.score
    figures = {
        f"{name}-training.png": plotting.fine_tuning_curves(
            {
                f"training loss (mean of {SMOOTHED} steps)": {
                    label: Curve(range(len(runs[0].losses)), _smooth(runs), look)
                    for label, look, runs in rows
                },
                "ε / ‖G‖: gradient out of reach": {
                    label: Curve(list(runs[0].alignment), _aligned(runs), look)
                    for label, look, runs in rows
                    if runs[0].alignment
                },
            },
            f"{title}: training",
        ),
        f"{name}-results.png": plotting.fine_tuning_results(
            {
                "cosine of ΔW to full's": _dots(rows, lambda r: r.cosine),
                "‖ΔW − ΔW_full‖ / ‖ΔW_full‖": _dots(rows, lambda r: r.distance),
                "path Σ‖ΔW_t‖": _dots(rows, lambda r: r.path),
                f"{score}, 95 %": {
                    label: Dot([float(r.scores.mean()) for r in runs], look, _interval(runs))
                    for label, look, runs in rows
                },
            },
            f"{title}: results",
        ),
    }
    for what, by in (("training examples", results.sizes), ("weight decay", results.decays)):
        if by:
            curves = {results.best_title(m): _sweep(runs, LOOKS[m]) for m, runs in by.items()}
            figures[f"{name}-by-{what.replace(' ', '-')}.png"] = plotting.fine_tuning_sweep(
                curves, what, f"{score}, 95 %"
            )
    paths = [out / file for file in figures]
    for path, figure in zip(paths, figures.values(), strict=True):
        plotting.finish(figure, path)
    return paths


def _rows(results: Results) -> list[tuple[str, Look, list[Run]]]:
    found = []
    for title, _, runs in results.rows():
        if any(r.diverged for r in runs):
            continue
        look = LOOKS[runs[0].method.name]
        tuned = title.endswith("tuned")
        found.append((title, Look(look.colour, TUNED_DASH) if tuned else look, runs))
    return found


def _smooth(runs: Sequence[Run]) -> list[float]:
    mean = [sum(v) / len(v) for v in zip(*(r.losses for r in runs), strict=True)]
    found = []
    for i in range(len(mean)):
        near = mean[max(0, i - SMOOTHED // 2) : i + SMOOTHED // 2 + 1]
        found.append(sum(near) / len(near))
    return found


def _aligned(runs: Sequence[Run]) -> list[float]:
    return [sum(v) / len(v) for v in zip(*(r.alignment.values() for r in runs), strict=True)]


def _dots(
    rows: list[tuple[str, Look, list[Run]]], of: Callable[[Run], float | None]
) -> dict[str, Dot]:
    return {
        label: Dot([v for r in runs if (v := of(r)) is not None], look)
        for label, look, runs in rows
    }


def _interval(runs: Sequence[Run]) -> tuple[float, float]:
    found = mean_score([r.scores for r in runs])
    return found.low, found.high


def _sweep(by: dict[Any, list[Run]], look: Look) -> Any:
    points = []
    for runs in by.values():
        s = mean_score([r.scores for r in runs])
        points.append((s.mean, s.low, s.high))
    return list(by), points, look
