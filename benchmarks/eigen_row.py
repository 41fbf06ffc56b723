"""One row of eigen.py: the Ritz solver, the classical peers, and NeuralSVD on the same problem."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import peers
import torch

from schmidt.operators.measures import Points
from schmidt.operators.ritz import Ritz
from schmidt.operators.ritz.collocation import refine
from schmidt.problems import Problem, named, ritz, train

FRESH = 2**18
FRESH_SEED = 1_000_003
TIMED_STEPS = (15, 45)
Record = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """A problem, how many modes, and what should be reached: error and seconds.

    ``peer`` is the case of peers.py with the same operator; ``galerkin`` is False where already the
    smallest basis with enough functions would take hours, which ``sweep`` cannot know beforehand.
    """

    name: str
    dim: int | None
    modes: int
    error: float
    seconds: float
    peer: str
    galerkin: bool = True

    @property
    def problem(self) -> Problem:
        return named(self.name, self.dim)

    @property
    def title(self) -> str:
        where = "" if self.dim is None or f"{self.dim}d" in self.name else f", d = {self.dim}"
        return f"{self.name}{where}, {self.modes} modes"


TASKS = {
    "hydrogen2d": Task("hydrogen2d", None, 16, 1e-8, 15, "hydrogen2d"),
    "oscillator2d": Task("oscillator2d", None, 28, 1e-8, 15, "oscillator2d"),
    "hydrogen3d": Task("hydrogen3d", None, 14, 1e-6, 30, "hydrogen3d"),
    "oscillator5d": Task("oscillator", 5, 21, 1e-6, 60, "oscillator5d"),
    "oscillator10d": Task("oscillator", 10, 11, 5e-6, 60, "oscillator10d"),
    "oscillator10d-66": Task("oscillator", 10, 66, 3e-4, 300, "oscillator10d", galerkin=False),
    "double-well": Task("double-well", None, 16, 1e-6, 30, "double-well"),
    "morse": Task("morse", None, 16, 1e-6, 30, "morse"),
    "cosine": Task("cosine", 2, 16, 1e-6, 30, "cosine"),
    "box5d": Task("box", 5, 16, 1e-5, 60, "box5d"),
}


def exact_energies(problem: Problem, modes: int) -> np.ndarray:
    assert problem.exact is not None
    return problem.form.offset - problem.exact.values(modes)


def relative(problem: Problem, values: np.ndarray, modes: int) -> np.ndarray:
    """|E − E_exact|/|E_exact| per mode; a missing value counts as an error of 1."""
    exact = exact_energies(problem, modes)
    error = np.ones(modes)
    error[: len(values)] = np.abs(problem.form.offset - values - exact[: len(values)])
    error[: len(values)] /= np.abs(exact[: len(values)])
    return np.nan_to_num(error, nan=1.0)


def finer(found: Ritz, seed: int) -> Points:
    """At least four times the points used where there is a rule, else many points never seen."""
    space, n = found.space, found.choice.points
    if not space.accurate:
        return space.fresh(FRESH, torch.Generator().manual_seed(FRESH_SEED + seed))
    used = len(space.rule(n))
    points = space.rule(4 * n)
    while len(points) < 4 * used:
        n = round(1.1 * n)
        points = space.rule(4 * n)
    return points


def solved(task: Task, seed: int) -> Record:
    """One run of the Ritz solver, with everything that is printed of it."""
    begin = time.perf_counter()
    solution = ritz(task.problem, modes=task.modes, seed=seed, progress=False)
    seconds = time.perf_counter() - begin
    found, problem = solution.found, solution.problem
    again, _, _ = refine(
        found.form, found.functions.network, found.functions.mix, finer(found, seed)
    )
    size = np.abs(exact_energies(problem, task.modes))
    certificate, reported = found.certificate, relative(problem, found.values, task.modes)
    return {
        "seed": seed,
        "seconds": seconds,
        "error": float(reported.mean()),
        "worst_mode": float(reported.max()),
        "fresh": float(relative(problem, again.numpy(), task.modes).mean()),
        "certified": float((found.radius / size).mean()),
        "estimated": float((found.estimate / size).mean()),
        "alarms": certificate.alarms,
        "features": found.functions.mix.shape[0],
        "trials": len(found.trials),
        "values": found.values.tolist(),
        "settings": found.settings,
    }


def classical(task: Task, budget: float) -> list[Record]:
    """The peers on the same operator, asked for as many energies."""
    case = peers.CASES[task.peer]()
    asked = replace(case, energies=exact_energies(task.problem, task.modes))
    if not task.galerkin:
        asked = replace(asked, basis="")
    peers.CASES["asked"] = lambda: asked
    return [
        {
            "method": row.method,
            "size": row.size,
            "unknowns": row.unknowns,
            "bytes": row.bytes,
            "seconds": row.seconds,
            "error": None if row.error is None else float(row.error),
            "note": row.note,
            "counts": not (asked.basis == "sine" and row.method == "galerkin"),
        }
        for row in peers.sweep("asked", budget)
    ]


def neural(task: Task, seconds: float, seed: int) -> Record:
    """NeuralSVD with the number of steps that should take so long."""
    problem = task.problem
    assert problem.exact is not None
    modes = int((problem.exact.values(task.modes) > 1e-9 * abs(problem.form.offset)).sum())
    blind = replace(problem, exact=None)  # no errors are computed, nor timed, along the way

    def run(steps: int) -> tuple[float, np.ndarray]:
        begin = time.perf_counter()
        solution = train(blind, modes=modes, seed=seed, steps=steps, progress=False)
        values = np.asarray(solution.values)
        return time.perf_counter() - begin, values

    run(5)  # warm
    few, more = (run(steps)[0] for steps in TIMED_STEPS)
    each = max((more - few) / (TIMED_STEPS[1] - TIMED_STEPS[0]), 1e-4)
    steps = max(TIMED_STEPS[1], round((seconds - few) / each) + TIMED_STEPS[0])
    took, values = run(steps)
    error = relative(problem, values, modes)
    return {
        "seed": seed,
        "modes": modes,
        "steps": steps,
        "seconds": took,
        "error": float(error.mean()),
        "worst_mode": float(error.max()),
    }
