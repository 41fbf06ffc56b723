"""``schmidt compare``: one problem by several methods, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from schmidt.operators.checkpoint import exists
from schmidt.operators.methods import METHODS
from schmidt.operators.ritz import relative_scale
from schmidt.parameters import SEED, Number, suggestion
from schmidt.problems import Problem, Solution, named, ritz, train
from schmidt.report import console_table
from schmidt.report.pictures import draw, draw_beside
from schmidt.report.terminal import check_flags, claim
from schmidt.storage import write_json

KNOWN = ("ritz", *METHODS)


FLAGS = {
    "--dim": Number(1, whole=True),
    "--modes": Number(1, whole=True),
    "--budget": Number(0, open="low"),
    "--steps": Number(1, whole=True),
    "--seed": SEED,
    "--checkpoint-every": Number(0),
}


@dataclass(frozen=True)
class CompareOptions:
    """What to solve, by which methods, and where to put the results."""

    problem: tyro.conf.Positional[str]
    """Which problem; `schmidt problems` lists them."""
    methods: tuple[str, ...] = ("ritz", "sequential")
    """Two or more of ritz, sequential, joint, none, …"""
    dim: int | None = None
    """Dimension, for problems that have no fixed one."""
    modes: int | None = None
    """Number of functions."""
    budget: float | None = None
    """ritz: seconds for the search."""
    steps: int | None = None
    """training: number of steps."""
    seed: int = 0
    """Seed of networks, features and points."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """training: go on from checkpoints in the output directory."""
    checkpoint_every: float = 60.0
    """training: seconds between checkpoints."""
    out: Path | None = None
    """Directory for pictures and reports; default schmidt-out/compare-PROBLEM."""


def compare(options: Annotated[CompareOptions, tyro.conf.arg(name="")]) -> int:
    """Solve a problem by several methods with their default settings, and show them side by side.

    Writes a folder with pictures and numbers per method, and pictures of all together.
    """
    check_flags(FLAGS, options)
    if len(set(options.methods)) < 2:
        raise ValueError("name two or more methods, e.g. --methods ritz sequential joint")
    console = Console()
    problem = named(options.problem, options.dim)
    for name in options.methods:
        if name not in KNOWN:
            near = suggestion(name, KNOWN)
            raise ValueError(f"unknown method {name!r}{near}; known: {', '.join(KNOWN)}")
    out = claim(options.out or Path("schmidt-out") / f"compare-{problem.name}")
    console.print(f"[bold]{escape(problem.name)}[/]: {escape(problem.summary)}", highlight=False)
    solutions: dict[str, Solution] = {}
    for method in dict.fromkeys(options.methods):
        console.print(f"solving by {method} …")
        solution = _solved(options, problem, method, out / method)
        write_json(out / method / "report.json", solution.report())
        draw(solution, out / method)
        solutions[method] = solution
        if solution.interrupted:
            console.print("interrupted; --resume goes on")
            return 130
    errors = {name: _relative(s) for name, s in solutions.items()}
    pictures = draw_beside(solutions, errors, out)
    # printed last: whoever reads may stop reading
    console.print()
    console.print(_values(solutions, errors))
    console.print()
    console.print(_measures(solutions, errors))
    shown = ", ".join(path.name for path in pictures)
    console.print(
        f"\npictures in [bold]{escape(str(out))}[/]: {shown}; more in a folder per method"
    )
    return 0


def _solved(options: CompareOptions, problem: Problem, method: str, out: Path) -> Solution:
    if method == "ritz":
        return ritz(problem, modes=options.modes, budget=options.budget, seed=options.seed)
    steps: dict[str, Any] = {} if options.steps is None else {"steps": options.steps}
    return train(
        problem,
        modes=options.modes,
        method=method,
        seed=options.seed,
        checkpoint=out,
        resume=options.resume and exists(out),
        checkpoint_seconds=options.checkpoint_every,
        **steps,
    )


def _relative(solution: Solution) -> np.ndarray:
    """|value − exact| over the size of the value without the operator's shift, whatever the method
    divides by; a missing value is an error of 1, NaN where there is nothing to compare with."""
    exact = solution.exact
    if exact is None:
        return np.full(solution.modes, np.nan)
    size = relative_scale(torch.as_tensor(exact), solution.problem.form.offset).numpy()
    error = np.abs(solution.values - exact) / size
    error[: solution.judged] = np.nan_to_num(error[: solution.judged], nan=1.0)
    return error


def _values(solutions: dict[str, Solution], errors: dict[str, np.ndarray]) -> Table:
    """Exact values (or energies) and the error of each method; bounds where there are any."""
    first = next(iter(solutions.values()))
    problem, exact = first.problem, first.exact
    names = [column for name in solutions for column in _columns(name, solutions[name])]
    table = console_table(
        ["mode", *(["exact"] if exact is not None else []), *names], labels=False, wrap=True
    )
    for i in range(first.modes):
        cells = [str(i + 1)]
        if exact is not None:
            value = problem.energy(exact)[i] if problem.energy else exact[i]
            cells.append(f"{value:.6g}")
        for name, s in solutions.items():
            cells.append(_error(errors[name][i]) if exact is not None else f"{s.values[i]:.6g}")
            if s.certified:
                size = s.sizes(s.values)[i]
                cells.append(f"± {_error(s.radius[i] / size)}")
        table.add_row(*cells)
    return table


def _columns(name: str, solution: Solution) -> list[str]:
    what = "error" if solution.exact is not None else "value"
    more = [f"{name} certified"] if solution.certified else []
    return [f"{name} {what}", *more]


def _measures(solutions: dict[str, Solution], errors: dict[str, np.ndarray]) -> Table:
    table = console_table(
        ["", "mean relative error", "subspace distance", "orthogonality", "seconds"], wrap=True
    )
    for name, s in solutions.items():
        report, c = s.report(), s.comparison
        table.add_row(
            name,
            _error(errors[name][: s.judged].mean() if s.judged else np.nan),
            _error(c.subspace_distance if c else np.nan),
            _error(c.orthogonality if c else np.nan),
            f"{report['seconds']:.1f}",
        )
    return table


def _error(v: float) -> str:
    return "–" if not np.isfinite(v) else f"{v:.1e}"
