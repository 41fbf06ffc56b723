"""Contenders × seeds: training them all, and what every experiment shows of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from schmidt import plotting
from schmidt.compare import degenerate_groups
from schmidt.experiments.reproduce import judge, model, paper, pictures, table
from schmidt.experiments.reproduce.model import Contender, Recipe
from schmidt.experiments.reproduce.paper import beside, chain, reasons
from schmidt.experiments.reproduce.runs import TrainingRun, run_all
from schmidt.report import Report, statistics

RUNS = "runs"
Record = dict[str, Any]

BARS = {
    "relative eigenvalue error": "error",
    "angle": "angle",
    "subspace distance": "subspace",
    "orthogonality": "orthogonality",
}


@dataclass(frozen=True)
class Options:
    """How an experiment is run.

    Attributes:
        tier: "quick", "cpu" or "gpu".
        seeds: of every contender: 0, 1, …
        out: folder of report, figures and runs.
        workers: processes at a time; see :func:`schmidt.experiments.reproduce.runs.run_all`.
        progress: show bars.
    """

    tier: str
    seeds: int
    out: Path
    workers: int | None = None
    progress: bool = True

    @property
    def device(self) -> str:
        return "cuda" if self.tier == "gpu" else "cpu"


@dataclass(frozen=True)
class Study:
    """The records of all contenders.

    Attributes:
        contenders: in the order of the tables.
        runs: label → one record per seed.
        folders: label → the folder of the first seed that did not fail, for pictures.
    """

    contenders: tuple[Contender, ...]
    runs: dict[str, list[Record]]
    folders: dict[str, Path]

    def good(self, label: str) -> list[Record]:
        """The records of a label without those that failed."""
        return [r for r in self.runs[label] if "failed" not in r]

    def values(self, key: str) -> dict[str, np.ndarray]:
        """One number per seed for every label."""
        return {label: table.over_seeds(records, key) for label, records in self.runs.items()}

    def by_mode(self, key: str) -> dict[str, np.ndarray]:
        """label → (seeds, modes); NaN for what is missing."""
        good = {k: self.good(k) for k in self.runs}
        return {k: np.array([r[key] for r in v], dtype=float) for k, v in good.items() if v}

    def by_method(self, key: str) -> dict[str, np.ndarray]:
        """The same under the names of methods, of the first contender that uses each."""
        out: dict[str, np.ndarray] = {}
        values = self.values(key)
        for contender in self.contenders:
            out.setdefault(contender.method, values[contender.label])
        return out


def run(contenders: Sequence[Contender], options: Options) -> Study:
    """Train every contender from every seed, as far as that is not on disk already."""
    root = options.out / RUNS
    tasks = [
        TrainingRun(c.label, c.method, c.recipe, seed, options.device)
        for seed in range(options.seeds)
        for c in contenders
    ]
    found = run_all(tasks, root, options.workers, options.progress)
    runs: dict[str, list[Record]] = {c.label: [] for c in contenders}
    folders: dict[str, Path] = {}
    for task, record in zip(tasks, found, strict=True):
        runs[task.label].append(record)
        if "failed" not in record:
            folders.setdefault(task.label, task.folder(root))
    return Study(tuple(contenders), runs, folders)


def part(whole: Study, contenders: Sequence[Contender]) -> Study:
    """The study of some of the contenders."""
    labels = [c.label for c in contenders]
    return Study(
        tuple(contenders),
        {k: whole.runs[k] for k in labels},
        {k: v for k, v in whole.folders.items() if k in labels},
    )


def show_numbers(study: Study, report: Report, published: Mapping[str, float]) -> None:
    """The table and the bars (Fig. 4), with the paper's numbers beside ours."""
    report.heading("Numbers")
    report.text(
        table.results(study.runs, published=published),
        "Mean ± standard deviation over seeds, in brackets the 20 % and 80 % quantiles. Errors of "
        "eigenvalues are those of Rayleigh quotients of the functions as learned, without nesting "
        "of Ritz values; angles and subspace distances are means over modes and over degenerate "
        "levels (E.1.3). SpIN's functions and those without nesting are orthonormal by "
        "construction, lost ones aside. Memory is what training took on top of the process before "
        "it.",
    )
    if lost := _lost(study):
        report.items(lost)
    failures = [
        f"{label}: {r['failed']}"
        for label, records in study.runs.items()
        for r in records
        if "failed" in r
    ]
    if failures:
        report.text("Runs that failed:")
        report.items(failures)
    panels = {title: study.values(key) for title, key in BARS.items()}
    report.figure(
        "comparison.png",
        pictures.bars(panels, {"relative eigenvalue error": published}),
        "As Fig. 4: means over seeds, dots are seeds, whiskers quantiles, diamonds the paper's",
    )
    report.numbers["runs"] = study.runs


def _lost(study: Study) -> list[str]:
    """Functions that became zero although there is a state for them."""
    lines = []
    for contender in study.contenders:
        recipe, good = contender.recipe, study.good(contender.label)
        gone = [sum(v is None for v in r["values"][: recipe.judged]) for r in good]
        if any(gone):
            lines.append(
                f"{contender.label}: {max(gone)} of {recipe.judged} directions were lost in "
                f"{sum(map(bool, gone))} of {len(good)} runs, their functions having shrunk to "
                f"zero; one alone is a subspace distance of {1 / recipe.judged:.2g} over all modes"
            )
    return lines


def show_modes(study: Study, report: Report) -> None:
    """Every mode with its quantiles over seeds (Fig. 7)."""
    recipe = study.contenders[0].recipe
    exact = model.exact_values(recipe)[: recipe.judged]
    cuts = [g.stop for g in degenerate_groups(exact)[:-1]]
    low, high = -0.3 * exact.max(), 1.5 * exact.max()
    values = {k: v[:, : recipe.judged].clip(low, high) for k, v in study.by_mode("values").items()}
    panels = {
        "value": values,  # a function that is lost can have any quotient
        "relative eigenvalue error": study.by_mode("relative_error"),
        "angle": study.by_mode("angle"),
    }
    report.figure(
        "modes.png",
        pictures.bands(panels, {"value": exact}, cuts, linear=("value",)),
        "As Fig. 7: every mode, mean over seeds and 20 % to 80 % quantiles; thin lines end a level",
    )


def show_functions(study: Study, report: Report) -> None:
    """The functions of the first seed, aligned inside degenerate levels (Fig. 3)."""
    recipe = max((c.recipe for c in study.contenders), key=lambda r: r.judged)
    exact, reaches = judge.truth(model.problem(recipe), recipe.judged)
    values = model.exact_values(recipe)
    rows: dict[str, Any] = {}
    overlaps: dict[str, np.ndarray] = {}
    for label, folder in study.folders.items():
        rows[label], overlaps[label] = judge.pictures(folder)
    rows["exact"] = exact
    titles = [f"{v:.3g}" for v, _ in zip(values, reaches, strict=False)]
    report.figure(
        "functions.png",
        plotting.side_by_side(rows, [(-r, r) for r in reaches], titles, overlaps),
        "As Fig. 3: functions of the first seed, rotated onto the exact ones inside each level; "
        "at the end the overlaps of those as learned (white 0, black 1)",
    )


def show_order(
    study: Study, report: Report, methods: Sequence[str], what: str = "relative eigenvalue error"
) -> None:
    """Is the order of errors the paper's?"""
    here = [m for m in methods if any(c.method == m for c in study.contenders)]
    names = {m: paper.NAMES[m] for m in here}
    values = {names[m]: v for m, v in study.by_method("error").items() if m in names}
    if len(here) > 1:
        paper.show_order(chain(what, values, [names[m] for m in here]), report)


def published(contenders: Sequence[Contender], problem: str) -> dict[str, float]:
    """The paper's error for every contender that it has: at the same batch, else at 512, else at
    128."""
    out = {}
    for c in contenders:
        for batch in (c.recipe.batch, 512, 128):
            value = paper.ERROR.get((problem, c.method, batch))
            if value is not None:
                out[c.label] = value
                break
    return out


def show_disagreement(
    study: Study,
    report: Report,
    numbers: Mapping[str, float],
    theirs: Recipe,
    remarks: Sequence[str],
) -> None:
    """Where our numbers and the paper's differ, and why."""
    report.heading("Beside the paper")
    lines = []
    for label, value in numbers.items():
        found = statistics(study.values("error")[label])
        if found.count:
            lines.append(beside(label, found.mean, value))
    report.items(lines or ["the paper has no numbers for this"])
    ours = study.contenders[0].recipe
    report.text("What is different from the paper's run, and so can be why:")
    report.items([*reasons(ours, theirs), *remarks])
