"""Singular values of matrices, and pictures made of few of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from schmidt.plotting.style import COLOURS, GREY, INK, new_figure, styled

CHANNELS = {"grey": INK, "red": "#c0392b", "green": "#448361", "blue": "#0b6e99"}


@styled
def decay(
    values: Mapping[str, np.ndarray],
    marks: Sequence[int] = (),
    tail: tuple[float, float] | None = None,
    title: str = "singular values",
) -> Figure:
    """Singular values on a logarithmic scale, one curve per name.

    Args:
        values: name → (k,) descending; zeros are left out.
        marks: ranks to mark with vertical lines.
        tail: lower and upper bounds of the largest value that is not shown, drawn behind the last.
        title: of the picture.
    """
    figure = new_figure(6.4, 3.8)
    axis = figure.subplots()
    longest = max(len(v) for v in values.values())
    for (name, v), fallback in zip(values.items(), [*COLOURS] * len(values), strict=False):
        i = np.arange(1, len(v) + 1)
        shown = v > 1e-15 * max(v[0], 1e-300)
        style = "-" if len(v) > 60 else "o-"
        colour = CHANNELS.get(name, fallback)
        axis.plot(i[shown], v[shown], style, ms=3.5, lw=1.3, color=colour, label=name)
    if tail is not None and tail[1] > 0:
        low = tail[0] if tail[0] > 0 else tail[1] / 10
        ends, label = [low, tail[1]], "‖A − A$_k$‖$_2$ lies here"
        axis.plot([longest + 1] * 2, ends, "_-", ms=9, mew=2, lw=3, color=COLOURS[1], label=label)
    top = axis.get_xaxis_transform()
    for k in marks:
        axis.axvline(k, color=GREY, lw=0.9, ls="--", zorder=0)
        axis.text(k, 1.01, str(k), transform=top, ha="center", va="bottom", fontsize=8)
    scale = "log" if any(np.max(v, initial=0) > 0 for v in values.values()) else "linear"
    axis.set(xlabel="index", ylabel="singular value", yscale=scale)
    axis.set_title(title, pad=16 if marks else 6)
    axis.grid(axis="y", color="#e4e7eb")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if longest == 1:
        axis.set_xlim(0.4, 2.6 if tail is not None else 1.6)
    if len(values) > 1 or tail is not None:
        axis.legend()
    return figure


@styled
def contact_sheet(
    original: np.ndarray, versions: Sequence[np.ndarray], captions: Sequence[str]
) -> Figure:
    """Versions of a picture side by side, the original first.

    Args:
        original, versions: (m, n) or (m, n, 3), uint8.
        captions: of every version.
    """
    count = len(versions) + 1
    columns = min(count, 2 if count in (2, 4) else 3)
    rows = math.ceil(count / columns)
    height, width = original.shape[:2]
    side = 4.2
    figure = new_figure(side * columns, rows * (side * height / width + 0.45))
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    for axis in axes:
        axis.axis("off")
    titles = [f"original, {width} × {height}", *captions]
    for axis, image, title in zip(axes, [original, *versions], titles, strict=False):
        axis.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
        axis.set_title(title)
    return figure
