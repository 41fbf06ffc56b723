"""Eigenproblems: error against time of the Ritz solver, beside targets, classical and neural peers.

    python benchmarks/eigen.py                            # ten problems, 5 seeds each
    python benchmarks/eigen.py --only hydrogen2d box5d --seeds 2
    python benchmarks/eigen.py --peers --neural --json eigen.json

Nothing else should run beside it: the solver searches for as long as its budget lasts. Default
settings throughout; no flag knows the problem. Seconds are those of the whole call, from finding
the space to the certificate. Errors are |E − E_exact|/|E_exact| of energies E, mean over the modes:

- reported: the values that the solver returns;
- on fresh points: Ritz values of the returned functions by least squares, on a quadrature with at
  least four times the points used (d ≤ 3), or on 262144 new Sobol points;
- certified and estimated: what the solver says of itself, the confidence radius of the residual
  and the quadratic estimate.

A target is met if the worst seed meets it, in time and in both errors.

Peers (peers.py; quartic elements where scikit-fem is installed) run on one thread and are told what
a grid needs: walls, a typical energy, widths, grading, a shift in the gap. They do not use that
most of these problems are sums of one-dimensional ones, or radial, and fall in milliseconds to
whoever does; neither does the Ritz solver. In the plane they are hard to beat, and should be used;
in many dimensions their grids run out of memory or time. Where a peer reaches a smaller error in no
more time, the table says so. Sines diagonalise the box: that Galerkin row is shown, not counted.

Plain NeuralSVD trains the default network sequentially, for about the seconds of the Ritz solver,
on the leading modes with positive values of T; held-out Ritz values are included in its time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from eigen_row import TASKS, Record, Task, classical, neural, solved

from schmidt.storage import write_json


@dataclass(frozen=True)
class Options:
    """Error against time for eigenproblems."""

    seeds: int = 5
    """Seeds 0, 1, …"""
    threads: int = 2
    """Threads of torch."""
    only: tuple[str, ...] = tuple(TASKS)
    """Which rows."""
    peers: bool = False
    """Also run the classical peers, one thread each."""
    peers_budget: float = 60.0
    """Seconds for all peers of one row; the largest run may take most of it."""
    neural: bool = False
    """Also train plain NeuralSVD for as long as the Ritz solver took."""
    neural_seeds: int = 1
    """Seeds of NeuralSVD."""
    json: Path | None = None
    """Also write all numbers here, after every row."""


def spread(runs: list[Record], key: str, digits: str = ".1e") -> str:
    numbers = [run[key] for run in runs]
    return f"{np.mean(numbers):{digits}} (worst {max(numbers):{digits}})"


def met(task: Task, runs: list[Record]) -> str:
    """By the worst seed, by the mean only, or not."""
    keys = (("error", task.error), ("fresh", task.error), ("seconds", task.seconds))
    if all(max(run[key] for run in runs) <= most for key, most in keys):
        return "met"
    means = {key: float(np.mean([run[key] for run in runs])) for key, _ in keys}
    missed = " and ".join(key for key, most in keys if means[key] > most)
    return f"not met ({missed})" if missed else "met by the mean, not by the worst seed"


def verdict(runs: list[Record], rows: list[Record]) -> str:
    """Who reaches less error in no more time, and which grids no longer fit into memory."""
    seconds, error = (float(np.mean([run[key] for run in runs])) for key in ("seconds", "error"))
    honest = [r for r in rows if r["error"] is not None and r["counts"]]
    parts = []
    in_time = [r for r in honest if r["seconds"] <= seconds]
    if in_time:
        best = min(in_time, key=lambda r: r["error"])
        name = "classical wins" if best["error"] <= error else "Ritz wins"
        parts.append(f"{name}: {best['method']} {best['error']:.1e} in {best['seconds']:.3g} s")
    else:
        parts.append("Ritz alone: no peer that counts had a result in that time")
    parts += [
        f"{r['method']} does not fit from {r['size']} on ({r['bytes'] / 2**30:.0f} GiB)"
        for r in rows
        if r["note"].startswith("does not fit")
    ]
    return "; ".join(parts)


def peer_lines(rows: list[Record], seconds: float) -> Iterator[str]:
    yield "| peer | best error | at size | unknowns | seconds | error in the Ritz time | then |"
    yield "|---|---|---|---|---|---|---|"
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        done = [row for row in mine if row["error"] is not None]
        then = "; ".join(f"{r['size']}: {r['note']}" for r in mine if r["note"])
        label = method if mine[0]["counts"] else f"{method} (diagonal: does not count)"
        if not done:
            yield f"| {label} | – | – | – | – | – | {then} |"
            continue
        best = min(done, key=lambda r: r["error"])
        soon = [row["error"] for row in done if row["seconds"] <= seconds]
        yield (
            f"| {label} | {best['error']:.1e} | {best['size']} | {best['unknowns']} "
            f"| {best['seconds']:.3g} | {f'{min(soon):.1e}' if soon else '–'} | {then} |"
        )


def row(name: str, options: Options) -> Record:
    """Everything asked for on one problem, printed as it comes."""
    task = TASKS[name]
    out: Record = {"name": name, "title": task.title, "ritz": []}
    print(f"\n**{task.title}** (target {task.error:.0e} in {task.seconds:.0f} s)\n")
    print("| seed | seconds | error | worst mode | on fresh points | certified | estimated "
          "| features | trials | alarms |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|")
    runs: list[Record] = out["ritz"]
    for seed in range(options.seeds):
        r = solved(task, seed)
        runs.append(r)
        print(
            f"| {seed} | {r['seconds']:.1f} | {r['error']:.1e} | {r['worst_mode']:.1e} "
            f"| {r['fresh']:.1e} | {r['certified']:.1e} | {r['estimated']:.1e} "
            f"| {r['features']} | {r['trials']} | {len(r['alarms'])} |",
            flush=True,
        )
    for alarm in dict.fromkeys(a for r in runs for a in r["alarms"]):
        print(f"\nalarm: {alarm}")
    seconds = float(np.mean([r["seconds"] for r in runs]))
    if options.peers:
        out["peers"] = classical(task, options.peers_budget)
        print("\n" + "\n".join(peer_lines(out["peers"], seconds)), flush=True)
        torch.set_num_threads(options.threads)
    if options.neural:
        print("\n| NeuralSVD, seed | modes | steps | seconds | error | worst mode |")
        print("|---|---|---|---|---|---|")
        out["neural"] = []
        for seed in range(options.neural_seeds):
            n = neural(task, seconds, seed)
            out["neural"].append(n)
            print(
                f"| {seed} | {n['modes']} | {n['steps']} | {n['seconds']:.1f} "
                f"| {n['error']:.1e} | {n['worst_mode']:.1e} |",
                flush=True,
            )
    return out


def summary(rows: list[Record]) -> None:
    print("\n| problem | seconds | error | on fresh points | target | | peers | NeuralSVD |")
    print("|---|---|---|---|---|---|---|---|")
    for r in rows:
        task, runs = TASKS[r["name"]], r["ritz"]
        against = verdict(runs, r["peers"]) if "peers" in r else ""
        learned = ""
        if r.get("neural"):
            learned = f"{np.mean([n['error'] for n in r['neural']]):.1e}"
            learned += f" ({r['neural'][0]['modes']} modes)"
        print(
            f"| {task.title} | {spread(runs, 'seconds', '.1f')} | {spread(runs, 'error')} "
            f"| {spread(runs, 'fresh')} | {task.error:.0e} in {task.seconds:.0f} s "
            f"| {met(task, runs)} | {against} | {learned} |"
        )


def main(options: Options) -> None:
    unknown = [name for name in options.only if name not in TASKS]
    if unknown or options.seeds < 1:
        raise SystemExit(f"unknown: {', '.join(unknown)}; known: {', '.join(TASKS)}; seeds ≥ 1")
    torch.set_num_threads(options.threads)
    print(f"Ritz solver, default settings, {options.seeds} seeds, {options.threads} threads")
    rows: list[Record] = []
    for name in options.only:
        rows.append(row(name, options))
        if options.json:
            write_json(options.json, {"threads": options.threads, "rows": rows})
    summary(rows)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
