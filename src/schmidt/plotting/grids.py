"""Solvers on growing grids beside trained functions: error per value, error and time per grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from schmidt.plotting.comparison import palette
from schmidt.plotting.style import MARKERS, new_figure, styled

DASHES = ("--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


@styled
def grid_solvers(
    errors: Mapping[int, np.ndarray],
    solvers: Mapping[str, Mapping[int, tuple[float, float]]],
    others: Mapping[str, tuple[float, float]],
) -> Figure:
    """Three panels, as Fig. 6 of Ryu et al. 2024.

    Args:
        errors: nodes per axis → relative error per mode, of one solver.
        solvers: name → nodes per axis → (mean relative error, seconds).
        others: name → (mean relative error, seconds) of what needs no grid: horizontal lines.
    """
    figure = new_figure(12.4, 3.5)
    left, middle, right = figure.subplots(1, 3)
    shades = np.linspace(0.25, 0.95, len(errors))
    for (nodes, error), shade in zip(errors.items(), shades, strict=True):
        mode = np.arange(1, len(error) + 1)
        colour = (0.04, 0.43, 0.6, shade)
        left.plot(mode, error, "-o", ms=3, lw=1, color=colour, label=f"N = {nodes}")
    left.set(xlabel="mode", ylabel="relative error", yscale="log", title=next(iter(solvers), ""))
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.legend(fontsize=7.5, ncols=2)
    colours = palette([*solvers, *others])
    for (name, points), marker in zip(solvers.items(), MARKERS, strict=False):
        sizes = list(points)
        for axis, which in ((middle, 0), (right, 1)):
            values = [points[n][which] for n in sizes]
            axis.plot(sizes, values, "-", marker=marker, ms=4, color=colours[name], label=name)
    for (name, numbers), dash in zip(others.items(), DASHES, strict=False):
        for axis, which in ((middle, 0), (right, 1)):
            axis.axhline(numbers[which], ls=dash, color=colours[name], lw=1.3, label=name)
    nodes_of = _ticks(solvers)
    for axis, label, title in (
        (middle, "mean relative error", "error"),
        (right, "seconds", "time"),
    ):
        axis.set(xlabel="nodes per axis", ylabel=label, title=title, xscale="log", yscale="log")
        axis.set_xticks(nodes_of, [str(n) for n in nodes_of])
        axis.minorticks_off()
        axis.grid(axis="y", color="#e4e7eb")
    handles, labels = right.get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=7.5, loc="outside lower center", ncols=len(labels))
    return figure


def _ticks(solvers: Mapping[str, Mapping[int, tuple[float, float]]]) -> Sequence[int]:
    return sorted({n for points in solvers.values() for n in points})
