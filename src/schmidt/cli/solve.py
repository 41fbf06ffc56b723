"""``schmidt solve``: learn the leading functions of a problem, and show them beside the exact."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from rich.console import Console

from schmidt.cli.pictures import draw
from schmidt.cli.report import print_report
from schmidt.problems import Problem, Solution, matrix
from schmidt.problems import solve as solve_problem
from schmidt.problems.solve import named
from schmidt.storage import write_json


@dataclass(frozen=True)
class SolveOptions:
    """Learn the leading eigen or singular functions of an operator with neural networks, compare
    them with the exact ones, print a table and draw pictures."""

    problem: tyro.conf.Positional[str]
    """Which one; `schmidt problems` lists them. `matrix` needs --file."""
    modes: int | None = None
    """Number of functions to learn."""
    method: Literal["sequential", "joint", "none"] = "sequential"
    """Nesting: sequential (mode by mode), joint (one weighted objective), none (subspace only)."""
    network: Literal["disjoint", "shared"] = "disjoint"
    """One network per function, or one with a common trunk."""
    steps: int | None = None
    """Training steps."""
    batch: int | None = None
    """Points per step."""
    optimizer: Literal["soap", "adam", "rmsprop", "sgd"] | None = None
    """Optimizer."""
    lr: float | None = None
    """Largest learning rate."""
    extra_shift: float | None = None
    """Start training on T + c and let c fall to 0; keeps functions from collapsing to zero."""
    seed: int = 0
    """Seed of networks and points."""
    device: str = "cpu"
    """Where to train: cpu, cuda, …"""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of training; all results are evaluated in float64."""
    file: Path | None = None
    """The matrix for the problem `matrix`: .npy or .mtx."""
    resume: bool = False
    """Go on from the checkpoint in the output directory, to the same result bit for bit."""
    out: Path | None = None
    """Directory for pictures, checkpoint and learned functions. Default schmidt-out/PROBLEM."""
    json: Path | None = None
    """Also write all numbers to this file."""

    def training_settings(self) -> dict[str, Any]:
        given = {
            name: getattr(self, name)
            for name in ("steps", "batch", "optimizer", "lr", "extra_shift")
            if getattr(self, name) is not None
        }
        return {**given, "seed": self.seed, "device": self.device, "dtype": self.dtype}

    def chosen_problem(self) -> Problem:
        if self.problem == "matrix":
            if self.file is None:
                raise ValueError("the problem 'matrix' needs a file: --file A.npy or --file A.mtx")
            return matrix(self.file, self.file.name)
        if self.file is not None:
            raise ValueError("--file belongs to the problem 'matrix'")
        return named(self.problem)


def solve(options: Annotated[SolveOptions, tyro.conf.arg(name="")]) -> int:
    """Learn the leading functions of an operator and compare them with the exact ones."""
    console = Console()
    problem = options.chosen_problem()
    _check_device(options.device)
    out = options.out or Path("schmidt-out") / problem.name
    training = replace(problem.training, **options.training_settings())
    modes = options.modes or problem.modes
    console.print(
        f"[bold]{problem.name}[/]: {problem.summary}\n{modes} modes, {options.method} nesting, "
        f"{options.network} networks, {training.steps} steps of {training.batch} points"
    )
    solution = solve_problem(
        problem,
        modes=options.modes,
        method=options.method,
        network=options.network,
        training=training,
        checkpoint=out,
        resume=options.resume,
    )
    print_report(console, solution)
    _write(solution, out, options.json)
    pictures = draw(solution, out)
    console.print(f"\npictures in [bold]{out}[/]: " + ", ".join(p.name for p in pictures))
    return 130 if solution.fit.interrupted else 0


def _check_device(device: str) -> None:
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"cannot use device {device!r}: {reason}") from None


def _write(solution: Solution, out: Path, json_file: Path | None) -> None:
    report = solution.report()
    write_json(out / "report.json", report)
    if json_file is not None:
        write_json(json_file, report)
    solution.learned.save(out / "functions.safetensors")
