"""What each ingredient of the hydrogen run is worth: one thing changed at a time.

    python benchmarks/ablation.py

Prints a markdown table; every run has the same number of steps and points, errors are of the Ritz
values on held-out points.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import tyro
from torch import nn

from schmidt.operators import (
    Ansatz,
    DisjointMLP,
    FourierFeatures,
    Lebesgue,
    Radial,
    ScaledInputs,
    Schrodinger,
)
from schmidt.operators.networks import ExponentialEnvelope
from schmidt.problems import Problem, hydrogen2d, solve
from schmidt.problems.hydrogen import coulomb


@dataclass(frozen=True)
class Options:
    """Settings common to all runs."""

    steps: int | None = None
    """Training steps; default the problem's."""
    seed: int = 0
    """Seed."""
    threads: int = 2
    """Threads of torch."""


def sampled(sampling: str) -> Problem:
    measure = Lebesgue(Radial(2, scale=4.0, outer=160.0), sampling)
    return replace(hydrogen2d(), form=Schrodinger(coulomb, measure))


def with_inputs(make: Callable[[], Any]) -> Problem:
    def network(kind: str, modes: int) -> nn.Module:
        inputs = make()
        envelope = ExponentialEnvelope(torch.logspace(0, -1.2, modes))
        return Ansatz(DisjointMLP(inputs.features, modes, (32, 32)), envelope, inputs=inputs)

    return replace(hydrogen2d(), network=network)


def strong() -> Problem:
    problem = hydrogen2d()
    return replace(problem, form=Schrodinger(coulomb, problem.form.measure, form="strong"))  # type: ignore[attr-defined]


VARIANTS: dict[str, tuple[Callable[[], Problem], dict[str, Any]]] = {
    "default": (hydrogen2d, {}),
    "Adam, lr 3e-3": (hydrogen2d, {"optimizer": "adam", "lr": 3e-3}),
    "Adam, lr 1e-2": (hydrogen2d, {"optimizer": "adam", "lr": 1e-2}),
    "stratified points": (lambda: sampled("stratified"), {}),
    "Sobol points": (lambda: sampled("sobol"), {}),
    "independent points": (lambda: sampled("plain"), {}),
    "64 Fourier features": (lambda: with_inputs(lambda: FourierFeatures(2, 32, 0.1)), {}),
    "plain inputs x/8": (lambda: with_inputs(lambda: ScaledInputs(2, 8.0)), {}),
    "strong form": (strong, {}),
    "no extra shift": (hydrogen2d, {"extra_shift": 0.0}),
    "measured extra shift": (hydrogen2d, {"extra_shift": None}),
    "joint nesting": (hydrogen2d, {"method": "joint"}),
    "joint, shared network": (hydrogen2d, {"method": "joint", "network": "shared"}),
    "sequential, shared network": (hydrogen2d, {"network": "shared"}),
    "no nesting": (hydrogen2d, {"method": "none"}),
}


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    print("| hydrogen2d, 16 modes | mean relative error | subspace distance | orthogonality | s |")
    print("|---|---|---|---|---|")
    for name, (make, settings) in VARIANTS.items():
        steps = {} if options.steps is None else {"steps": options.steps}
        report = solve(make(), seed=options.seed, **settings, **steps).report()
        print(
            f"| {name} | {report['mean_relative_error']:.1e} | {report['subspace_distance']:.1e} "
            f"| {report['orthogonality']:.1e} | {report['seconds']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
