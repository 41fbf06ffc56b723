"""The pictures of reproductions: methods over seeds, grids beside networks, norms and shifts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from schmidt.plotting.style import COLOURS, GREY, INK, MARKERS, new_figure, styled

PALETTE = (*COLOURS, "#b83280", "#8a6d3b", "#c53030", "#2f855a", "#4a5568")
LOW, HIGH = 0.2, 0.8
NOTHING = 1e-14
"""Below this a number is rounding."""


def palette(labels: Sequence[str]) -> dict[str, str]:
    """One colour per label, the same in every picture that has the same labels."""
    return {label: PALETTE[i % len(PALETTE)] for i, label in enumerate(labels)}


@styled
def bars(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    published: Mapping[str, Mapping[str, float]] | None = None,
    note: str = "",
) -> Figure:
    """One panel per measure on a logarithmic scale: bars are means over seeds, dots the seeds,
    whiskers their 20 % and 80 % quantiles, diamonds what was published.

    Args:
        panels: title → label → one number per seed.
        published: title → label → number.
        note: a line above everything.
    """
    figure = new_figure(2.75 * len(panels) + 0.3, 3.6)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, rows) in zip(axes, panels.items(), strict=True):
        _bars(axis, rows, (published or {}).get(title, {}))
        axis.set_title(title)
    if any((published or {}).values()):
        handles, labels = _legend(axes)
        axes[0].legend(handles, labels, fontsize=7.5, loc="best")
    if note:
        figure.suptitle(note, fontsize=9, color=INK)
    return figure


def _legend(axes: Sequence[Axes]) -> tuple[list[Artist], list[str]]:
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        if handles:
            return handles[:1], labels[:1]
    return [], []


def _bars(axis: Axes, rows: Mapping[str, Sequence[float]], published: Mapping[str, float]) -> None:
    colours, lowest = palette(list(rows)), np.inf
    for i, (label, values) in enumerate(rows.items()):
        seeds = np.array([v for v in values if np.isfinite(v)])
        if len(seeds) and seeds.max() < NOTHING:
            where = axis.get_xaxis_transform()
            axis.text(i, 0.02, "0", transform=where, ha="center", color=colours[label])
        elif len(seeds):
            mean, (low, high) = seeds.mean(), np.quantile(seeds, (LOW, HIGH))
            axis.bar(i, mean, 0.72, color=colours[label], alpha=0.55)
            if len(seeds) > 1:
                axis.vlines(i, low, high, color=INK, lw=1.6)
                axis.plot(
                    [i] * len(seeds), seeds, "o", ms=3, color=colours[label], mec=INK, mew=0.4
                )
            lowest = min(lowest, float(seeds.min()))
        if label in published:
            axis.plot(i, published[label], "D", ms=5.5, mfc="white", mec=INK, label="published")
            lowest = min(lowest, published[label])
    axis.set_yscale("log")
    if np.isfinite(lowest):
        axis.set_ylim(bottom=lowest / 3)
    axis.set_xticks(range(len(rows)), list(rows), rotation=35, ha="right", fontsize=8)
    axis.set_xlim(-0.6, len(rows) - 0.4)
    axis.grid(axis="y", color="#e4e7eb", zorder=0)
    axis.set_axisbelow(True)


@styled
def bands(
    panels: Mapping[str, Mapping[str, np.ndarray]],
    references: Mapping[str, np.ndarray] | None = None,
    cuts: Sequence[int] = (),
    linear: Sequence[str] = (),
) -> Figure:
    """One panel per measure against the mode: means over seeds as lines, 20 % to 80 % shaded.

    Args:
        panels: title → label → (seeds, modes).
        references: title → (modes,), drawn in grey behind.
        cuts: modes after which a level ends: thin vertical lines.
        linear: titles of panels that are not logarithmic.
    """
    figure = new_figure(4.1 * len(panels), 3.4)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, rows) in zip(axes, panels.items(), strict=True):
        for cut in cuts:
            axis.axvline(cut + 0.5, color="#e4e7eb", lw=0.9, zorder=0)
        reference = (references or {}).get(title)
        if reference is not None:
            known = np.arange(1, len(reference) + 1)
            axis.hlines(reference, known - 0.4, known + 0.4, color=GREY, lw=4, label="exact")
        for label, colour in palette(list(rows)).items():
            columns = [c[np.isfinite(c)] for c in np.atleast_2d(rows[label]).T]
            mode = [i for i, c in enumerate(columns, 1) if len(c)]
            found = [c for c in columns if len(c)]
            means = [c.mean() for c in found]
            axis.plot(mode, means, "-o", ms=2.8, lw=1.1, color=colour, label=label)
            if max((len(c) for c in found), default=0) > 1:
                low, high = np.array([np.quantile(c, (LOW, HIGH)) for c in found]).T
                axis.fill_between(mode, low, high, color=colour, alpha=0.22, lw=0)
        axis.set(xlabel="mode", title=title)
        if title not in linear:
            axis.set_yscale("log")
            axis.grid(axis="y", color="#e4e7eb")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0].legend(fontsize=7.5)
    return figure


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
