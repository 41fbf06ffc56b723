"""The pictures of retrieval: what was retrieved, and with how many modes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from schmidt.experiments.retrieval import (
    TITLES,
    TRAINED,
    Items,
    Outcome,
    RetrievalResults,
    score_blocks,
)
from schmidt.plotting.style import COLOURS, GREY, INK, MARKERS, finish, new_figure, styled

RIGHT, WRONG = COLOURS[3], COLOURS[1]
FAINT = "#e4e7eb"


@dataclass(frozen=True)
class Tile:
    """An item: its picture, or its label where there is none; hits are right or wrong."""

    label: str
    picture: np.ndarray | None = None
    right: bool | None = None


@styled
def retrieved(rows: Sequence[Sequence[Tile]], domains: tuple[str, str], title: str) -> Figure:
    """Queries with their first hits: one row per query, the query first, right and wrong marked."""
    columns = max(len(row) for row in rows)
    size = 0.78
    figure = new_figure(size * (columns + 0.6), size * len(rows) + 0.75)
    widths = [1, 0.25] + [1] * (columns - 1)
    axes = figure.subplots(
        len(rows), columns + 1, squeeze=False, gridspec_kw={"width_ratios": widths}
    )
    for row, line in zip(rows, axes, strict=True):
        line[1].set_axis_off()
        for axis in line:
            axis.set(xticks=[], yticks=[])
        for tile, axis in zip(row, [line[0], *line[2:]], strict=False):
            _draw(axis, tile)
        for axis in line[len(row) + 1 :]:
            axis.set_axis_off()
    axes[0, 0].set_title(f"query\n({domains[0]})", fontsize=8)
    for rank, axis in enumerate(axes[0, 2:], 1):
        axis.set_title(f"{rank}\n({domains[1]})" if rank == 1 else f"{rank}\n", fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


def _draw(axis: Axes, tile: Tile) -> None:
    colour = GREY if tile.right is None else RIGHT if tile.right else WRONG
    for spine in axis.spines.values():
        spine.set(visible=True, color=colour, linewidth=1.0 if tile.right is None else 2.2)
    if tile.picture is None:
        axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axis.text(0.5, 0.5, tile.label, ha="center", va="center", fontsize=6, color=INK, wrap=True)
    else:
        grey = tile.picture.ndim == 2
        axis.imshow(tile.picture, cmap="gray" if grey else None, vmin=0, vmax=255)
        axis.set_aspect("equal")
    if tile.right is not None:
        axis.text(
            0.93,
            0.07,
            "✓" if tile.right else "✗",
            ha="center",
            va="center",
            fontsize=7,
            color="white",
            transform=axis.transAxes,
            bbox={"boxstyle": "round,pad=0.12", "facecolor": colour, "edgecolor": "none"},
        )


@dataclass(frozen=True)
class Line:
    """A curve over the number of modes; ``style`` counts colours, ``dashed`` is for the least
    significant ones."""

    modes: Sequence[int]
    values: Sequence[float]
    style: int = 0
    dashed: bool = False


@styled
def truncation(panels: Mapping[str, Mapping[str, Line]], title: str) -> Figure:
    """Measures against the number of modes used, one panel per measure, one curve per method."""
    figure = new_figure(4.6 * len(panels) + 0.4, 4.2)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for axis, (measure, lines) in zip(axes, panels.items(), strict=True):
        for name, line in lines.items():
            colour = (*COLOURS, GREY)[line.style % (len(COLOURS) + 1)]
            axis.plot(
                line.modes,
                line.values,
                linestyle="--" if line.dashed else "-",
                marker=MARKERS[line.style % len(MARKERS)],
                ms=4,
                mfc="white" if line.dashed else colour,
                color=colour,
                label=name,
            )
        longest = max((line.modes for line in lines.values()), key=len)
        axis.set_xscale("log", base=2)
        axis.set_xticks(longest, [str(d) for d in longest])
        axis.minorticks_off()
        axis.set(xlabel="number of modes d", ylabel=measure)
        axis.set_ylim(bottom=0)
        axis.grid(axis="y", color=FAINT)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=9)
    figure.suptitle(title, fontsize=10)
    return figure


@styled
def spectra_of_dependence(values: Mapping[str, np.ndarray]) -> Figure:
    """Singular values of the dependence between two domains, by method."""
    figure = new_figure(5.6, 3.6)
    axis = figure.subplots()
    for i, (name, found) in enumerate(values.items()):
        modes = np.arange(1, len(found) + 1)
        axis.plot(
            modes,
            found,
            MARKERS[i % len(MARKERS)] + "-",
            ms=3.5,
            lw=0.8,
            mfc="none",
            color=COLOURS[i % len(COLOURS)],
            label=name,
        )
    axis.axhline(1, color=GREY, lw=0.8, ls=":")
    axis.set(xlabel="mode", ylabel="singular value", title="singular values of the dependence")
    axis.set_ylim(0, None)
    axis.grid(axis="y", color=FAINT)
    axis.legend()
    return figure


@styled
def overlaps(rows: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Overlaps of normalised functions on a logarithmic scale: one row per method, those of f left
    and those of g right."""
    figure = new_figure(7.6, 3.5 * len(rows) + 0.2)
    axes = figure.subplots(len(rows), 2, squeeze=False)
    for (name, grams), line in zip(rows.items(), axes, strict=True):
        for letter, gram, axis in zip("fg", grams, line, strict=True):
            k = len(gram)
            size = np.log10(np.maximum(np.abs(gram), 1e-9))
            image = axis.imshow(
                size, cmap="magma_r", vmin=-3, vmax=0, extent=(0.5, k + 0.5, k + 0.5, 0.5)
            )
            off = np.sqrt(((gram - np.eye(k)) ** 2).sum() / max(1, k * (k - 1)))
            axis.set_title(f"{name}: {letter}\noff the diagonal {off:.2f} (rms)", fontsize=9)
            axis.set(xlabel="mode", ylabel="mode")
            for side in (axis.xaxis, axis.yaxis):
                side.set_major_locator(MaxNLocator(integer=True))
    bar = figure.colorbar(image, ax=axes, ticks=[-3, -2, -1, 0], shrink=0.7)
    bar.ax.set_yticklabels(["0.001", "0.01", "0.1", "1"])
    bar.set_label("|overlap| of normalised functions")
    return figure


QUERIES, HITS = 8, 10
SHORT = {"joint": "joint", "sequential": "sequential", "none": "not nested"}


def draw_retrieval(results: RetrievalResults, out: Path) -> list[Path]:
    """First hits, truncation curves, singular values and orthogonality, as far as there are any."""
    figures: dict[str, Figure] = {}
    best = _shown(results)
    figures["hits.png"] = _hits_of(results, best)
    curves = _curves(results)
    if curves:
        figures["truncation.png"] = truncation(
            curves, f"{results.data.name}: the most and the least significant modes, by cosine"
        )
    values = {
        TITLES[name]: o.embedding.values
        for name, o in results.outcomes.items()
        if o.embedding.values is not None and name not in ("tied", "none")
    }
    if values:
        figures["singular-values.png"] = spectra_of_dependence(values)
    grams = {
        TITLES[name]: o.embedding.overlaps
        for name, o in results.outcomes.items()
        if o.embedding.overlaps is not None and name != "none"
    }
    if grams:
        figures["orthogonality.png"] = overlaps(grams)
    for file, figure in figures.items():
        finish(figure, out / file)
    return [out / file for file in figures]


def _shown(results: RetrievalResults) -> Outcome:
    """The method whose hits are drawn: joint nesting, or whatever comes last."""
    return results.outcomes.get("joint") or list(results.outcomes.values())[-1]


def _hits_of(results: RetrievalResults, outcome: Outcome) -> Figure:
    """Random queries of different classes, not the best ones."""
    test, names = results.data.test, results.data.names
    rng = np.random.default_rng(results.seed)
    classes = rng.permutation(np.unique(test.x.classes))[:QUERIES]
    chosen = [int(rng.choice(np.flatnonzero(test.x.classes == c))) for c in classes]
    e = outcome.embedding
    count = min(HITS, len(test.y))
    rows = []
    for (_, scores), query in zip(_each(e.queries[chosen], e.gallery), chosen, strict=True):
        best = np.argsort(-scores, kind="stable")[:count]
        right = test.y.classes[best] == test.x.classes[query]
        tiles = [_tile(test.x, query, names)]
        tiles += [_tile(test.y, int(i), names, bool(r)) for i, r in zip(best, right, strict=True)]
        rows.append(tiles)
    shown = f"{e.title}: random queries of classes never trained on, and their first {count} hits"
    return retrieved(rows, results.data.domains, shown)


def _each(queries: np.ndarray, gallery: np.ndarray) -> list[tuple[int, np.ndarray]]:
    return [
        (rows.start + i, line)
        for rows, scores in score_blocks(queries, gallery)
        for i, line in enumerate(scores)
    ]


def _tile(items: Items, index: int, names: Sequence[str], right: bool | None = None) -> Tile:
    picture = items.picture(index) if items.picture is not None else None
    return Tile(names[items.classes[index]], picture, right)


def _curves(results: RetrievalResults) -> dict[str, dict[str, Line]]:
    k = results.data.k
    panels: dict[str, dict[str, Line]] = {"mAP": {}, f"P@{k}": {}}
    for style, name in enumerate(TRAINED):
        outcome = results.outcomes.get(name)
        if outcome is None or outcome.most is None or outcome.least is None:
            continue
        kinds = [("first d modes", outcome.most, False), ("last d modes", outcome.least, True)]
        for what, curve, dashed in kinds[: 1 if name == "none" else 2]:
            label = f"{SHORT[name]}, {what}"
            for panel, values in (
                ("mAP", curve.mean_average_precision),
                (f"P@{k}", curve.precision),
            ):
                panels[panel][label] = Line(curve.modes, values, style, dashed)
    return panels if panels["mAP"] else {}
