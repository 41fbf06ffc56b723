"""Fine-tuning methods side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from schmidt.plotting.style import COLOURS, GREY, INK, new_figure, styled

PALETTE = (INK, *COLOURS, GREY)
DASHES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
FAINT = "#e4e7eb"
WIDE = 20.0
"""Numbers whose ratio is larger are drawn on a logarithmic scale."""


@dataclass(frozen=True)
class Look:
    """How a method is drawn: numbers of a colour (0 is ink) and of a dash pattern."""

    colour: int = 0
    dash: int = 0


@dataclass(frozen=True)
class Curve:
    """Values over steps."""

    steps: Sequence[int]
    values: Sequence[float]
    look: Look


@dataclass(frozen=True)
class Dot:
    """A number per seed, and perhaps the interval of their mean."""

    values: Sequence[float]
    look: Look
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
    curves: Mapping[str, tuple[Sequence[float], Sequence[tuple[float, float, float]], Look]],
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


def _style(look: Look) -> tuple[str, object]:
    return PALETTE[look.colour % len(PALETTE)], DASHES[look.dash % len(DASHES)]
