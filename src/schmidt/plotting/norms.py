"""What a shift leaves positive: norms of learned functions, and errors against the shift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from schmidt.plotting.comparison import palette
from schmidt.plotting.style import COLOURS, GREY, INK, new_figure, styled


@styled
def norms(
    found: Mapping[str, tuple[np.ndarray, np.ndarray]], exact: np.ndarray, positive: int
) -> Figure:
    """Per method the squared norms and the Rayleigh quotients of all functions, in learned order.

    Args:
        found: name → (norms, quotients), each (L,).
        exact: (L,) exact values, the first ``positive`` of them positive.
    """
    figure = new_figure(5.0 * len(found), 3.6)
    axes = figure.subplots(1, len(found), squeeze=False, sharey=True)[0]
    mode = np.arange(1, len(exact) + 1)
    low = min(0.0, float(exact.min())) * 1.15 - 0.5
    high = float(exact.max()) * 1.2
    for axis, (name, (norm, quotient)) in zip(axes, found.items(), strict=True):
        axis.hlines(exact, mode - 0.45, mode + 0.45, color=GREY, lw=3.5, label="exact value")
        outside = []
        for values, marker, colour, label in (
            (norm, "o", COLOURS[0], "squared norm"),
            (quotient, "x", COLOURS[1], "Rayleigh quotient"),
        ):
            inside = (values >= low) & (values <= high)
            axis.plot(mode[inside], values[inside], marker, ms=4.3, color=colour, label=label)
            outside.append(int((~inside).sum()))
        axis.axvline(positive + 0.5, color=INK, lw=0.9)
        axis.axhline(0, color="#cbd2d9", lw=0.9, zorder=0)
        note = "\n{} norms and {} quotients outside".format(*outside) if any(outside) else ""
        axis.set(xlabel="mode", title=f"{name}{note}", ylim=(low, high))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].set_ylabel("value")
    axes[0].legend(fontsize=8)
    return figure


@styled
def sweep(panels: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """One panel per measure: a dot per seed for every setting, joined means.

    Args:
        panels: title → setting → one number per seed.
    """
    figure = new_figure(4.3 * len(panels), 3.4)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, rows) in zip(axes, panels.items(), strict=True):
        colours = palette(list(rows))
        for i, (setting, values) in enumerate(rows.items()):
            seeds = np.array([v for v in values if np.isfinite(v) and v > 0])
            if len(seeds):
                axis.plot([i] * len(seeds), seeds, "o", ms=4, color=colours[setting], alpha=0.6)
                axis.plot(i, seeds.mean(), "_", ms=22, mew=2, color=colours[setting])
        axis.set_xticks(range(len(rows)), list(rows), rotation=20, ha="right", fontsize=8)
        axis.set(yscale="log", title=title, xlim=(-0.6, len(rows) - 0.4))
        axis.grid(axis="y", color="#e4e7eb")
    return figure
