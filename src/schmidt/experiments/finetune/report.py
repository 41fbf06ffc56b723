"""Results as numbers, as tables of text and as markdown, with 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from schmidt.experiments.finetune.experiment import Runs, TuningResults
from schmidt.experiments.finetune.methods import METHODS
from schmidt.experiments.finetune.training import TuningRun
from schmidt.report import Report

Z = 1.959964
"""97.5 % quantile of the normal distribution."""


@dataclass(frozen=True)
class ConfidenceInterval:
    """A mean and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


def mean_score(scores: Sequence[Tensor]) -> ConfidenceInterval:
    """The mean score of independent examples, each between 0 and 1, over runs on the same examples.

    Wilson's interval; with scores that are not 0 or 1, with the number of examples that their
    variance is worth. It is about the choice of test examples, not of seeds.

    Args:
        scores: (n,) per run; empty ones, of runs that diverged, make the interval NaN.
    """
    if not scores or any(len(s) == 0 for s in scores):
        return ConfidenceInterval(math.nan, math.nan, math.nan)
    per_example = torch.stack([s.double() for s in scores]).mean(0)
    p, n = float(per_example.mean()), len(per_example)
    variance = float(per_example.var(unbiased=False))
    worth = n * p * (1 - p) / variance if variance > 0 else float(n)
    middle = (p + Z**2 / (2 * worth)) / (1 + Z**2 / worth)
    half = Z * math.sqrt(p * (1 - p) / worth + Z**2 / (4 * worth**2)) / (1 + Z**2 / worth)
    return ConfidenceInterval(p, max(0.0, middle - half), min(1.0, middle + half))


def difference(of: Sequence[Tensor], to: Sequence[Tensor]) -> ConfidenceInterval:
    """The mean difference of scores on the same examples, with a normal interval of the pairs."""
    if not of or not to or any(len(s) == 0 for s in (*of, *to)):
        return ConfidenceInterval(math.nan, math.nan, math.nan)
    one, other = (torch.stack([s.double() for s in x]).mean(0) for x in (of, to))
    apart = one - other
    mean = float(apart.mean())
    half = Z * float(apart.std()) / math.sqrt(len(apart)) if len(apart) > 1 else math.inf
    return ConfidenceInterval(mean, mean - half, mean + half)


def ratios(results: TuningResults) -> dict[str, list[float]]:
    """By method and seed, the cosine to full fine-tuning over LoRA's, at the same learning rate."""
    plain = [r.cosine for r in results.runs.get("lora", [])]
    found: dict[str, list[float]] = {}
    for name, runs in results.runs.items():
        pairs = list(zip((r.cosine for r in runs), plain, strict=False))
        both = [(a, b) for a, b in pairs if a is not None and b is not None and b > 0]
        if both and len(both) == len(pairs) and name not in ("full", "lora"):
            found[name] = [a / b for a, b in both]
    return found


def numbers(results: TuningResults) -> dict[str, Any]:
    """Everything measured, for JSON."""
    return {
        "task": results.task.name,
        "title": results.task.title,
        "examples": results.task.examples,
        "seeds": results.seeds,
        "settings": vars(results.settings),
        "interrupted": results.interrupted,
        "cosine_over_lora": ratios(results),
        "runs": {name: [_plain_run(r) for r in runs] for name, runs in results.runs.items()},
        "tuned": {
            name: {
                "validation_loss": {f"{lr:g}": _finite(v) for lr, v in t.grid.items()},
                "lr": t.lr,
                "runs": [_plain_run(r) for r in t.runs],
            }
            for name, t in results.tuned.items()
        },
        "sizes": _nested(results.sizes),
        "weight_decay": _nested(results.decays),
    }


def _nested(by: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {f"{k:g}": [_plain_run(r, brief=True) for r in runs] for k, runs in inner.items()}
        for name, inner in by.items()
    }


def _plain_run(r: TuningRun, brief: bool = False) -> dict[str, Any]:
    score = mean_score([r.scores])
    found = {
        "seed": r.seed,
        "lr": r.settings.sgd_lr if r.method.optimizer == "sgd" else r.settings.lr,
        "score": _finite(score.mean),
        "interval": [_finite(score.low), _finite(score.high)],
        "test_loss": _finite(r.test_loss),
        "validation_loss": _finite(r.validation_loss),
        "diverged": r.diverged,
    }
    if brief:
        return found
    return found | {
        "losses": [_finite(v) for v in r.losses],
        "alignment": {str(k): _finite(v) for k, v in r.alignment.items()},
        "cosine": _finite(r.cosine),
        "distance": _finite(r.distance),
        "path": _finite(r.path),
        "cpu_seconds_per_step": _finite(r.seconds),
        "state_bytes": r.state_bytes,
        "trained": r.trained,
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


LAST = 10
"""Training losses are means over so many last steps."""
EXPECTED = {"pro-full": 4.0, "pro-factored": 3.5}
"""Cosine over LoRA's, on tweets, at the same learning rate, of every seed of three."""
NOT_RUN = (
    "GLUE with T5 is not run: neither the data nor the model ships with a package",
    "AdaLoRA is not run: its rank masks make another weight than W0 + s·B·A",
)


def headings(results: TuningResults) -> list[str]:
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


def rows(results: TuningResults) -> list[list[str]]:
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
        _rounded(_mean(r.cosine for r in runs), 3),
        _rounded(_mean(r.distance for r in runs), 2),
        f"{_mean(r.path for r in runs):.2f}",
        "0"
        if runs[0].method.full
        else f"{_mean(a[0] for a in aligned):.2f} → {_mean(a[-1] for a in aligned):.2f}",
        f"{1e3 * _mean(r.seconds for r in runs):.0f}",
        size(max(r.state_bytes for r in runs)),
    ]


def notes(results: TuningResults) -> list[str]:
    """What the table shows, said with care."""
    return [
        *_ratios(results),
        *_tuning(results),
        *_accuracies(results),
        *(["interrupted: this is what was finished"] if results.interrupted else []),
    ]


def _ratios(results: TuningResults) -> list[str]:
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


def _tuning(results: TuningResults) -> list[str]:
    lines = []
    for name, tuned in results.tuned.items():
        grid = ", ".join(f"{lr:.0e}: {loss:.3f}" for lr, loss in tuned.grid.items())
        edge = "; the best lies at the end of the grid" if tuned.edge else ""
        lines.append(
            f"{METHODS[name].title}, learning rate by validation loss: {tuned.lr:.0e} "
            f"({grid}){edge}"
        )
    return lines


def _accuracies(results: TuningResults) -> list[str]:
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


def tables(results: TuningResults) -> dict[str, tuple[list[str], list[list[str]]]]:
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


def sentence(results: TuningResults) -> str:
    """The experiment in a line."""
    s = results.settings
    return (
        f"{results.task.title}: {results.task.examples} training examples, {s.steps} steps of "
        f"{s.batch}, rank {s.rank}, {_seeds(results.seeds)}"
    )


def page(found: Sequence[TuningResults], pictures: Sequence[str]) -> Report:
    """All tables, notes and pictures."""
    out = Report("Fine-tuning: LoRA beside full fine-tuning")
    out.text(LEGEND + ".")
    out.numbers = {results.task.name: numbers(results) for results in found}
    for results in found:
        out.heading(sentence(results))
        out.table(headings(results), rows(results))
        out.items(notes(results))
        for title, (head, body) in tables(results).items():
            out.heading(title, 3)
            out.table(head, body)
        for name in pictures:
            if name.startswith(results.task.name):
                out.picture(name)
    out.items(NOT_RUN)
    return out


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


def _rounded(value: float, places: int) -> str:
    return "–" if math.isnan(value) else f"{value:.{places}f}"
