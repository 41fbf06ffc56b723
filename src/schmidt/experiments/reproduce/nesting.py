"""Nesting beside Rayleigh–Ritz: ordered functions at once, or a span first (A.2)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from schmidt import plotting
from schmidt.experiments.reproduce import hydrogen, paper, pictures, study, table
from schmidt.experiments.reproduce.model import HYDROGEN, METHODS, SPAN_RECIPES, Contender
from schmidt.experiments.reproduce.paper import beside, compared, reasons
from schmidt.experiments.reproduce.study import Options, Study
from schmidt.report import Report, cell, markdown_table, statistics

STAGES = {"as learned": "learned_error", "after Rayleigh–Ritz": "ritz_error"}


def contenders(tier: str) -> list[Contender]:
    """Sequential, joint and no nesting."""
    return [
        Contender(label, method, SPAN_RECIPES[tier])
        for label, method in METHODS.items()
        if method in ("sequential", "joint", "none")
    ]


def experiment(options: Options, chosen: list[Contender] | None = None) -> Report:
    """Train, judge and report."""
    everyone = chosen or contenders(options.tier)
    found = study.run(everyone, options)
    recipe = everyone[0].recipe
    report = Report(f"Nesting and Rayleigh–Ritz, tier {options.tier}")
    report.text(
        f"Hydrogen atom in the plane, {recipe.modes} modes, {options.seeds} seeds, "
        f"{recipe.steps:,} steps of {recipe.batch} points. Without nesting training finds a span "
        "only, and a Rayleigh–Ritz step in it finds the functions. That step is open to nested "
        "functions too."
    )
    report.heading("Is the nested span no worse?")
    names = paper.NAMES
    spans = {names[m]: v for m, v in found.by_method("subspace_total").items() if m in names}
    pairs = [(names[a], names[b]) for a, b in paper.SUBSPACE_ORDER]
    paper.show_order(
        compared("subspace distance over all modes", spans, pairs, strict=False), report
    )
    report.heading("Numbers")
    report.text(
        _table(found),
        "Mean ± standard deviation over seeds, in brackets the 20 % and 80 % quantiles. As "
        "learned: Rayleigh quotients of the single functions.",
    )
    report.figure("nesting.png", _figure(found), "Spans, and values before and after Rayleigh–Ritz")
    _by_points(found, report)
    _paper(found, report)
    report.numbers["runs"] = found.runs
    return report


def _table(found: Study) -> str:
    headings = ["", "seeds", "subspace distance, all modes", *(f"error {s}" for s in STAGES)]
    headings += ["orthogonality", "seconds"]
    rows = []
    for label, records in found.runs.items():
        cells = [
            cell(statistics(table.over_seeds(records, key)), style)
            for key, style in (
                ("subspace_total", ".1e"),
                *((key, ".1e") for key in STAGES.values()),
                ("orthogonality", ".1e"),
                ("seconds", ".0f"),
            )
        ]
        rows.append([label, str(len(records)), *cells])
    return markdown_table(headings, rows)


def _figure(found: Study) -> plotting.Figure:
    published = {
        c.label: paper.SUBSPACE[c.method][0] for c in found.contenders if c.method in paper.SUBSPACE
    }
    panels = {"subspace distance, all modes": found.values("subspace_total")}
    panels |= {f"error {stage}": found.values(key) for stage, key in STAGES.items()}
    return pictures.bars(panels, {"subspace distance, all modes": published})


def _by_points(found: Study, report: Report) -> None:
    """What estimating ⟨φ_i|Tφ_j⟩ costs the second stage."""
    label = next((c.label for c in found.contenders if c.method == "none"), None)
    records = found.good(label) if label else []
    if not records:
        return
    report.heading("The second stage from random points")
    rows = [
        [n, cell(statistics([r["ritz_by_points"][n] for r in records]))]
        for n in records[0]["ritz_by_points"]
    ]
    rows.append(["quadrature", cell(statistics(table.over_seeds(records, "ritz_error")))])
    report.text(
        "Rayleigh–Ritz needs ⟨φ_i|T φ_j⟩ and ⟨φ_i|φ_j⟩. From few points of the training law, they "
        "add an error of their own, as A.2 says; it ends where points are plenty:",
        markdown_table(["points", "error of the Ritz values"], rows),
    )


def _paper(found: Study, report: Report) -> None:
    report.heading("Beside the paper")
    lines = []
    for contender in found.contenders:
        ours = statistics(found.values("subspace_total")[contender.label])
        if ours.count and contender.method in paper.SUBSPACE:
            lines.append(
                "subspace distance, "
                + beside(contender.label, ours.mean, paper.SUBSPACE[contender.method][0])
            )
    after = {k: float(np.nanmean(v)) for k, v in found.values("ritz_error").items()}
    before = {k: float(np.nanmean(v)) for k, v in found.values("learned_error").items()}
    for label in after:
        if np.isfinite(after[label]) and label in before:
            lines.append(
                f"{label}: a Rayleigh–Ritz step takes the error of the values from "
                f"{before[label]:.1e} to {after[label]:.1e}"
            )
    report.items(lines)
    report.text("What is different from the paper's run, and so can be why:")
    theirs = replace(HYDROGEN, modes=HYDROGEN.judged)
    report.items([*reasons(found.contenders[0].recipe, theirs), *hydrogen.REMARKS])
