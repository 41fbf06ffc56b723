"""Documents, terms and a query as points of the plane."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from schmidt.plotting.style import COLOURS, GREY, INK, new_figure, styled

FAINT = "#e4e7eb"
WIDTH, HEIGHT = 7.6, 6.2
OFFSETS = (
    (6, 0, "left"),
    (-6, 0, "right"),
    (0, 9, "center"),
    (0, -9, "center"),
    (7, 9, "left"),
    (-7, 9, "right"),
    (7, -9, "left"),
    (-7, -9, "right"),
)
"""Places of a label beside its point, in points."""


@styled
def semantic_map(
    documents: np.ndarray,
    names: Sequence[str],
    terms: np.ndarray,
    words: Sequence[str],
    query: np.ndarray | None = None,
    hits: Sequence[int] = (),
    title: str = "",
) -> Figure:
    """Documents and terms in the first two dimensions of a semantic space.

    Args:
        documents: (N, 2), and their names; those among ``hits`` are filled.
        terms: (T, 2), and their words. Both sets are scaled to the same largest length, since
            only directions mean anything.
        query: (2,) drawn as a ray.
        hits: positions of the documents found, best first.
        title: above the picture.
    """
    figure = new_figure(WIDTH, HEIGHT)
    axis = figure.subplots()
    documents, terms = (
        a / max(np.linalg.norm(a, axis=1).max(), 1e-300) for a in (documents, terms)
    )
    found = np.isin(np.arange(len(documents)), hits)
    axis.axhline(0, color=FAINT, lw=0.8, zorder=0)
    axis.axvline(0, color=FAINT, lw=0.8, zorder=0)
    axis.scatter(terms[:, 0], terms[:, 1], marker="x", s=18, color=GREY, lw=0.9, label="terms")
    axis.scatter(
        documents[~found, 0],
        documents[~found, 1],
        s=26,
        facecolor="none",
        color=COLOURS[0],
        label="documents",
    )
    if found.any():
        axis.scatter(
            documents[found, 0], documents[found, 1], s=30, color=COLOURS[0], label="found"
        )
    if query is not None and np.linalg.norm(query) > 0:
        end = query / np.linalg.norm(query)
        axis.annotate(
            "",
            (float(end[0]), float(end[1])),
            (0, 0),
            arrowprops={"arrowstyle": "-|>", "color": COLOURS[1], "lw": 1.6},
            zorder=1,
        )
        axis.plot([], [], color=COLOURS[1], lw=1.6, label="query")
    everything = np.vstack([documents, terms, np.zeros((1, 2))])
    if query is not None:
        everything = np.vstack([everything, end[None] if np.linalg.norm(query) > 0 else [[0, 0]]])
    low, high = everything.min(0), everything.max(0)
    pad = 0.08 * (high - low) + 1e-9
    axis.set(xlim=(low[0] - pad[0], high[0] + pad[0]), ylim=(low[1] - pad[1], high[1] + pad[1]))
    order = [*hits, *np.flatnonzero(~found)]
    placed = _Labels(axis, documents, terms)
    for i in order:
        placed.write(names[i], documents[i], COLOURS[0], 8, must=bool(found[i]))
    for word, point in zip(words, terms, strict=True):
        placed.write(word, point, INK, 7.5, must=False)
    axis.set(xlabel="dimension 1", ylabel="dimension 2", title=title)
    axis.legend(loc="best", fontsize=8)
    return figure


class _Labels:
    """Labels that do not cover each other or a point: the first free place, or none."""

    def __init__(self, axis: Axes, *points: np.ndarray) -> None:
        self._axis = axis
        (x0, x1), (y0, y1) = axis.get_xlim(), axis.get_ylim()
        self._origin = np.array([x0, y0])
        # points (1/72 inch) per unit of data; the axes fill about 85 % of the figure
        self._scale = np.array([WIDTH, HEIGHT]) * 72 * 0.85 / np.array([x1 - x0, y1 - y0])
        self._boxes = [
            (x - 3, x + 3, y - 3, y + 3)
            for x, y in (np.vstack(points) - self._origin) * self._scale
        ]

    def write(self, text: str, point: np.ndarray, colour: str, size: float, *, must: bool) -> None:
        x, y = (point - self._origin) * self._scale
        width, height = 0.56 * size * len(text), 1.15 * size
        for dx, dy, side in OFFSETS:
            left = {"left": x + dx, "right": x + dx - width, "center": x - width / 2}[side]
            box = (left, left + width, y + dy - height / 2, y + dy + height / 2)
            if not any(_overlap(box, other) for other in self._boxes):
                break
        else:
            if not must:
                return
            dx, dy, side = OFFSETS[0]
        self._boxes.append(box)
        self._axis.annotate(
            text,
            (float(point[0]), float(point[1])),
            (dx, dy),
            textcoords="offset points",
            ha=side,
            va="center",
            fontsize=size,
            color=colour,
        )


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[1] and b[0] < a[1] and a[2] < b[3] and b[2] < a[3]
