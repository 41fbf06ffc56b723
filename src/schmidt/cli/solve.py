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
from schmidt.problems import Problem, Solution, matrix, named
from schmidt.problems import solve as solve_problem
from schmidt.storage import write_json


def _optional(kind: str, default: str = "the problem's") -> Any:
    return tyro.conf.arg(metavar=kind, help_behavior_hint=f"(default: {default})")


@dataclass(frozen=True)
class SolveOptions:
    """What to solve, how, and where to put the results."""

    problem: tyro.conf.Positional[str]
    """Which problem; `schmidt problems` lists them. `matrix` needs --file."""
    modes: Annotated[int | None, _optional("INT")] = None
    """Number of functions to learn."""
    method: Literal["sequential", "joint", "none"] = "sequential"
    """Nesting: sequential (mode by mode), joint (one weighted objective), none (subspace only)."""
    network: Literal["disjoint", "shared"] = "disjoint"
    """One network per function, or one with a common trunk."""
    steps: Annotated[int | None, _optional("INT")] = None
    """Training steps."""
    batch: Annotated[int | None, _optional("INT")] = None
    """Points per step."""
    optimizer: Annotated[
        Literal["soap", "adam", "rmsprop", "sgd"] | None, _optional("soap|adam|rmsprop|sgd")
    ] = None
    """Optimizer."""
    lr: Annotated[float | None, _optional("FLOAT")] = None
    """Largest learning rate."""
    extra_shift: Annotated[float | None, _optional("FLOAT")] = None
    """Start training on T + c and let c fall to 0; keeps functions from collapsing to zero."""
    seed: int = 0
    """Seed of networks and points."""
    device: str = "cpu"
    """Where to train: cpu, cuda, …"""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of training; all results are evaluated in float64."""
    file: Annotated[Path | None, _optional("PATH", "none")] = None
    """The matrix for the problem `matrix`: .npy or .mtx."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Go on from the checkpoint in the output directory, to the same result bit for bit."""
    out: Annotated[Path | None, _optional("DIR", "schmidt-out/PROBLEM")] = None
    """Directory for pictures, report, checkpoint and learned functions."""
    json: Annotated[Path | None, _optional("PATH", "none")] = None
    """Also write all numbers to this file (they are always in DIR/report.json)."""

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
    """Learn the leading eigen or singular functions of an operator with neural networks.

    Prints a table of the learned values – by the functions' norms, by Rayleigh quotients, after
    Rayleigh–Ritz – beside the exact ones, and writes pictures of every function beside the exact
    one, of the spectrum, of the orthogonality and of the training. Ctrl-C keeps what there is.
    """
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
