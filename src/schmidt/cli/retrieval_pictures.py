"""The pictures that ``schmidt retrieve`` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from schmidt import plotting
from schmidt.experiments.retrieval import TITLES, TRAINED, Items, Outcome, Results, score_blocks

QUERIES, HITS = 8, 10
SHORT = {"joint": "joint", "sequential": "sequential", "none": "not nested"}


def draw_retrieval(results: Results, out: Path) -> list[Path]:
    """First hits, truncation curves, singular values and orthogonality, as far as there are any."""
    figures: dict[str, plotting.Figure] = {}
    best = _shown(results)
    figures["hits.png"] = _hits(results, best)
    curves = _curves(results)
    if curves:
        figures["truncation.png"] = plotting.truncation(
            curves, f"{results.data.name}: the most and the least significant modes, by cosine"
        )
    values = {
        TITLES[name]: o.embedding.values
        for name, o in results.outcomes.items()
        if o.embedding.values is not None and name not in ("tied", "none")
    }
    if values:
        figures["singular-values.png"] = plotting.singular_values(values)
    grams = {
        TITLES[name]: o.embedding.overlaps
        for name, o in results.outcomes.items()
        if o.embedding.overlaps is not None and name != "none"
    }
    if grams:
        figures["orthogonality.png"] = plotting.overlaps(grams)
    for file, figure in figures.items():
        plotting.finish(figure, out / file)
    return [out / file for file in figures]


def _shown(results: Results) -> Outcome:
    """The method whose hits are drawn: joint nesting, or whatever comes last."""
    return results.outcomes.get("joint") or list(results.outcomes.values())[-1]


def _hits(results: Results, outcome: Outcome) -> plotting.Figure:
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
    return plotting.retrieved(rows, results.data.domains, shown)


def _each(queries: np.ndarray, gallery: np.ndarray) -> list[tuple[int, np.ndarray]]:
    return [
        (rows.start + i, line)
        for rows, scores in score_blocks(queries, gallery)
        for i, line in enumerate(scores)
    ]


def _tile(
    items: Items, index: int, names: Sequence[str], right: bool | None = None
) -> plotting.Tile:
    picture = items.picture(index) if items.picture is not None else None
    return plotting.Tile(names[items.classes[index]], picture, right)


def _curves(results: Results) -> dict[str, dict[str, plotting.Line]]:
    k = results.data.k
    panels: dict[str, dict[str, plotting.Line]] = {"mAP": {}, f"P@{k}": {}}
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
                panels[panel][label] = plotting.Line(curve.modes, values, style, dashed)
    return panels if panels["mAP"] else {}
