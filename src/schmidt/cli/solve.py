"""``schmidt solve``: find the leading functions of an operator, and show them beside the exact."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
import tyro
from rich.console import Console
from rich.markup import escape

from schmidt.operators import checkpoint
from schmidt.operators.fit import Fit
from schmidt.operators.methods import METHODS
from schmidt.operators.ritz import AlarmWarning
from schmidt.parameters import SEED, Number
from schmidt.problems import (
    Problem,
    Solution,
    default_method,
    matrix,
    named,
    potential,
    ritz,
    train,
)
from schmidt.report.pictures import draw
from schmidt.report.solutions import print_report
from schmidt.report.terminal import check_flags, claim, nothing_to_resume, optional
from schmidt.storage import write_json

if TYPE_CHECKING:
    MethodName = str
else:
    MethodName = tyro.extras.literal_type_from_choices(["ritz", *METHODS])

USUAL = "the problem's"

TRAINING = ("steps", "batch", "optimizer", "lr", "extra_shift")
TRAINING_ONLY = (*TRAINING, "checkpoint_every", "network", "device", "dtype", "start", "polish")
RITZ_ONLY = ("budget", "tol")


FLAGS = {
    "--dim": Number(1, whole=True),
    "--extent": Number(0, open="low"),
    "--modes": Number(1, whole=True),
    "--budget": Number(0, open="low"),
    "--tol": Number(0, open="low"),
    "--steps": Number(1, whole=True),
    "--batch": Number(4, whole=True),
    "--lr": Number(0, open="low"),
    "--extra-shift": Number(),
    "--seed": SEED,
    "--checkpoint-every": Number(0),
}


@dataclass(frozen=True)
class SolveOptions:
    """What to solve, how, and where to put the results."""

    problem: tyro.conf.Positional[str] = ""
    """Which problem; `schmidt problems` lists them, `matrix` needs --file. Or give --potential."""
    potential: Annotated[str | None, optional("FORMULA", "none")] = None
    """Lowest states of −∇² + V instead of a problem: "x**2 + y**2 + x**2*y**2" with --dim 2."""
    dim: Annotated[int | None, optional("INT", USUAL)] = None
    """Dimension, for --potential and for problems that have no fixed one."""
    extent: Annotated[float | None, optional("FLOAT", "found by Weyl's law")] = None
    """With --potential: about how far from the origin the states reach."""
    param: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """With --potential: NAME=NUMBER, a parameter of the formula: --param V0=3; may be repeated."""
    kinetic: Annotated[float | None, optional("FLOAT", "1")] = None
    """With --potential: the factor κ of −κ∇², 0.5 in atomic units."""
    modes: Annotated[int | None, optional("INT", USUAL)] = None
    """Number of functions."""
    method: Annotated[
        MethodName | None,
        optional("METHOD", "ritz where T acts pointwise, else sequential"),
    ] = None
    """ritz: features and least squares, with error bounds. The others train networks: by nested
    low-rank approximation – sequential (mode by mode), joint (one weighted objective), none (the
    span only, then Rayleigh–Ritz) – or, for eigenvalues, by the methods it is compared with: spin,
    spin-x, neuralef, neuralef-original, neuralef-deflation, eigengame, mu-eigengame, gha."""
    budget: Annotated[float | None, optional("SECONDS", "by dimension and modes")] = None
    """ritz: time for the search."""
    tol: Annotated[float | None, optional("FLOAT", "1e-9")] = None
    """ritz: stop when the estimated relative error is below this."""
    network: Annotated[
        Literal["disjoint", "shared"] | None, optional("disjoint|shared", "disjoint")
    ] = None
    """training: one network per function, or one with a common trunk."""
    steps: Annotated[int | None, optional("INT", USUAL)] = None
    """training: number of steps."""
    batch: Annotated[int | None, optional("INT", USUAL)] = None
    """training: points per step."""
    optimizer: Annotated[
        Literal["soap", "adam", "rmsprop", "sgd"] | None, optional("soap|adam|rmsprop|sgd", USUAL)
    ] = None
    """training: optimizer."""
    lr: Annotated[float | None, optional("FLOAT", USUAL)] = None
    """training: largest learning rate."""
    extra_shift: Annotated[float | None, optional("FLOAT", USUAL)] = None
    """training: start on T + c and let c fall to 0; keeps functions from collapsing to zero."""
    start: Annotated[Literal["random", "ritz"] | None, optional("random|ritz", "random")] = None
    """training: begin from random networks, or from the Ritz solution of their hidden units."""
    polish: Annotated[Literal["ritz"] | None, optional("ritz", "none")] = None
    """training: end with a Ritz step in the span of the trained hidden units."""
    seed: int = 0
    """Seed of networks and points."""
    device: Annotated[str | None, optional("STR", "cpu")] = None
    """training: cpu, cuda, …"""
    dtype: Annotated[
        Literal["float32", "float64"] | None, optional("float32|float64", "float32")
    ] = None
    """training: precision; all results are evaluated in float64."""
    file: Annotated[Path | None, optional("PATH", "none")] = None
    """The matrix for the problem `matrix`: .npy or .mtx."""
    checkpoint_every: Annotated[float | None, optional("SECONDS", "60")] = None
    """training: seconds between checkpoints; one is written before the first step, too."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """training: go on from the checkpoint in the output directory, to the same result bit for
    bit."""
    out: Annotated[Path | None, optional("DIR", "schmidt-out/PROBLEM")] = None
    """Directory for pictures, report, checkpoint and functions."""
    json: Annotated[Path | None, optional("PATH", "none")] = None
    """Also write all numbers to this file (they are always in DIR/report.json)."""

    def chosen_problem(self) -> Problem:
        if self.potential is not None:
            return self._typed()
        for name in ("extent", "param", "kinetic"):
            if getattr(self, name) not in (None, ()):
                raise ValueError(f"--{name} belongs to --potential")
        if not self.problem:
            raise ValueError("name a problem (`schmidt problems` lists them) or give a --potential")
        if self.problem == "matrix":
            if self.file is None:
                raise ValueError("the problem 'matrix' needs a file: --file A.npy or --file A.mtx")
            return matrix(self.file, self.file.name)
        if self.file is not None:
            raise ValueError("--file belongs to the problem 'matrix'")
        return named(self.problem, self.dim)

    def _typed(self) -> Problem:
        if self.problem or self.file is not None:
            raise ValueError("give either a problem or a --potential, not both")
        if self.dim is None:
            raise ValueError("--potential needs --dim, the number of coordinates")
        assert self.potential is not None
        return potential(
            self.potential,
            self.dim,
            modes=self.modes,
            extent=self.extent,
            kinetic=1.0 if self.kinetic is None else self.kinetic,
            parameters=self._parameters(),
        )

    def _parameters(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for given in self.param:
            name, sign, number = given.partition("=")
            try:
                found[name.strip()] = float(number)
            except ValueError:
                sign = ""
            if not sign:
                raise ValueError(f"--param takes NAME=NUMBER, such as V0=3, got {given!r}")
        return found

    def check(self, method: str) -> None:
        """Refuse settings that the chosen method would ignore."""
        foreign = TRAINING_ONLY if method == "ritz" else RITZ_ONLY
        given = [name for name in foreign if getattr(self, name) is not None]
        given += ["resume"] if method == "ritz" and self.resume else []
        if given:
            flags = ", ".join("--" + name.replace("_", "-") for name in given)
            other = "add --method sequential" if method == "ritz" else "add --method ritz"
            raise ValueError(f"{flags}: not a setting of --method {method}; {other}")

    def training_settings(self) -> dict[str, Any]:
        given = {name: getattr(self, name) for name in TRAINING if getattr(self, name) is not None}
        if self.checkpoint_every is not None:
            given["checkpoint_seconds"] = self.checkpoint_every
        return {
            **given,
            "seed": self.seed,
            "device": self.device or "cpu",
            "dtype": self.dtype or "float32",
        }


def solve(options: Annotated[SolveOptions, tyro.conf.arg(name="")]) -> int:
    """Find the leading eigen or singular functions of an operator.

    By default operators given by formula are solved by the Ritz solver, which prints every value
    with a certified and an estimated error; --method sequential trains neural networks (NeuralSVD)
    instead. Writes pictures of every function beside the exact one, of the spectrum, of the errors
    and of how the answer was found. Ctrl-C keeps what there is.
    """
    console = Console()
    check_flags(FLAGS, options)
    problem = options.chosen_problem()
    method = options.method or default_method(problem)
    options.check(method)
    if method != "ritz":
        _check_device(options.device or "cpu")
    out = claim(options.out or Path("schmidt-out") / problem.name, options.json)
    console.print(f"[bold]{escape(problem.name)}[/]: {escape(problem.summary)}", highlight=False)
    if method == "ritz":
        solution = _ritz(options, problem, console)
    else:
        solution = _train(options, problem, method, out, console)
    _write(solution, out, options.json)
    pictures = draw(solution, out)
    # printed last: whoever reads may stop reading
    print_report(console, solution)
    console.print(
        f"\npictures in [bold]{escape(str(out))}[/]: " + ", ".join(p.name for p in pictures)
    )
    return 130 if solution.interrupted else 0


def _ritz(options: SolveOptions, problem: Problem, console: Console) -> Solution:
    modes = problem.checked_modes(options.modes)
    console.print(f"{modes} modes by the Ritz solver")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AlarmWarning)  # they stand below the table
        return ritz(
            problem,
            modes=modes,
            budget=options.budget,
            tol=1e-9 if options.tol is None else options.tol,
            seed=options.seed,
        )


def _train(
    options: SolveOptions, problem: Problem, method: str, out: Path, console: Console
) -> Solution:
    settings = options.training_settings()
    training = replace(problem.training, **settings)
    if options.resume and not checkpoint.exists(out):
        console.print(nothing_to_resume(out))
    network = options.network or "disjoint"
    console.print(
        f"{options.modes or problem.modes} modes, method {method}, {network} networks, "
        f"{training.steps} steps of {training.batch} points"
    )
    return train(
        problem,
        modes=options.modes,
        method=method,
        network=network,
        training=training,
        start=options.start or "random",
        polish=options.polish,
        checkpoint=out,
        resume=options.resume and checkpoint.exists(out),
    )


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
    found = solution.found
    if isinstance(found, Fit):
        found.learned.save(out / "functions.safetensors")
    elif found.form.self_adjoint is True:
        found.eigenpairs.save(out / "functions.safetensors")
