"""The main jobs over several seeds: error, time, and the curve of error against time.

    python benchmarks/seeds.py                      # hydrogen2d and oscillator2d, 5 seeds each
    python benchmarks/seeds.py --problems well2d --seeds 3

Prints a markdown table; every number is on held-out points. Pin the machine yourself: nothing else
should run beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

from schmidt.problems import solve
from schmidt.storage import write_json


@dataclass(frozen=True)
class Options:
    """Run problems with their default settings over several seeds."""

    problems: tuple[str, ...] = ("hydrogen2d", "oscillator2d")
    """Names from `schmidt problems`."""
    seeds: int = 5
    """Seeds 0, 1, …"""
    method: str = "sequential"
    """Nesting."""
    network: str = "disjoint"
    """disjoint or shared."""
    threads: int = 2
    """Threads of torch."""
    json: Path | None = None
    """Also write all reports here."""


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    reports = []
    print(f"{options.method} nesting, {options.network} networks, {options.threads} threads\n")
    print("| problem | seed | mean relative error | worst mode | subspace distance | seconds |")
    print("|---|---|---|---|---|---|")
    for name in options.problems:
        runs = []
        for seed in range(options.seeds):
            solution = solve(name, method=options.method, network=options.network, seed=seed)
            report = solution.report()
            runs.append(report)
            judged = report["judged_modes"]
            worst = max(1.0 if e is None else e for e in report["relative_error"][:judged])
            print(
                f"| {name} | {seed} | {report['mean_relative_error']:.1e} | {worst:.1e} "
                f"| {report['subspace_distance']:.1e} | {report['seconds']:.0f} |",
                flush=True,
            )
        errors = [r["mean_relative_error"] for r in runs]
        print(
            f"| {name} | mean ± s.d. | {np.mean(errors):.1e} ± {np.std(errors):.0e} | "
            f"| {np.mean([r['subspace_distance'] for r in runs]):.1e} "
            f"| {np.mean([r['seconds'] for r in runs]):.0f} |"
        )
        reports += runs
    print("\nmean relative error against time, median over seeds:\n")
    for name in options.problems:
        curves = [
            [(h["seconds"], h["mean_relative_error"]) for h in r["history"] if _monitored(h)]
            for r in reports
            if r["problem"] == name
        ]
        points = np.median(np.array(curves), axis=0)
        print(f"{name}: " + ", ".join(f"{t:.0f} s {e:.0e}" for t, e in points))
    if options.json:
        write_json(options.json, reports)


def _monitored(entry: dict[str, object]) -> bool:
    return "mean_relative_error" in entry


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
