"""Coverage: how often the Ritz solver's error bounds hold, over many seeds and problems.

    python benchmarks/certified.py --json certified.json       # 18 problems, 100 seeds, 5 s each
    python benchmarks/certified.py --only torus2d morse --seeds 10 --workers 1
    python benchmarks/certified.py --families 25 --json families.json   # random potentials

All self-adjoint problems with a known spectrum and d ≤ 3. A run counts as covered if *all* its
modes are:

- some value: every interval [μ − radius, μ + radius] holds an exact eigenvalue, of which 64 more
  than there are modes are known (continuous spectrum, where there is any, does not count);
- by index: |μ_l − λ_l| ≤ radius_l, so no state was skipped either, which a residual cannot promise;
- estimate: |μ_l − λ_l| ≤ estimate_l, the quadratic bound with an estimated gap.

All radii of a result hold together but for a probability of at most 1e-6; the estimate is promised
nothing. References are not exact: allowed are 1e-13 of the largest of |λ|, |E| and the
shift for rounding, 1e-11 for double-well, whose reference is numerical. "saved" counts the runs
with some miss that this allowance forgives, by radius + by estimate; ratios take errors smaller
than it to be as large as it. "silent" counts runs with an uncovered interval or index and no alarm.

The budget is counted work, so runs are alike on every machine; every worker has one thread. With
--families N the potentials are random, from twelve families (``families.py``). With --json, what
was finished is kept, and not run again: use a new file after a change of the solver.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import time
import traceback
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import families
import numpy as np
import torch
import tyro

from schmidt.problems import Problem, named, ritz
from schmidt.problems.solution import numbers
from schmidt.storage import read_json, write_json

PROBLEMS: dict[str, tuple[str, int | None]] = {
    "hydrogen2d": ("hydrogen2d", None),
    "hydrogen3d": ("hydrogen3d", None),
    "oscillator1d": ("oscillator", 1),
    "oscillator2d": ("oscillator2d", None),
    "oscillator3d": ("oscillator", 3),
    "coupled-oscillators2d": ("coupled-oscillators", 2),
    "coupled-oscillators3d": ("coupled-oscillators", 3),
    "well2d": ("well2d", None),
    "box1d": ("box", 1),
    "box3d": ("box", 3),
    "torus1d": ("torus", 1),
    "torus2d": ("torus", 2),
    "torus3d": ("torus", 3),
    "cosine1d": ("cosine", 1),
    "cosine2d": ("cosine", 2),
    "cosine3d": ("cosine", 3),
    "morse": ("morse", None),
    "double-well": ("double-well", None),
}
MORE = 64
ROUNDING = 1e-13
REFERENCE = {"double-well": 1e-11}
SAVE_EVERY = 20.0  # seconds
SHOWN = 8  # misses listed per problem
Record = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """Coverage of error bounds."""

    seeds: int = 100
    """Seeds 0, 1, …"""
    budget: float = 5.0
    """Seconds per run; one that takes six times as long, and over 30, counts as failed."""
    workers: int = 2
    """Processes, one thread each."""
    only: tuple[str, ...] = tuple(PROBLEMS)
    """Which problems."""
    families: int = 0
    """Instead: so many random potentials per family and dimension."""
    dims: tuple[int, ...] = (1, 2)
    """With --families: the dimensions."""
    minutes: float | None = None
    """With --families: stop after so long; what is in the file is kept."""
    json: Path | None = None
    """Keep all runs here, and go on from what it holds."""


@cache
def made(name: str) -> Problem:
    return named(*PROBLEMS[name])


def quiet() -> None:
    """In every worker: one thread, and Ctrl-C is for the parent."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def limit(budget: float) -> int:
    """Seconds after which a run counts as failed."""
    return max(30, math.ceil(6 * budget))


def _late(number: int, frame: object) -> None:
    raise TimeoutError("ran past six times its budget")


def run(task: tuple[str, int, float]) -> tuple[str, int, Record]:
    """(problem, seed, budget) → one answer and its bounds; what was raised, if there is none."""
    name, seed, budget = task
    problem = made(name)
    begin = time.perf_counter()
    signal.signal(signal.SIGALRM, _late)
    signal.alarm(limit(budget))
    try:
        found = ritz(problem, budget=budget, seed=seed, progress=False).found
    except Exception:
        return name, seed, {"failed": traceback.format_exc()}
    finally:
        signal.alarm(0)
    record = {
        "values": numbers(found.values),
        "residual": numbers(found.residual),
        "radius": numbers(found.radius),
        "estimate": numbers(found.estimate),
        "alarms": list(found.certificate.alarms),
        "features": found.functions.mix.shape[0],
        "trials": len(found.trials),
        "seconds": time.perf_counter() - begin,
    }
    return name, seed, record


@dataclass(frozen=True)
class Judged:
    """One run beside the exact values; all arrays (L,)."""

    error: np.ndarray  # |μ_l − λ_l|
    nearest: np.ndarray  # distance of μ_l from the nearest exact value
    radius: np.ndarray
    estimate: np.ndarray
    allowance: np.ndarray  # of the reference
    size: np.ndarray  # |E_l|, for relative errors
    alarmed: bool

    def missed(self, what: str, allow: bool = True) -> np.ndarray:
        """Which modes are not covered; a bound that is not a number covers nothing."""
        distance = self.nearest if what == "some value" else self.error
        bound = self.estimate if what == "estimate" else self.radius
        return ~(distance <= bound + allow * self.allowance)

    def saved(self, *kinds: str) -> bool:
        """Whether only the allowance covers some mode."""
        return any((self.missed(k, False) & ~self.missed(k)).any() for k in kinds)


def judge(name: str, record: Record) -> Judged:
    problem = made(name)
    assert problem.exact is not None
    values = np.array(record["values"], dtype=float)
    modes, offset = len(values), problem.form.offset
    known = problem.exact.values(modes + MORE)
    size = np.abs(offset - known[:modes])
    largest = np.maximum(np.maximum(np.abs(known[:modes]), size), abs(offset))
    return Judged(
        np.abs(values - known[:modes]),
        np.abs(values[:, None] - known).min(1),
        np.array(record["radius"], dtype=float),
        np.array(record["estimate"], dtype=float),
        REFERENCE.get(name, ROUNDING) * largest,
        np.maximum(size, np.ptp(size) / (4 * modes)),  # a zero energy counts as a level spacing
        bool(record["alarms"]),
    )


KINDS = ("some value", "by index", "estimate")
HEAD = (
    "| problem | L | runs | some value | by index | estimate | saved | silent | alarms | failed "
    "| median error | radius/error | estimate/error | worst error/radius | worst error/estimate "
    "| seconds |\n" + "|---" * 16 + "|"
)


def row(name: str, records: dict[str, Record]) -> str:
    """The line of one problem."""
    fine = {seed: r for seed, r in records.items() if "failed" not in r}
    if not fine:
        return f"| {name} | | {len(records)} |" + " – |" * 6 + f" {len(records)} |" + " – |" * 6
    runs = [judge(name, record) for record in fine.values()]
    covered = [np.mean([not j.missed(kind).any() for j in runs]) for kind in KINDS]
    silent = sum((j.missed(KINDS[0]) | j.missed(KINDS[1])).any() and not j.alarmed for j in runs)
    saved = [sum(j.saved(*k) for j in runs) for k in (KINDS[:2], KINDS[2:])]
    error, nearest, allowance, radius, estimate, size = (
        np.concatenate([getattr(j, key) for j in runs])
        for key in ("error", "nearest", "allowance", "radius", "estimate", "size")
    )
    seen = np.maximum(error, allowance)
    return (
        f"| {name} | {len(runs[0].error)} | {len(runs)} | "
        + " | ".join(f"{c:.1%}" for c in covered)
        + f" | {saved[0]} + {saved[1]} | {silent} | {sum(j.alarmed for j in runs)} "
        f"| {len(records) - len(fine)} | {np.median(error / size):.0e} "
        f"| {np.nanmedian(radius / seen):.1e} | {np.nanmedian(estimate / seen):.1e} "
        f"| {_worst(nearest, radius, allowance):.1e} | {_worst(error, estimate, allowance):.1e} "
        f"| {np.mean([r['seconds'] for r in fine.values()]):.1f} |"
    )


def _worst(error: np.ndarray, bound: np.ndarray, allowance: np.ndarray) -> float:
    """max error/bound, what the reference cannot tell left out; covered where not above 1."""
    return float(np.nanmax((error - allowance).clip(0) / np.maximum(bound, 1e-300)))


def misses(name: str, records: dict[str, Record]) -> list[str]:
    """The modes that were not covered, seed by seed, and what was raised."""
    out = []
    for seed, record in sorted(records.items(), key=lambda pair: int(pair[0])):
        if "failed" in record:
            out.append(f"{name}, seed {seed}: {record['failed'].strip().splitlines()[-1]}")
            continue
        j = judge(name, record)
        for kind in KINDS:
            missed = j.missed(kind)
            if not missed.any():
                continue
            distance = j.nearest if kind == "some value" else j.error
            bound = j.estimate if kind == "estimate" else j.radius
            l = int(np.argmax(np.where(missed, distance / np.maximum(bound, 1e-300), 0)))
            out.append(
                f"{name}, seed {seed}, {kind}: {missed.sum()} modes; mode {l + 1} is "
                f"{distance[l]:.2e} off, bound {bound[l]:.2e}, {len(record['alarms'])} alarms"
            )
    return out


def kept(options: Options) -> Record:
    """What the file holds, if it was made with the same settings."""
    settings = {"budget": options.budget}
    if options.json is None or not options.json.exists():
        return {"settings": settings, "runs": {}}
    content: Record = read_json(options.json)
    if content["settings"] != settings:
        raise SystemExit(f"{options.json} holds runs with {content['settings']}, not {settings}")
    return content


def random_potentials(options: Options) -> None:
    """Coverage over families; one process, resumed from the file."""
    torch.set_num_threads(1)
    settings = {"budget": options.budget, "families": True}
    content: Record = {"settings": settings, "runs": {}}
    if options.json is not None and options.json.exists():
        content = read_json(options.json)
        if content["settings"] != settings:
            raise SystemExit(f"{options.json} holds runs with {content['settings']}")
    end = time.monotonic() + 60 * (options.minutes or math.inf)
    runs = content["runs"]
    for seed in range(options.families):
        for dim in options.dims:
            for family in families.FAMILIES:
                key = f"{family} {dim} {seed}"
                if key not in runs and time.monotonic() < end:
                    runs[key] = families.run((family, dim, seed, options.budget))[3]
                    if options.json:
                        write_json(options.json, content)
    chosen = [(k.split()[0], int(k.split()[1]), r) for k, r in runs.items()]
    print(families.table(chosen))


def main(options: Options) -> None:
    if options.families:
        random_potentials(options)
        return
    if unknown := [name for name in options.only if name not in PROBLEMS]:
        raise SystemExit(f"unknown: {', '.join(unknown)}; known: {', '.join(PROBLEMS)}")
    content = kept(options)
    runs: dict[str, dict[str, Record]] = content["runs"]
    todo = [
        (name, seed)
        for seed in range(options.seeds)  # first: what is cut short has met all problems alike
        for name in options.only
        if str(seed) not in runs.setdefault(name, {})
    ]
    left = {name: sum(pair[0] == name for pair in todo) for name in options.only}

    def chosen(name: str) -> dict[str, Record]:
        return {s: r for s, r in runs[name].items() if int(s) < options.seeds}

    def save() -> None:
        if options.json:
            write_json(options.json, content)

    print(f"budget {options.budget:g} s, {options.workers} workers of one thread\n\n{HEAD}")
    for name in options.only:
        if not left[name]:
            print(row(name, chosen(name)), flush=True)
    os.environ["OMP_NUM_THREADS"] = "1"  # for the workers
    patience, saved = 2 * limit(options.budget), time.perf_counter()
    try:
        with multiprocessing.get_context("spawn").Pool(options.workers, quiet) as pool:
            results = pool.imap_unordered(run, [(*pair, options.budget) for pair in todo])
            for _ in todo:
                name, seed, record = results.next(patience)  # or a worker was killed
                runs[name][str(seed)] = record
                left[name] -= 1
                if not left[name]:
                    print(row(name, chosen(name)), flush=True)
                if not left[name] or time.perf_counter() - saved > SAVE_EVERY:
                    save()
                    saved = time.perf_counter()
    finally:
        save()
    print()
    for name in options.only:
        found = misses(name, chosen(name))
        print("".join(f"{line}\n" for line in found[:SHOWN]), end="")
        if len(found) > SHOWN:
            print(f"{name}: … and {len(found) - SHOWN} more")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
