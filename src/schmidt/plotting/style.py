"""Colours, sizes, and writing figures to files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

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


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, inches."""
    return Figure(figsize=(width, height), layout="constrained")


def styled(draw: Any) -> Any:
    """Draw in the library's style, whatever matplotlib's settings are."""

    def wrapper(*args: Any, **kwargs: Any) -> Figure:
        with matplotlib.rc_context(STYLE):
            return draw(*args, **kwargs)

    wrapper.__doc__, wrapper.__name__ = draw.__doc__, draw.__name__
    return wrapper
