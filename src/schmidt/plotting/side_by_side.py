"""Several answers to one problem: their functions in rows, their errors in one panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from schmidt.plotting.functions import image
from schmidt.plotting.style import COLOURS, MARKERS, new_figure, styled


@styled
def side_by_side(
    rows: Mapping[str, Sequence[np.ndarray]],
    extents: Sequence[tuple[float, float]],
    labels: Sequence[str],
    overlaps: Mapping[str, np.ndarray] | None = None,
) -> Figure:
    """Functions of two coordinates: one row per answer, one column per mode.

    Args:
        rows: name → up to k arrays (n, n) on square grids, first axis x.
        extents: k pairs (low, high), the windows of the grids.
        labels: k titles.
        overlaps: name → Gram matrix of its normalised functions, drawn at the end of its row.
    """
    k, extra = len(labels), int(bool(overlaps))
    figure = new_figure(0.95 * (k + extra) + 0.6, 1.0 * len(rows) + 0.35)
    axes = figure.subplots(len(rows), k + extra, squeeze=False)
    for (name, images), line in zip(rows.items(), axes, strict=True):
        for axis, values, extent in zip(line, images, extents, strict=False):
            image(axis, values, extent)
        for axis in line[len(images) :]:
            axis.set_axis_off()
        line[0].set_ylabel(name, fontsize=8)
        if overlaps and name in overlaps:
            line[k].set_axis_on()
            size = np.abs(overlaps[name])
            line[k].imshow(size, cmap="Greys", vmin=0, vmax=1, interpolation="nearest")
            line[k].set(xticks=[], yticks=[])
            for spine in line[k].spines.values():
                spine.set(visible=True, color="#cbd2d9")
    for axis, label in zip(axes[0], labels, strict=False):
        axis.set_title(label, fontsize=7.5)
    if overlaps:
        axes[0, k].set_title("overlaps", fontsize=7.5)
    return figure


@styled
def errors(found: Mapping[str, np.ndarray], title: str = "relative error of the values") -> Figure:
    """Relative errors per mode of several answers, on a logarithmic scale."""
    figure = new_figure(7.2, 3.8)
    axis = figure.subplots()
    for i, (name, error) in enumerate(found.items()):
        modes = np.arange(1, len(error) + 1)
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        axis.plot(
            modes, np.maximum(error, 1e-16), marker, ms=5, color=colour, mfc="none", label=name
        )
    axis.set(xlabel="mode", ylabel="|value − exact| / |exact|", yscale="log", title=title)
    axis.grid(axis="y", color="#e4e7eb")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend()
    return figure
