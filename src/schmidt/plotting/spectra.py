"""Values: beside exact ones, with their bounds and errors; and how orthogonal functions are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from schmidt.certificate import Bound
from schmidt.factorization import Eigenpairs, Factorization
from schmidt.plotting.style import (
    COLOURS,
    FAINT,
    GREY,
    INK,
    MARKERS,
    log_axis,
    mode_axis,
    new_figure,
    styled,
)

SMALLEST = 1e-16


@styled
def spectrum(
    estimates: Mapping[str, np.ndarray],
    exact: np.ndarray | None = None,
    title: str = "spectrum",
    *,
    bounds: Bound | None = None,
    errors: Mapping[str, np.ndarray] | None = None,
    quantity: str = "value",
) -> Figure:
    """Values against mode, with the exact ones as bars behind them; their relative errors in a
    second panel where exact values are given.

    Args:
        estimates: name → (k,) values.
        exact: (k,) or more.
        title: above the values.
        bounds: a certified interval per mode, drawn as an error bar of the first estimate.
        errors: name → (k,) relative errors; default |value − exact|/|exact|.
        quantity: what the values are: "value", "energy", "singular value".
    """
    figure = new_figure(9.5 if exact is not None else 5.5, 3.6)
    axes = figure.subplots(1, 2 if exact is not None else 1, squeeze=False)[0]
    k = len(next(iter(estimates.values())))
    modes = np.arange(1, k + 1)
    if exact is not None:
        axes[0].hlines(exact[:k], modes - 0.4, modes + 0.4, color=GREY, lw=5, label="exact")
    if bounds is not None and bounds.per_mode:
        _intervals(axes[0], modes, np.asarray(next(iter(estimates.values()))), bounds)
    for (name, values), colour, marker in zip(estimates.items(), COLOURS, MARKERS, strict=False):
        style = {"ms": 4.5, "color": colour, "mfc": "none", "mew": 1.3}
        axes[0].plot(modes, values, marker, label=name, **style)
        if exact is not None:
            error = (errors or {}).get(name, _relative(values, exact[:k]))
            seen = np.isfinite(error)
            axes[1].plot(modes[seen], np.maximum(error[seen], SMALLEST), marker, **style)
    axes[0].set(ylabel=quantity, title=title)
    shown = np.concatenate([*estimates.values(), *([] if exact is None else [exact[:k]])])
    shown = shown[np.isfinite(shown)]
    if len(shown) and shown.min() > 0 and shown.max() > 20 * shown.min():
        log_axis(axes[0])
    else:
        _not_too_near(axes[0], shown)
    axes[0].legend()
    if exact is not None:
        axes[1].set(ylabel="relative error", title="relative error")
        log_axis(axes[1])
    for axis in axes:
        mode_axis(axis, k)
    return figure


def _not_too_near(axis: Axes, shown: np.ndarray) -> None:
    """No window that is narrower than a fifth of the values: its ticks would have no digits."""
    axis.ticklabel_format(axis="y", useOffset=False)
    if not len(shown):
        return
    (low, high), least = axis.get_ylim(), 0.2 * float(np.abs(shown).max())
    if 0 < high - low < least:
        middle = (low + high) / 2
        axis.set_ylim(middle - least / 2, middle + least / 2)


def _intervals(axis: Axes, modes: np.ndarray, values: np.ndarray, bounds: Bound) -> None:
    """Error bars from low to high, wherever the value itself is; caps make narrow ones visible."""
    low, high = (np.broadcast_to(side, values.shape) for side in (bounds.low, bounds.high))
    seen = np.isfinite(low) & np.isfinite(high) & np.isfinite(values)
    if not seen.any():
        return
    reach = np.maximum([values - low, high - values], 0)[:, seen]
    label = f"certified to within {reach.max():.1e}"
    axis.errorbar(
        modes[seen],
        values[seen],
        yerr=reach,
        fmt="none",
        ecolor=COLOURS[1],
        elinewidth=1.4,
        capsize=5,
        label=label,
    )


def _relative(values: np.ndarray, exact: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.abs(values - exact) / np.abs(exact)


@styled
def complex_spectrum(
    values: np.ndarray,
    exact: np.ndarray | None = None,
    title: str = "spectrum",
    *,
    radius: np.ndarray | None = None,
    name: str = "found",
) -> Figure:
    """Complex values in the plane, the exact ones as rings around them.

    Args:
        radius: (k,) sizes of residuals, or of bounds, drawn as discs.
        name: of the values in the legend.
    """
    from matplotlib.patches import Circle

    figure = new_figure(5.2, 4.2)
    axis = figure.subplots()
    if exact is not None:
        axis.plot(np.real(exact), np.imag(exact), "o", ms=9, color=GREY, mfc="none", label="exact")
    if radius is not None:
        for z, r in zip(values, radius, strict=True):
            if np.isfinite(r):
                axis.add_patch(Circle((z.real, z.imag), r, color=COLOURS[1], alpha=0.25, lw=0))
    axis.plot(np.real(values), np.imag(values), ".", ms=6, color=COLOURS[0], label=name)
    axis.axhline(0, color=FAINT, lw=0.8, zorder=0)
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
        floor = np.maximum(error, SMALLEST)
        axis.plot(modes, floor, "o", ms=4.5, color=INK, mfc="none", label="true error")
    axis.set(ylabel="relative to |value|", title=title)
    log_axis(axis)
    mode_axis(axis, len(radius))
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
    known = f": mean squared deviation {score:.1e}" if np.isfinite(score) else ""
    axis.set(title=f"orthogonality{known}", xlabel="mode", ylabel="mode")
    for side in (axis.xaxis, axis.yaxis):
        side.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    bar = figure.colorbar(image, ax=axis, ticks=[-6, -4, -2, 0], shrink=0.9)
    bar.ax.set_yticklabels(["$10^{-6}$", "$10^{-4}$", "$10^{-2}$", "1"])
    bar.set_label("|⟨f$_i$|f$_j$⟩|")
    return figure


@styled
def errors(found: Mapping[str, np.ndarray], title: str = "relative error of the values") -> Figure:
    """Relative errors per mode of several answers, on a logarithmic scale."""
    figure = new_figure(7.2, 3.8)
    axis = figure.subplots()
    most = 1
    for i, (name, error) in enumerate(found.items()):
        most = max(most, len(error))
        modes = np.arange(1, len(error) + 1)
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        axis.plot(
            modes, np.maximum(error, SMALLEST), marker, ms=5, color=colour, mfc="none", label=name
        )
    axis.set(ylabel="|value − exact| / |exact|", title=title)
    log_axis(axis)
    mode_axis(axis, most)
    axis.legend()
    return figure


def spectrum_of(result: Factorization | Eigenpairs, exact: np.ndarray | None = None) -> Figure:
    """The values of a result as they are, with the intervals that its certificate gives them."""
    values = np.asarray(result.values)
    known = result.certificate
    bound = Bound() if known is None else known["values"]
    if np.iscomplexobj(values) and values.imag.any():
        return complex_spectrum(values, exact)
    name = "value"
    if isinstance(result, Eigenpairs) and result.order == "ascending":
        name = "energy"
    return spectrum({"found": values.real}, exact, bounds=bound, quantity=name)
