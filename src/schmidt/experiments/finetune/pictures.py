"""The pictures of fine-tuning: curves over steps, results with seeds and intervals, sweeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from schmidt.experiments.finetune import TuningResults, TuningRun, mean_score
from schmidt.plotting.style import COLOURS, GREY, INK, finish, new_figure, styled

PALETTE = (INK, *COLOURS, GREY)
DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
FAINT = "#e4e7eb"
WIDE = 20.0
"""Numbers whose ratio is larger are drawn on a logarithmic scale."""


@dataclass(frozen=True)
class LineStyle:
    """How a method is drawn: numbers of a colour (0 is ink) and of a dash pattern."""

    colour: int = 0
    dash: int = 0


@dataclass(frozen=True)
class Curve:
    """Values over steps."""

    steps: Sequence[int]
    values: Sequence[float]
    look: LineStyle


@dataclass(frozen=True)
class Dot:
    """A number per seed, and perhaps the interval of their mean."""

    values: Sequence[float]
    look: LineStyle
    interval: tuple[float, float] | None = None


@styled
def fine_tuning_curves(panels: Mapping[str, Mapping[str, Curve]], title: str) -> Figure:
    """Curves over training steps: one panel per quantity, one curve per method, one legend."""
    figure = new_figure(4.7 * len(panels) + 2.2, 4.0)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (quantity, curves) in zip(axes, panels.items(), strict=True):
        for name, curve in curves.items():
            colour, dash = _style(curve.look)
            axis.plot(curve.steps, curve.values, color=colour, ls=dash, lw=1.5, label=name)
        axis.set(xlabel="step", ylabel=quantity)
        axis.grid(axis="y", color=FAINT)
    entries = {
        label: handle
        for axis in axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        entries.values(), entries.keys(), loc="outside right center", fontsize=8, handlelength=3
    )
    figure.suptitle(title, fontsize=10)
    return figure


@styled
def fine_tuning_results(panels: Mapping[str, Mapping[str, Dot]], title: str) -> Figure:
    """One panel per quantity, one line per method: dots for seeds, a bar for an interval."""
    names = list(dict.fromkeys(name for dots in panels.values() for name in dots))
    figure = new_figure(3.0 * len(panels) + 1.8, 0.27 * len(names) + 1.2)
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axis, (quantity, dots) in zip(axes, panels.items(), strict=True):
        for name, dot in dots.items():
            _dot(axis, names.index(name), dot)
        axis.set_xlabel(quantity)
        every = [v for dot in dots.values() for v in dot.values if np.isfinite(v)]
        if every and min(every) > 0 and max(every) > WIDE * min(every):
            axis.set_xscale("log")
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.grid(axis="x", color=FAINT)
        axis.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(names)), names)
    figure.suptitle(title, fontsize=10)
    return figure


def _dot(axis: Axes, row: int, dot: Dot) -> None:
    colour, _ = _style(dot.look)
    values = np.asarray(dot.values, float)
    values = values[np.isfinite(values)]
    if not len(values):
        axis.annotate("–", (0, row), xycoords=("axes fraction", "data"), color=GREY)
        return
    if dot.interval is not None:
        axis.plot(dot.interval, (row, row), color=colour, lw=2.0, alpha=0.45, solid_capstyle="butt")
    axis.plot(values, [row] * len(values), "o", ms=4.5, color=colour, mfc="white", mew=1.2)
    axis.plot([values.mean()], [row], "o", ms=4.5, color=colour)


@styled
def fine_tuning_sweep(
    curves: Mapping[str, tuple[Sequence[float], Sequence[tuple[float, float, float]], LineStyle]],
    xlabel: str,
    ylabel: str,
) -> Figure:
    """Scores with their intervals against a setting, one curve per method.

    Args:
        curves: by method the settings, (mean, low, high) for each, and the look.
    """
    figure = new_figure(6.0, 3.8)
    axis = figure.subplots()
    every = sorted({x for xs, _, _ in curves.values() for x in xs})
    for i, (name, (xs, points, look)) in enumerate(curves.items()):
        colour, dash = _style(look)
        place = np.array([every.index(x) for x in xs]) + 0.05 * (i - (len(curves) - 1) / 2)
        mean, low, high = np.asarray(points, float).T
        axis.errorbar(
            place,
            mean,
            yerr=np.maximum([mean - low, high - mean], 0),
            color=colour,
            ls=dash,
            marker="o",
            ms=4,
            lw=1.4,
            elinewidth=1,
            label=name,
        )
    axis.set_xticks(range(len(every)), [f"{x:g}" for x in every])
    axis.set(xlabel=xlabel, ylabel=ylabel)
    axis.grid(axis="y", color=FAINT)
    axis.legend(fontsize=9)
    return figure


def _style(look: LineStyle) -> tuple[str, object]:
    return PALETTE[look.colour % len(PALETTE)], DASHES[look.dash % len(DASHES)]


LOOKS = {
    "full": LineStyle(0, 0),
    "lora": LineStyle(1, 0),
    "rslora": LineStyle(1, 1),
    "lora-plus": LineStyle(1, 2),
    "dora": LineStyle(1, 3),
    "lora-ga": LineStyle(2, 0),
    "pro-sgd": LineStyle(3, 2),
    "pro-efficient": LineStyle(3, 3),
    "pro-factored": LineStyle(3, 0),
    "pro-full": LineStyle(3, 1),
    "ga-pro": LineStyle(4, 0),
}
TUNED_DASH = 4
SMOOTHED = 9
"""Steps of the running mean of the losses."""


def draw_finetuning(results: TuningResults, out: Path) -> list[Path]:
    """Curves over steps, results with seeds and intervals, and the sweeps of the long tier."""
    rows = _rows(results)
    if not rows:
        return []
    name, title = results.task.name, results.task.title
    score = results.task.score
    figures = {
        f"{name}-training.png": fine_tuning_curves(
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
        f"{name}-results.png": fine_tuning_results(
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
            figures[f"{name}-by-{what.replace(' ', '-')}.png"] = fine_tuning_sweep(
                curves, what, f"{score}, 95 %"
            )
    paths = [out / file for file in figures]
    for path, figure in zip(paths, figures.values(), strict=True):
        finish(figure, path)
    return paths


def _rows(results: TuningResults) -> list[tuple[str, LineStyle, list[TuningRun]]]:
    found = []
    for title, _, runs in results.rows():
        if any(r.diverged for r in runs):
            continue
        look = LOOKS[runs[0].method.name]
        tuned = title.endswith("tuned")
        found.append((title, LineStyle(look.colour, TUNED_DASH) if tuned else look, runs))
    return found


def _smooth(runs: Sequence[TuningRun]) -> list[float]:
    mean = [sum(v) / len(v) for v in zip(*(r.losses for r in runs), strict=True)]
    found = []
    for i in range(len(mean)):
        near = mean[max(0, i - SMOOTHED // 2) : i + SMOOTHED // 2 + 1]
        found.append(sum(near) / len(near))
    return found


def _aligned(runs: Sequence[TuningRun]) -> list[float]:
    return [sum(v) / len(v) for v in zip(*(r.alignment.values() for r in runs), strict=True)]


def _dots(
    rows: list[tuple[str, LineStyle, list[TuningRun]]], of: Callable[[TuningRun], float | None]
) -> dict[str, Dot]:
    return {
        label: Dot([v for r in runs if (v := of(r)) is not None], look)
        for label, look, runs in rows
    }


def _interval(runs: Sequence[TuningRun]) -> tuple[float, float]:
    found = mean_score([r.scores for r in runs])
    return found.low, found.high


def _sweep(by: dict[Any, list[TuningRun]], look: LineStyle) -> Any:
    points = []
    for runs in by.values():
        s = mean_score([r.scores for r in runs])
        points.append((s.mean, s.low, s.high))
    return list(by), points, look
