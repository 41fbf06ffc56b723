"""How an answer was found: training and search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from schmidt.plotting.style import COLOURS, GREY, log_axis, new_figure, styled


@styled
def training_curve(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Objective, and error of the Ritz values where it was monitored, against training time."""
    steps = [h for h in history if "objective" in h]
    errors = [h for h in history if "mean_relative_error" in h]
    figure = new_figure(10.0 if errors else 5.4, 3.4)
    axes = figure.subplots(1, 2 if errors else 1, squeeze=False)[0]
    axes[0].plot(
        [h["seconds"] for h in steps], [h["objective"] for h in steps], color=COLOURS[0], lw=1
    )
    axes[0].set(xlabel="seconds", ylabel="objective", title="the method's objective")
    shifts = [h.get("shift", 0.0) for h in steps]
    if any(shifts):
        other = axes[0].twinx()
        other.plot([h["seconds"] for h in steps], shifts, color=GREY, lw=1, ls="--")
        other.set_ylabel("shift c added to T", color=GREY)
        other.spines["right"].set_visible(True)
        other.tick_params(colors=GREY)
        axes[0].set_title("the method's objective; it rises while the shift falls")
    settled = [h["objective"] for h in steps[len(steps) // 10 :]]
    if settled and max(settled) > min(settled):
        margin = 0.08 * (max(settled) - min(settled))
        axes[0].set_ylim(min(settled) - margin, max(settled) + margin)
    if errors:
        axes[1].plot(
            [h["seconds"] for h in errors],
            [h["mean_relative_error"] for h in errors],
            "o-",
            ms=3.5,
            color=COLOURS[1],
            lw=1.2,
        )
        axes[1].set(
            xlabel="seconds",
            ylabel="mean relative error",
            title="error of the Ritz values on held-out points",
        )
        log_axis(axes[1])
    return figure


@styled
def search(trials: Sequence[Mapping[str, Any]]) -> Figure:
    """Residuals of all trials of a search against time, and the best so far."""
    figure = new_figure(6.2, 3.6)
    axis = figure.subplots()
    ends = np.cumsum([t["seconds"] for t in trials])
    residual = np.array([t["residual"] for t in trials])
    best = np.minimum.accumulate(residual)
    axis.plot(ends, residual, "o", ms=4, color=GREY, label="trials")
    axis.step(ends, best, where="post", color=COLOURS[0], lw=1.4, label="best so far")
    sizes = [t["features"] for t in trials]
    last = -1
    for end, value, size in zip(ends, residual, sizes, strict=True):
        if size > 1.2 * last:
            axis.annotate(f"{size}", (end, value), (0, 6), textcoords="offset points", fontsize=7)
            last = size
    axis.set(
        xlabel="seconds",
        ylabel="relative residual, held out",
        title="search (numbers: features)",
    )
    log_axis(axis)
    axis.legend()
    return figure
