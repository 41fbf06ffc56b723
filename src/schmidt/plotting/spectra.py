"""Values: beside exact ones, with their bounds and errors; and how orthogonal functions are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from schmidt.plotting.style import COLOURS, GREY, INK, MARKERS, new_figure, styled


@styled
def spectrum(
    estimates: Mapping[str, np.ndarray], exact: np.ndarray | None = None, title: str = "spectrum"
) -> Figure:
    """Values against mode for several estimates, the exact ones as bars behind them; their
    relative errors in a second panel where exact values are given."""
    figure = new_figure(9.5 if exact is not None else 5.5, 3.6)
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


@styled
def complex_spectrum(
    values: np.ndarray, exact: np.ndarray | None = None, title: str = "spectrum"
) -> Figure:
    """Complex values in the plane, the exact ones as rings around them."""
    figure = new_figure(5.2, 4.2)
    axis = figure.subplots()
    if exact is not None:
        axis.plot(np.real(exact), np.imag(exact), "o", ms=9, color=GREY, mfc="none", label="exact")
    axis.plot(np.real(values), np.imag(values), ".", ms=6, color=COLOURS[0], label="Ritz")
    axis.axhline(0, color="#e4e7eb", lw=0.8, zorder=0)
    axis.set(xlabel="real part", ylabel="imaginary part", title=title)
    axis.legend()
    return figure


@styled
def bounds(
    radius: np.ndarray,
    estimate: np.ndarray,
    error: np.ndarray | None = None,
    residual: np.ndarray | None = None,
    title: str = "how far values can be from exact ones",
) -> Figure:
    """Relative error bounds per mode on a logarithmic scale, the true errors below them.

    Args:
        radius: certified bounds; estimate: quadratic ones; NaN where there is none.
        error: true errors where they are known.
        residual: drawn instead of the bounds where these are NaN.
    """
    figure = new_figure(7.2, 3.8)
    axis = figure.subplots()
    modes = np.arange(1, len(radius) + 1)
    upper = radius if np.isfinite(radius).any() or residual is None else residual
    name = "certified bound" if upper is radius else "residual (no bound: T is not self-adjoint)"
    axis.plot(modes, upper, "_", ms=11, mew=2, color=COLOURS[1], label=name)
    if np.isfinite(estimate).any():
        axis.plot(modes, estimate, "_", ms=11, mew=2, color=COLOURS[0], label="estimated error")
    if error is not None and np.isfinite(error).any():
        floor = np.maximum(error, 1e-16)
        axis.plot(modes, floor, "o", ms=4.5, color=INK, mfc="none", label="true error")
    axis.set(xlabel="mode", ylabel="relative to |value|", yscale="log", title=title)
    axis.grid(axis="y", color="#e4e7eb")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend()
    return figure


@styled
def orthogonality(gram: np.ndarray, score: float) -> Figure:
    """|⟨f_i|f_j⟩| of the normalised learned functions, on a logarithmic scale."""
    figure = new_figure(4.6, 3.8)
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
