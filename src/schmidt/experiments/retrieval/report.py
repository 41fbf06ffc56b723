"""Results as tables of text."""

from __future__ import annotations

from schmidt.domains import ZeroShot
from schmidt.experiments.retrieval.methods import TITLES
from schmidt.experiments.retrieval.protocol import Outcome, RetrievalResults
from schmidt.ranking import SIMILARITIES
from schmidt.report import Report


def headings(k: int) -> list[str]:
    """Titles of the columns of :func:`row`."""
    measures = [f"P@{k}", "mAP"]
    return [
        "",
        *(f"{m} {short}" for short in ("cos", "ip") for m in measures),
        "R-p cos",
        "sec",
    ]


def row(outcome: Outcome) -> list[str]:
    """A method: P@k and mAP by cosine and by inner product, R-precision, time."""
    cells = [outcome.embedding.title]
    for name in SIMILARITIES:
        judged = outcome.judgements[name]
        cells += [number(judged.mean_precision), number(judged.mean_average_precision)]
    cosine = outcome.judgements["cosine"]
    return [*cells, number(cosine.mean_r_precision), f"{outcome.embedding.seconds:.1f}"]


def chance_row(results: RetrievalResults) -> list[str]:
    """The same for a random order."""
    c = results.chance
    both = [number(c.mean_precision), number(c.mean_average_precision)]
    return ["chance", *both, *both, number(c.mean_r_precision), ""]


def number(value: float) -> str:
    return "–" if value != value else f"{value:.3f}"


def rows(results: RetrievalResults) -> list[list[str]]:
    return [chance_row(results), *(row(o) for o in results.outcomes.values())]


def sizes(data: ZeroShot) -> str:
    """The data set in a sentence."""
    parts = [
        f"{name} {s['classes']} classes ({s['x']} + {s['y']} items)"
        for name, s in data.sizes().items()
        if s["classes"]
    ]
    return f"{data.domains[0]} → {data.domains[1]}; " + ", ".join(parts)


def notes(results: RetrievalResults) -> list[str]:
    """What the table does not say: queries left out, chosen settings, truncation."""
    out: list[str] = []
    left_out = results.chance.summary()["without_relevant"]
    if left_out:
        out.append(f"{left_out} queries have no relevant item and are left out of all means.")
    for name, o in results.outcomes.items():
        if o.embedding.settings:
            out.append(f"{TITLES[name]}: {o.embedding.settings}.")
        if o.most is not None and o.least is not None and 16 in o.most.modes[:-1]:
            full = o.most.mean_average_precision[-1]
            first, last = (c.mean_average_precision[c.modes.index(16)] for c in (o.most, o.least))
            out.append(
                f"{TITLES[name]}: mAP {number(first)} with the first 16 modes, {number(last)} "
                f"with the last 16, {number(full)} with all {o.most.modes[-1]}."
            )
    return out


def page(results: RetrievalResults) -> Report:
    """The table and the notes, to which pictures can be added."""
    out = Report(f"Zero-shot retrieval: {results.data.name}", numbers=results.report())
    out.text(sizes(results.data) + f"; seed {results.seed}.")
    out.table(headings(results.data.k), rows(results))
    out.text("Means over queries; cos: ranked by cosine, ip: by inner product, R-p: R-precision.")
    out.items(notes(results))
    return out
