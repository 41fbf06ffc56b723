"""What a Ritz start and a Ritz polish buy in training, at equal time.

    python benchmarks/start_polish.py                       # three problems, 3 seeds, four times
    python benchmarks/start_polish.py --only kernel --seconds 5 20 --seeds 1

Every run gets the same seconds of wall-clock time, from the first step's set-up to the held-out
values; the number of steps is chosen from a short timed run. Compared are the default training,
``polish="ritz"``, ``start="ritz"`` and both. A start is soon lost at the learning rate of a random
one, so runs that start from Ritz use a fifth of it (and are shown at the full rate too).

- hydrogen: hydrogen2d, 16 modes, a differential operator;
- kernel: gaussian-kernel, 6 modes, an integral operator;
- dependence: the canonical dependence kernel of a bivariate Gaussian with correlation 0.8, known
  through pairs that are drawn anew at every step; its six leading singular values are 0.8^k.

Errors are mean relative errors of Ritz values on held-out points.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor, nn

from schmidt.operators import Dependence, Form, Training, fit
from schmidt.problems import named
from schmidt.storage import write_json

RHO = 0.8
RUNS: dict[str, dict[str, Any]] = {
    "training alone": {},
    "polish": {"polish": "ritz"},
    "start": {"start": "ritz", "slower": 5},
    "start, full rate": {"start": "ritz"},
    "start and polish": {"start": "ritz", "polish": "ritz", "slower": 5},
}
TIMED = (10, 40)


@dataclass(frozen=True)
class Case:
    """A form, fresh networks per seed, exact values, and how it is trained."""

    form: Form
    networks: Callable[[int], tuple[nn.Module, nn.Module | None]]
    exact: np.ndarray
    training: Training


def from_problem(name: str) -> Case:
    problem = named(name)
    assert problem.exact is not None
    return Case(
        problem.form,
        lambda seed: problem.networks("disjoint", None, seed=seed),
        problem.exact.values(problem.modes),
        problem.training,
    )


def dependence(modes: int = 6) -> Case:
    def pairs(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        x, noise = torch.randn(2, n, 1, generator=generator, dtype=torch.float64)
        return x, RHO * x + (1 - RHO**2) ** 0.5 * noise

    def mlp() -> nn.Module:
        return nn.Sequential(
            nn.Linear(1, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, modes)
        )

    def networks(seed: int) -> tuple[nn.Module, nn.Module]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return mlp(), mlp()

    held_out = pairs(2**16, torch.Generator().manual_seed(99))
    form = Dependence(pairs, held_out)
    training = Training(batch=2048, lr=5e-3)
    return Case(form, networks, RHO ** np.arange(1, modes + 1), training)


CASES: dict[str, Callable[[], Case]] = {
    "hydrogen": lambda: from_problem("hydrogen2d"),
    "kernel": lambda: from_problem("gaussian-kernel"),
    "dependence": dependence,
}


@dataclass(frozen=True)
class Options:
    """Ritz start and polish at equal time."""

    only: tuple[str, ...] = tuple(CASES)
    """Which problems."""
    seconds: tuple[float, ...] = (5.0, 10.0, 20.0, 40.0)
    """Times to compare at."""
    seeds: int = 3
    """Seeds 0, 1, …"""
    threads: int = 1
    """Threads of torch."""
    json: Path | None = None
    """Also write all numbers here."""


def run(case: Case, seed: int, steps: int, how: dict[str, Any]) -> tuple[float, float]:
    """(seconds, error) of one training of so many steps, everything included."""
    begin = time.perf_counter()
    how = dict(how)
    rate = case.training.lr / how.pop("slower", 1)
    training = replace(case.training, steps=steps, lr=rate, seed=seed, warmup=min(50, steps))
    right, left = case.networks(seed)
    result = fit(case.form, right, left, training=training, progress=False, **how)
    values = np.zeros(len(case.exact))  # a missing value is an error of one
    found = np.asarray(result.factorization.values)[: len(values)]
    values[: len(found)] = found
    seconds = time.perf_counter() - begin
    return seconds, float(np.mean(np.abs(values - case.exact) / case.exact))


def steps_for(case: Case, seconds: float, how: dict[str, Any]) -> int:
    """How many steps fit: a step is timed without what comes before and after the training."""
    few, more = (run(case, 0, steps, {})[0] for steps in TIMED)
    each = (more - few) / (TIMED[1] - TIMED[0])
    few = run(case, 0, TIMED[0], how)[0]
    return max(1, round((seconds - few) / each) + TIMED[0])


def main(options: Options) -> None:
    if unknown := [name for name in options.only if name not in CASES]:
        raise SystemExit(f"unknown: {', '.join(unknown)}; known: {', '.join(CASES)}")
    torch.set_num_threads(options.threads)
    rows: list[dict[str, Any]] = []
    for name in options.only:
        case = CASES[name]()
        print(f"\n**{name}**, {options.seeds} seeds, mean relative error (seconds, steps)\n")
        print("| | " + " | ".join(f"{s:g} s" for s in options.seconds) + " |")
        print("|---" * (1 + len(options.seconds)) + "|")
        run(case, 0, 5, {"polish": "ritz"})  # warm
        for label, how in RUNS.items():
            cells = []
            for seconds in options.seconds:
                steps = steps_for(case, seconds, how)
                found = [run(case, seed, steps, how) for seed in range(options.seeds)]
                took, errors = (np.array(column) for column in zip(*found, strict=True))
                rows.append(
                    {
                        "problem": name,
                        "run": label,
                        "asked": seconds,
                        "seconds": took.tolist(),
                        "steps": steps,
                        "errors": errors.tolist(),
                    }
                )
                cells.append(f"{errors.mean():.1e} ({took.mean():.1f}, {steps})")
            print(f"| {label} | " + " | ".join(cells) + " |", flush=True)
        if options.json:
            write_json(options.json, {"threads": options.threads, "rows": rows})


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
