"""Functions as images and as curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from schmidt.plotting.style import COLOURS, GREY, new_figure, styled


def image(axis: Axes, values: np.ndarray, extent: Sequence[float]) -> None:
    """One function of two coordinates, on a scale of its own that is symmetric about zero."""
    limit = float(np.nanmax(np.abs(values))) or 1.0
    axis.imshow(
        values.T,
        origin="lower",
        extent=(extent[0], extent[1], extent[0], extent[1]),
        cmap="RdBu_r",
        vmin=-limit,
        vmax=limit,
        interpolation="bilinear",
    )
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(visible=True, color="#cbd2d9")


@styled
def function_images(
    found: Sequence[np.ndarray],
    exact: Sequence[np.ndarray] | None,
    extents: Sequence[tuple[float, float]],
    labels: Sequence[str],
    per_row: int = 8,
) -> Figure:
    """Functions of two coordinates as images, each found one above the exact one.

    Args:
        found, exact: k arrays (n, n) of values on square grids, first axis x.
        extents: k pairs (low, high), the windows of the grids.
        labels: k titles.
    """
    k = len(found)
    columns = min(per_row, k)
    bands = -(-k // columns)
    rows = 1 if exact is None else 2
    figure = new_figure(1.25 * columns + 0.5, (1.28 * rows + 0.25) * bands)
    axes = figure.subplots(bands * rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for mode in range(k):
        band, column = divmod(mode, columns)
        top = axes[band * rows, column]
        top.set_axis_on()
        image(top, found[mode], extents[mode])
        top.set_title(labels[mode], fontsize=8)
        if exact is not None:
            below = axes[band * rows + 1, column]
            below.set_axis_on()
            image(below, exact[mode], extents[mode])
        if column == 0:
            top.set_ylabel("found", fontsize=8)
            if exact is not None:
                axes[band * rows + 1, 0].set_ylabel("exact", fontsize=8)
    return figure


@styled
def function_curves(
    x: np.ndarray, found: np.ndarray, exact: np.ndarray | None, labels: Sequence[str]
) -> Figure:
    """Functions of one coordinate (or of an index) as curves: found ones on top of exact ones.

    Args:
        x: (N,); found, exact: (N, k).
    """
    k = found.shape[1]
    columns = min(3, k)
    rows = -(-k // columns)
    figure = new_figure(3.2 * columns, 1.9 * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for mode, axis in enumerate(axes.flat):
        if mode >= k:
            axis.set_axis_off()
            continue
        if exact is not None:
            axis.plot(x, exact[:, mode], color=GREY, lw=4, label="exact")
        axis.plot(x, found[:, mode], color=COLOURS[0], lw=1.4, label="found")
        axis.axhline(0, color="#e4e7eb", lw=0.8, zorder=0)
        axis.set_title(labels[mode], fontsize=9)
        axis.set_yticks([])
    axes.flat[0].legend(fontsize=8)
    return figure


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
