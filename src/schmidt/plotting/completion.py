"""A matrix with holes, completed, and how much of it was believed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from schmidt.plotting.style import COLOURS, GREY, INK, new_figure, styled

FAINT = "#e4e7eb"


@styled
def penalty_path(
    penalties: Sequence[float],
    errors: Sequence[float],
    best_errors: Sequence[float],
    ranks: Sequence[int],
    bias_error: float,
    chosen: tuple[str, float, float],
    unshrunk: Sequence[tuple[float, float]] = (),
    variational: float | None = None,
    *,
    variational_chosen: bool = False,
) -> Figure:
    """Held-out error along the λ path.

    Args:
        penalties: λ, descending.
        errors, best_errors: with all terms, and with the best number of terms.
        ranks: terms at each λ.
        bias_error: of the biases alone.
        chosen: label, λ and error of the best with a λ, which has a star.
        unshrunk: (λ, error) of fits of fixed rank.
        variational: error of variational Bayes, which has no λ.
        variational_chosen: whether that is what was chosen.
    """
    figure = new_figure(6.4, 4.2)
    axis = figure.subplots()
    axis.axhline(bias_error, color=GREY, lw=1, ls="--", label="biases only")
    axis.plot(penalties, errors, "o-", color=COLOURS[0], ms=4, label="softImpute, all terms")
    axis.plot(
        penalties, best_errors, "s-", color=COLOURS[1], ms=4, mfc="white", label="its first terms"
    )
    if unshrunk:
        axis.plot(*zip(*unshrunk, strict=True), "^-", color=COLOURS[2], ms=4, label="fixed rank")
    if variational is not None:
        name = "variational Bayes" + (", chosen" if variational_chosen else "")
        axis.axhline(variational, color=COLOURS[3], lw=1.2, label=name)
    label, penalty, error = chosen
    axis.plot([penalty], [error], "*", color=INK, ms=13, label=label, zorder=5)
    step = max(1, len(ranks) // 12)
    for x, y, rank in list(zip(penalties, errors, ranks, strict=True))[::step]:
        axis.annotate(
            str(rank), (x, y), (0, 5), textcoords="offset points", ha="center", fontsize=7
        )
    axis.set_xscale("log")
    axis.invert_xaxis()
    low = min(*best_errors, error, bias_error, *(e for _, e in unshrunk))
    span = max(bias_error, *best_errors) - low
    axis.set_ylim(low - 0.15 * span, max(bias_error, *best_errors) + 0.6 * span)
    axis.set(
        xlabel="λ (numbers: rank)",
        ylabel="root mean square error, held out",
        title="method, λ and rank, chosen on held-out entries",
    )
    axis.grid(axis="y", color=FAINT)
    axis.legend(fontsize=8)
    return figure


@styled
def completed(panels: Mapping[str, np.ndarray], limits: tuple[float, float]) -> Figure:
    """Matrices side by side on one scale; NaN, the holes, are white."""
    figure = new_figure(3.1 * len(panels) + 0.8, 4.2)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (title, matrix) in zip(axes, panels.items(), strict=True):
        image = axis.imshow(
            matrix,
            cmap="viridis",
            vmin=limits[0],
            vmax=limits[1],
            aspect="auto",
            interpolation="nearest",
        )
        axis.set_title(title)
        axis.set(xlabel="column")
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_locator(MaxNLocator(5, integer=True))
    axes[0].set_ylabel("row")
    figure.colorbar(image, ax=axes, shrink=0.8)
    return figure
