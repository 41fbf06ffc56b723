"""The hydrogen atom in the plane: all methods side by side (4.1, Fig. 3, 4a, 7a)."""

from __future__ import annotations

from dataclasses import replace

from schmidt.experiments.reproduce import paper, study, table
from schmidt.experiments.reproduce.model import (
    HYDROGEN,
    HYDROGEN_RECIPES,
    METHODS,
    PAPERS_OWN,
    SMALL_BATCH,
    SPIN,
    Contender,
)
from schmidt.experiments.reproduce.paper import compared
from schmidt.experiments.reproduce.study import Options, Study
from schmidt.report import Report

REMARKS = (
    "the Laplacian is exact; the paper's finite differences with ε = 0.01 cost about 1.6e-3 in "
    "single precision, a floor under its errors",
    "errors are judged on a quadrature that is fine at the origin, the paper's on uniform points",
    "the paper's numbers are read off its figures, to about ±20 %",
)


def contenders(tier: str) -> list[Contender]:
    """All methods; in the full tier at both batch sizes, SpIN as the paper ran it."""
    recipe = HYDROGEN_RECIPES[tier]
    if tier != "gpu":
        return [Contender(label, method, recipe) for label, method in METHODS.items()]
    out = []
    for label, method in METHODS.items():
        if method == "spin":
            out.append(Contender(label, method, SPIN))
            continue
        out.append(Contender(label, method, recipe))
        if method != "none":
            small = replace(recipe, batch=SMALL_BATCH)
            out.append(Contender(f"{label} {SMALL_BATCH}", method, small))
    return out


def papers_own(tier: str) -> list[Contender]:
    """In the cpu tier: how far the paper's kind of network and optimizer come in its time."""
    return [
        Contender(f"{label}, the paper's set-up", method, PAPERS_OWN)
        for label, method in METHODS.items()
        if tier == "cpu" and method in ("sequential", "joint", "neuralef")
    ]


def experiment(
    options: Options,
    chosen: list[Contender] | None = None,
    own: list[Contender] | None = None,
) -> Report:
    """Train, judge and report."""
    everyone = chosen or contenders(options.tier)
    others = papers_own(options.tier) if own is None else own
    whole = study.run([*everyone, *others], options)
    found = study.part(whole, everyone)
    report = Report(f"Hydrogen atom in the plane, tier {options.tier}")
    recipe = everyone[0].recipe
    report.text(
        f"T = ∇² + 1/|x|, {recipe.judged} modes, {options.seeds} seeds, {recipe.steps:,} steps of "
        f"{recipe.batch} points; optimizer, inputs, sampling and stabilisers are the same for all "
        "methods.",
        paper.WHAT,
    )
    report.heading("Does the paper's order hold?")
    study.show_order(found, report, paper.ERROR_ORDER)
    names = paper.NAMES
    spans = {names[m]: v for m, v in found.by_method("subspace_total").items() if m in names}
    pairs = [(names[a], names[b]) for a, b in paper.SUBSPACE_ORDER]
    paper.show_order(
        compared("subspace distance over all modes", spans, pairs, strict=False), report
    )
    numbers = study.published(everyone, "hydrogen")
    study.show_numbers(found, report, numbers)
    study.show_modes(found, report)
    study.show_functions(found, report)
    study.show_disagreement(found, report, numbers, HYDROGEN, REMARKS)
    if others:
        _show_own(study.part(whole, others), report)
    report.numbers["runs"] = whole.runs
    return report


def _show_own(found: Study, report: Report) -> None:
    recipe = found.contenders[0].recipe
    report.heading("The paper's kind of network, points and optimizer")
    report.text(
        f"{recipe.modes} modes, {recipe.frequencies} random Fourier features, hidden layers "
        f"{list(recipe.hidden)}, independent points, RMSprop: {recipe.steps:,} steps, "
        f"the {HYDROGEN.steps // recipe.steps}th part of the paper's.",
        table.results(found.runs),
    )
    study.show_order(found, report, paper.ERROR_ORDER, "error with the paper's set-up")
