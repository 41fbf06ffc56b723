"""Colours, sizes, and writing figures to files."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from schmidt.storage import write_bytes

INK, GREY, FAINT = "#1f2933", "#9aa5b1", "#e4e7eb"
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


class NotebookFigure(Figure):
    """A figure that notebooks display by itself, whether pyplot is loaded or not."""

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", bbox_inches="tight")
        return buffer.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, inches."""
    return NotebookFigure(figsize=(width, height), layout="constrained")


def mode_axis(axis: Axes, modes: int) -> None:
    """Whole numbers below an axis of modes, with room on both sides."""
    axis.set_xlim(0.4, modes + 0.6)
    if modes <= 12:
        axis.set_xticks(range(1, modes + 1))
    else:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlabel("mode")


def log_axis(axis: Axes) -> None:
    """A logarithmic y axis of whole decades: 10⁻³, not 9×10⁻³."""
    axis.set_yscale("log")
    low, high = axis.get_ylim()
    low, high = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    if high - low < 2:
        low, high = low - (high - low < 1), high + 1
    axis.set_ylim(10.0**low, 10.0**high)
    axis.yaxis.set_major_locator(LogLocator(numticks=9))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.grid(axis="y", color=FAINT)


def styled(draw: Any) -> Any:
    """Draw in the library's style, whatever matplotlib's settings are."""

    def wrapper(*args: Any, **kwargs: Any) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    wrapper.__doc__, wrapper.__name__ = draw.__doc__, draw.__name__
    return wrapper
