"""Functions as images and as curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from schmidt.plotting.style import COLOURS, FAINT, GREY, INK, new_figure, styled

ALIKE = 4.0
"""Functions whose largest values differ by no more than this factor share one scale of colours."""
LINE = 0.028
"""Height of a label, as a share of its axis."""


def image(
    axis: Axes, values: np.ndarray, extent: Sequence[float], limit: float | None = None
) -> Any:
    """One function of two coordinates; its scale ends at ±limit, by default its largest size."""
    if limit is None:
        limit = float(np.nanmax(np.abs(values))) or 1.0
    drawn = axis.imshow(
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
    return drawn


def _lengths(axis: Axes, extent: Sequence[float], *, x: bool, y: bool) -> None:
    """Ticks at round lengths, so that the size of the window can be read off."""
    ticks = [t for t in MaxNLocator(2).tick_values(*extent) if extent[0] <= t <= extent[1]]
    shown = [f"{t:g}" for t in ticks]
    axis.set_xticks(ticks, shown if x else [""] * len(ticks), fontsize=6)
    axis.set_yticks(ticks, shown if y else [""] * len(ticks), fontsize=6)
    axis.tick_params(length=2, pad=1)


def _limits(images: Sequence[np.ndarray]) -> tuple[float | None, str]:
    """One scale for functions of about one size; else a scale each, and what its ends mean."""
    tops = [float(np.nanmax(np.abs(v))) for v in images]
    if min(tops, default=0) > 0 and max(tops) <= ALIKE * min(tops):
        return max(tops), "f"
    return None, "f / max|f|, each"


@styled
def function_images(
    found: Sequence[np.ndarray],
    exact: Sequence[np.ndarray] | None,
    extents: Sequence[tuple[float, float]],
    labels: Sequence[str],
    per_row: int = 8,
) -> Figure:
    """Functions of two coordinates as images, each found one above the exact one, with lengths on
    the axes. One scale of colours where sizes are alike, else one for each function.

    Args:
        found, exact: k arrays (n, n) of values on square grids, first axis x.
        extents: k pairs (low, high), the windows of the grids.
        labels: k titles.
    """
    k = len(found)
    columns = min(per_row, k)
    bands = -(-k // columns)
    rows = 1 if exact is None else 2
    figure = new_figure(1.3 * columns + 1.2, (1.4 * rows + 0.25) * bands + 0.2)
    axes = figure.subplots(bands * rows, columns, squeeze=False)
    same = len(set(extents)) == 1
    limit, meaning = _limits(found)
    drawn = None
    for axis in axes.flat:
        axis.set_axis_off()
    for mode in range(k):
        band, column = divmod(mode, columns)
        lines = [found[mode], *([] if exact is None else [exact[mode]])]
        for row, values in enumerate(lines):
            axis = axes[band * rows + row, column]
            axis.set_axis_on()
            drawn = image(axis, values, extents[mode], limit)
            below = row == rows - 1
            _lengths(axis, extents[mode], x=below, y=below and (not same or column == 0))
        axes[band * rows, column].set_title(labels[mode], fontsize=8)
        if column == 0:
            axes[band * rows, 0].set_ylabel("found", fontsize=8)
            if exact is not None:
                axes[band * rows + 1, 0].set_ylabel("exact", fontsize=8)
    _colour_bar(figure, axes, drawn, limit, meaning)
    return figure


def _colour_bar(figure: Figure, axes: Any, drawn: Any, limit: float | None, meaning: str) -> None:
    if drawn is None:
        return
    bar = figure.colorbar(drawn, ax=axes, shrink=0.8, aspect=30, pad=0.015)
    if limit is None:
        top = drawn.get_clim()[1]
        bar.set_ticks([-top, 0, top], labels=["−1", "0", "1"])
    bar.ax.tick_params(labelsize=7)
    bar.set_label(meaning, fontsize=8)


@styled
def function_curves(
    x: np.ndarray,
    found: np.ndarray,
    exact: np.ndarray | None,
    labels: Sequence[str],
    xlabel: str = "x",
) -> Figure:
    """Functions of one coordinate (or of an index) as curves: found ones on top of exact ones.

    Args:
        x: (N,); found, exact: (N, k).
        labels: k titles.
        xlabel: below the lowest row.
    """
    k = found.shape[1]
    columns = min(3, k)
    rows = -(-k // columns)
    figure = new_figure(3.2 * columns + 0.3, 1.9 * rows + 0.3)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for mode, axis in enumerate(axes.flat):
        if mode >= k:
            axis.set_axis_off()
            continue
        if exact is not None:
            axis.plot(x, exact[:, mode], color=GREY, lw=4, label="exact")
        axis.plot(x, found[:, mode], color=COLOURS[0], lw=1.4, label="found")
        axis.axhline(0, color=FAINT, lw=0.8, zorder=0)
        axis.set_title(labels[mode], fontsize=9)
        axis.margins(x=0)
        axis.tick_params(labelsize=7)
        axis.set_xlim(x[0], x[-1])
        if mode + columns >= k:
            axis.set_xlabel(xlabel, fontsize=8)
            axis.tick_params(labelbottom=True)
    axes.flat[0].legend(fontsize=8)
    return figure


@styled
def level_diagram(
    x: np.ndarray,
    potential: np.ndarray,
    energies: np.ndarray,
    functions: np.ndarray,
    radius: np.ndarray | None = None,
    title: str = "",
) -> Figure:
    """The potential with every level and its function standing on it.

    Args:
        x: (N,); potential: (N,), may be infinite.
        energies: (k,); functions: (N, k), of one scale.
        radius: (k,) certified errors of the energies, shaded; NaN where there is none.
        title: above the picture.
    """
    figure = new_figure(6.4, 4.4)
    axis = figure.subplots()
    levels = np.unique(np.round(energies, 9))
    apart = float(np.diff(levels).min()) if len(levels) > 1 else max(abs(levels[0]), 1.0) / 2
    typical = (levels[-1] - levels[0]) / max(len(levels) - 1, 1) or apart
    height = 0.8 * max(apart, 0.5 * typical)
    finite = potential[np.isfinite(potential)]
    low = min(float(finite.min(initial=energies.min())), float(energies.min()))
    top = float(energies.max()) + 1.5 * height
    bottom = max(low, float(energies.min()) - 3 * (top - float(energies.min())))
    axis.plot(x, potential, color=INK, lw=1.6, label="V")
    size = float(np.nanmax(np.abs(functions))) or 1.0
    for i, energy in enumerate(energies):
        colour = COLOURS[i % len(COLOURS)]
        axis.axhline(energy, color=colour, lw=0.7, alpha=0.6)
        if radius is not None and np.isfinite(radius[i]):
            axis.axhspan(energy - radius[i], energy + radius[i], color=colour, alpha=0.18, lw=0)
        axis.plot(x, energy + height * functions[:, i] / (2 * size), color=colour, lw=1.3)
    axis.set(xlabel="x", ylabel="energy", title=title)
    bottom -= 0.08 * (top - bottom)
    axis.set_ylim(bottom, top)
    for group in _apart(energies, LINE * (top - bottom)):
        first, last = f"{energies[group[0]]:.5g}", f"{energies[group[-1]]:.5g}"
        alike = f"{first} ×{len(group)}" if len(group) > 1 else first
        axis.annotate(
            " " + (alike if first == last else f"{first} … {last}"),
            (1, float(np.mean(energies[group]))),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=7,
            color=COLOURS[group[0] % len(COLOURS)] if len(group) == 1 else INK,
        )
    axis.margins(x=0)
    return figure


def _apart(energies: np.ndarray, distance: float) -> list[list[int]]:
    """Indices in ascending order, together where labels would cover each other."""
    groups: list[list[int]] = []
    for i in np.argsort(energies, kind="stable").tolist():
        near = groups and energies[i] - energies[groups[-1][-1]] < distance
        groups[-1].append(i) if near else groups.append([i])
    return groups


@styled
def side_by_side(
    rows: Mapping[str, Sequence[np.ndarray]],
    extents: Sequence[tuple[float, float]],
    labels: Sequence[str],
    overlaps: Mapping[str, np.ndarray] | None = None,
) -> Figure:
    """Functions of two coordinates: one row per answer, one column per mode, lengths below.

    Args:
        rows: name → up to k arrays (n, n) on square grids, first axis x.
        extents: k pairs (low, high), the windows of the grids.
        labels: k titles.
        overlaps: name → Gram matrix of its normalised functions, drawn at the end of its row.
    """
    k, extra = len(labels), int(bool(overlaps))
    figure = new_figure(0.98 * (k + extra) + 1.2, 1.05 * len(rows) + 0.5)
    axes = figure.subplots(len(rows), k + extra, squeeze=False)
    limit, meaning = _limits([v for images in rows.values() for v in images])
    drawn = None
    for (name, images), line in zip(rows.items(), axes, strict=True):
        for axis, values, extent in zip(line, images, extents, strict=False):
            drawn = image(axis, values, extent, limit)
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
    last = list(rows.values())[-1]
    for axis, extent, _ in zip(axes[-1], extents, last, strict=False):
        _lengths(axis, extent, x=True, y=False)
    for axis, label in zip(axes[0], labels, strict=False):
        axis.set_title(label, fontsize=7.5)
    if overlaps:
        axes[0, k].set_title("overlaps", fontsize=7.5)
    _colour_bar(figure, axes, drawn, limit, meaning)
    return figure
