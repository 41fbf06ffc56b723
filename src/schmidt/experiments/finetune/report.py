"""Results as tables of text and as markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from schmidt.experiments.finetune.experiment import Results, Runs
from schmidt.experiments.finetune.methods import METHODS
from schmidt.experiments.finetune.numbers import numbers, ratios
from schmidt.experiments.finetune.statistics import difference, mean_score

__all__ = [
    "LEGEND",
    "NOT_RUN",
    "headings",
    "markdown",
    "notes",
    "numbers",
    "ratios",
    "rows",
    "sentence",
    "size",
    "tables",
]

LAST = 10
"""Training losses are means over so many last steps."""
EXPECTED = {"pro-full": 4.0, "pro-factored": 3.5}
"""Cosine over LoRA's, on tweets, at the same learning rate, of every seed of three."""
NOT_RUN = (
    "GLUE with T5 is not run: neither the data nor the model ships with a package",
    "AdaLoRA is not run: its rank masks make another weight than W0 + s·B·A",
)


def headings(results: Results) -> list[str]:
    """Titles of the columns of :func:`rows`."""
    return [
        "",
        "lr",
        "loss",
        "test loss",
        results.task.score.split()[-1],
        "95 %",
        "cos",
        "dist",
        "path",
        "ε/‖G‖",
        "ms",
        "state",
    ]


LEGEND = (
    "loss: training, last steps · cos, dist: ΔW beside that of full fine-tuning with AdamW at the "
    "common rate, cosine and relative distance · path: Σ‖ΔW_t‖ · ε/‖G‖: share of the gradient out "
    "of reach, first step → last · ms: processor time of a step · state: of the optimizer"
)


def rows(results: Results) -> list[list[str]]:
    """A row per method, means over seeds."""
    return [_row(title, lr, runs) for title, lr, runs in results.rows()]


def _row(title: str, lr: float, runs: Runs) -> list[str]:
    if any(r.diverged for r in runs):
        return [title, f"{lr:.0e}", "diverged", *[""] * 9]
    score = mean_score([r.scores for r in runs])
    aligned = [list(r.alignment.values()) for r in runs]
    return [
        title,
        f"{lr:.0e}",
        f"{_mean(sum(r.losses[-LAST:]) / len(r.losses[-LAST:]) for r in runs):.3f}",
        f"{_mean(r.test_loss for r in runs):.3f}",
        f"{score.mean:.3f}",
        f"{score.low:.3f}–{score.high:.3f}",
        _number(_mean(r.cosine for r in runs), 3),
        _number(_mean(r.distance for r in runs), 2),
        f"{_mean(r.path for r in runs):.2f}",
        "0"
        if runs[0].method.full
        else f"{_mean(a[0] for a in aligned):.2f} → {_mean(a[-1] for a in aligned):.2f}",
        f"{1e3 * _mean(r.seconds for r in runs):.0f}",
        size(max(r.state_bytes for r in runs)),
    ]


def notes(results: Results) -> list[str]:
    """What the table shows, said with care."""
    return [
        *_ratios(results),
        *_tuning(results),
        *_accuracies(results),
        *(["interrupted: this is what was finished"] if results.interrupted else []),
    ]


def _ratios(results: Results) -> list[str]:
    found = ratios(results)
    lines = []
    for name, least in EXPECTED.items():
        if name not in found:
            continue
        values = found[name]
        line = (
            f"cosine of {METHODS[name].title} over LoRA's at the same learning rate: "
            f"{', '.join(f'{v:.1f}' for v in values)} ({_seeds(len(values))})"
        )
        if results.task.name == "tweets":
            line += f"; at least {least:g} is expected of each of three seeds"
        lines.append(line)
    return lines


def _tuning(results: Results) -> list[str]:
    lines = []
    for name, tuned in results.tuned.items():
        grid = ", ".join(f"{lr:.0e}: {loss:.3f}" for lr, loss in tuned.grid.items())
        edge = "; the best lies at the end of the grid" if tuned.edge else ""
        lines.append(
            f"{METHODS[name].title}, learning rate by validation loss: {tuned.lr:.0e} "
            f"({grid}){edge}"
        )
    return lines


def _accuracies(results: Results) -> list[str]:
    """Whom the test set tells apart from LoRA with its own learning rate."""
    if "lora" not in results.tuned:
        return []
    base = [r.scores for r in results.tuned["lora"].runs]
    apart, same = [], []
    for title, _, runs in results.rows():
        if title == "LoRA, tuned" or any(r.diverged for r in runs):
            continue
        d = difference([r.scores for r in runs], base)
        if d.low > 0 or d.high < 0:
            apart.append(f"{title} {100 * d.mean:+.1f} ({100 * d.low:+.1f} to {100 * d.high:+.1f})")
        else:
            same.append(title)
    what = (
        f"{results.task.score} beside tuned LoRA (the common rate was tuned for nobody), in "
        "points, 95 % of paired test examples: "
    )
    lines = [what + "; ".join(apart)] if apart else []
    if same:
        lines.append(f"{results.task.score} not told apart from tuned LoRA: " + ", ".join(same))
    return lines


def tables(results: Results) -> dict[str, tuple[list[str], list[list[str]]]]:
    """Further tables of the long tier: accuracy by training-set size, and by weight decay."""
    found = {}
    for title, by in (("training examples", results.sizes), ("weight decay", results.decays)):
        if not by:
            continue
        keys: list[Any] = sorted({k for runs in by.values() for k in runs})
        body = [
            [results.best_title(name), *(_score(runs[k]) if k in runs else "" for k in keys)]
            for name, runs in by.items()
        ]
        found[f"{results.task.score} by {title}"] = (["", *(f"{k:g}" for k in keys)], body)
    return found


def _score(runs: Runs) -> str:
    s = mean_score([r.scores for r in runs])
    return f"{s.mean:.3f} ({s.low:.3f}–{s.high:.3f})"


def sentence(results: Results) -> str:
    """The experiment in a line."""
    s = results.settings
    return (
        f"{results.task.title}: {results.task.examples} training examples, {s.steps} steps of "
        f"{s.batch}, rank {s.rank}, {_seeds(results.seeds)}"
    )


def markdown(found: Sequence[Results], pictures: Sequence[str]) -> str:
    """A page with all tables, notes and pictures."""
    lines = ["# Fine-tuning: LoRA beside full fine-tuning", "", LEGEND + ".", ""]
    for results in found:
        lines += [f"## {sentence(results)}", ""]
        lines += [*_table(headings(results), rows(results)), ""]
        lines += [*(f"- {note}" for note in notes(results)), ""]
        for title, (head, body) in tables(results).items():
            lines += [f"### {title}", "", *_table(head, body), ""]
        names = [p for p in pictures if p.startswith(results.task.name)]
        lines += [f"![{p.removesuffix('.png')}]({p})\n" for p in names]
    return "\n".join([*lines, *(f"- {line}" for line in NOT_RUN), ""])


def _table(head: list[str], body: list[list[str]]) -> list[str]:
    every = [head, ["---"] + ["---:"] * (len(head) - 1), *body]
    return ["| " + " | ".join(cells) + " |" for cells in every]


def size(count: int) -> str:
    """Bytes, with three digits at most."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}"
    return f"{count} B"


def _seeds(count: int) -> str:
    return f"{count} seed" + "s" * (count != 1)


def _mean(values: Iterable[float | None]) -> float:
    found = [math.nan if v is None else v for v in values]
    return sum(found) / len(found) if found else math.nan


def _number(value: float, places: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{places}f}"
