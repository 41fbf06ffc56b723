"""``schmidt reproduce``: the paper's experiments, beside what the paper reports."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.markup import escape

from schmidt.experiments.reproduce import SEEDS, InterruptedRuns, Options
from schmidt.experiments.reproduce import reproduce as run
from schmidt.parameters import Number
from schmidt.report.terminal import check_flags, claim

FLAGS = {
    "--seeds": Number(1, whole=True),
    "--workers": Number(0, whole=True),
}


@dataclass(frozen=True)
class ReproduceOptions:
    """Which experiment, how large, and where to put the results."""

    experiment: tyro.conf.Positional[Literal["hydrogen", "oscillator", "lobpcg", "nesting"]]
    """hydrogen: all methods (Fig. 3, 4a, 7a). oscillator: methods, norms, the shift (Fig. 4b, 7b,
    Remark E.1). lobpcg: grids beside networks (Fig. 6). nesting: or Rayleigh–Ritz (A.2)."""
    tier: Literal["quick", "cpu", "gpu"] = "quick"
    """quick: small, up to 5 minutes. cpu: the paper's networks made smaller, up to an hour. gpu:
    the paper's networks and numbers of steps."""
    seeds: Annotated[
        int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="(default: 2, cpu and gpu 3)")
    ] = None
    """Seeds of every method; the paper has 10."""
    workers: Annotated[
        int | None,
        tyro.conf.arg(metavar="INT", help_behavior_hint="(default: one per core, on a GPU one)"),
    ] = None
    """Runs at a time, each in a process of its own with one thread."""
    out: Annotated[
        Path | None,
        tyro.conf.arg(
            metavar="DIR", help_behavior_hint="(default: schmidt-out/reproduce-EXPERIMENT)"
        ),
    ] = None
    """Directory for report.md, results.json, figures and runs."""


def reproduce(options: Annotated[ReproduceOptions, tyro.conf.arg(name="")]) -> int:
    """Run an experiment of the NeuralSVD paper (Ryu et al. 2024) and put it beside its results.

    Writes a report with tables over seeds and the paper's figures, and says whether the paper's
    order of methods is found. What is finished is kept: the same command goes on where it stopped.
    """
    console = Console()
    check_flags(FLAGS, options)
    out = claim(options.out or Path("schmidt-out") / f"reproduce-{options.experiment}")
    seeds = SEEDS[options.tier] if options.seeds is None else options.seeds
    begin = time.perf_counter()
    try:
        report = run(options.experiment, Options(options.tier, seeds, out, options.workers))
    except InterruptedRuns as error:
        console.print(str(error))
        return 130
    written = report.write(out)
    console.print(f"[bold]{report.title}[/]\n", highlight=False)
    for line in report.headlines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    names = ", ".join(p.name for p in written)
    console.print(
        f"\nin [bold]{escape(str(out))}[/]: {names}  ({time.perf_counter() - begin:.0f} s)"
    )
    return 0
