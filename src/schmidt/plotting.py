"""Every picture of the library. Takes arrays, returns matplotlib figures; nothing else draws."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from schmidt.storage import write_bytes

INK, GREY = "#1f2933", "#9aa5b1"
COLOURS = ("#0b6e99", "#d9730d", "#6940a5", "#448361")
MARKERS = ("o", "s", "^", "D")
STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.dpi": 110,
}


def finish(figure: Figure, path: str | Path | None) -> Figure:
    """Write the figure to ``path`` (atomically; the suffix chooses the format) and return it."""
    if path is not None:
        target, buffer = Path(path), io.BytesIO()
        figure.savefig(
            buffer, format=target.suffix.lstrip(".") or "png", bbox_inches="tight", dpi=150
        )
        write_bytes(target, buffer.getvalue())
    return figure


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def _styled(draw: Any) -> Any:
    def wrapper(*args: Any, **kwargs: Any) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    wrapper.__doc__, wrapper.__name__ = draw.__doc__, draw.__name__
    return wrapper


@_styled
def spectrum(
    estimates: Mapping[str, np.ndarray], exact: np.ndarray | None = None, title: str = "spectrum"
) -> Figure:
    """Values against mode for several estimates, the exact ones as bars behind them; their
    relative errors in a second panel where exact values are given."""
    figure = _figure(9.5 if exact is not None else 5.5, 3.6)
    axes = figure.subplots(1, 2 if exact is not None else 1, squeeze=False)[0]
    k = len(next(iter(estimates.values())))
    modes = np.arange(1, k + 1)
    if exact is not None:
        axes[0].hlines(exact[:k], modes - 0.4, modes + 0.4, color=GREY, lw=5, label="exact")
    for (name, values), colour, marker in zip(estimates.items(), COLOURS, MARKERS, strict=False):
        axes[0].plot(modes, values, marker, ms=4.5, color=colour, label=name, mfc="none", mew=1.3)
        if exact is not None:
            with np.errstate(divide="ignore", invalid="ignore"):
                error = np.abs(values - exact[:k]) / np.abs(exact[:k])
            axes[1].plot(
                modes, np.where(error > 0, error, np.nan), marker, ms=4.5, color=colour, mfc="none"
            )
    axes[0].set(xlabel="mode", ylabel="value", title=title)
    shown = np.concatenate([*estimates.values(), *([] if exact is None else [exact[:k]])])
    shown = shown[np.isfinite(shown)]
    if len(shown) and shown.min() > 0 and shown.max() > 20 * shown.min():
        axes[0].set_yscale("log")
    axes[0].legend()
    if exact is not None:
        axes[1].set(xlabel="mode", ylabel="relative error", yscale="log", title="relative error")
        axes[1].grid(axis="y", color="#e4e7eb")
    for axis in axes:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _image(axis: Axes, values: np.ndarray, extent: Sequence[float]) -> None:
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


@_styled
def function_images(
    learned: Sequence[np.ndarray],
    exact: Sequence[np.ndarray] | None,
    extents: Sequence[tuple[float, float]],
    labels: Sequence[str],
    per_row: int = 8,
) -> Figure:
    """Functions of two coordinates as images, each learned one above the exact one.

    Args:
        learned, exact: k arrays (n, n) of values on square grids, first axis x.
        extents: k pairs (low, high), the windows of the grids.
        labels: k titles.
    """
    k = len(learned)
    columns = min(per_row, k)
    bands = -(-k // columns)
    rows = 1 if exact is None else 2
    figure = _figure(1.25 * columns + 0.5, (1.28 * rows + 0.25) * bands)
    axes = figure.subplots(bands * rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    for mode in range(k):
        band, column = divmod(mode, columns)
        top = axes[band * rows, column]
        top.set_axis_on()
        _image(top, learned[mode], extents[mode])
        top.set_title(labels[mode], fontsize=8)
        if exact is not None:
            below = axes[band * rows + 1, column]
            below.set_axis_on()
            _image(below, exact[mode], extents[mode])
        if column == 0:
            top.set_ylabel("learned", fontsize=8)
            if exact is not None:
                axes[band * rows + 1, 0].set_ylabel("exact", fontsize=8)
    return figure


@_styled
def function_curves(
    x: np.ndarray, learned: np.ndarray, exact: np.ndarray | None, labels: Sequence[str]
) -> Figure:
    """Functions of one coordinate (or of an index) as curves: learned on top of exact.

    Args:
        x: (N,); learned, exact: (N, k).
    """
    k = learned.shape[1]
    columns = min(3, k)
    rows = -(-k // columns)
    figure = _figure(3.2 * columns, 1.9 * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for mode, axis in enumerate(axes.flat):
        if mode >= k:
            axis.set_axis_off()
            continue
        if exact is not None:
            axis.plot(x, exact[:, mode], color=GREY, lw=4, label="exact")
        axis.plot(x, learned[:, mode], color=COLOURS[0], lw=1.4, label="learned")
        axis.axhline(0, color="#e4e7eb", lw=0.8, zorder=0)
        axis.set_title(labels[mode], fontsize=9)
        axis.set_yticks([])
    axes.flat[0].legend(fontsize=8)
    return figure


@_styled
def orthogonality(gram: np.ndarray, score: float) -> Figure:
    """|⟨f_i|f_j⟩| of the normalised learned functions, on a logarithmic scale."""
    figure = _figure(4.6, 3.8)
    axis = figure.subplots()
    size = np.log10(np.maximum(np.abs(gram), 1e-8))
    k = len(gram)
    image = axis.imshow(size, cmap="magma_r", vmin=-6, vmax=0, extent=(0.5, k + 0.5, k + 0.5, 0.5))
    axis.set(
        title=f"orthogonality: mean squared deviation {score:.1e}", xlabel="mode", ylabel="mode"
    )
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_locator(MaxNLocator(integer=True))
    bar = figure.colorbar(image, ax=axis, ticks=[-6, -4, -2, 0], shrink=0.9)
    bar.ax.set_yticklabels(["$10^{-6}$", "$10^{-4}$", "$10^{-2}$", "1"])
    bar.set_label("|⟨f$_i$|f$_j$⟩|")
    return figure


@_styled
def training_curve(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Objective, and error of the Ritz values where it was monitored, against training time."""
    steps = [h for h in history if "objective" in h]
    errors = [h for h in history if "mean_relative_error" in h]
    figure = _figure(9.5 if errors else 5.0, 3.4)
    axes = figure.subplots(1, 2 if errors else 1, squeeze=False)[0]
    axes[0].plot(
        [h["seconds"] for h in steps], [h["objective"] for h in steps], color=COLOURS[0], lw=1
    )
    axes[0].set(xlabel="seconds", ylabel="objective", title="low-rank approximation objective")
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
            yscale="log",
            title="error of the Ritz values on held-out points",
        )
        axes[1].grid(axis="y", color="#e4e7eb")
    return figure
