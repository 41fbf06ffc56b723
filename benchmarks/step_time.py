"""Seconds per training step in the paper's hydrogen setting, beside the reference implementation.

16 disjoint perceptrons 128-128-128 (softplus) on 2048 random Fourier features, batch 512, points
from N(0, 16²), √density envelope, RMSprop – Ryu et al. 2024, E.1.1, and the public scripts.

    python benchmarks/step_time.py --reference PATH/TO/neural-svd
    python benchmarks/step_time.py                      # ours alone

Nothing is fetched: clone https://github.com/jongharyu/neural-svd yourself. All steps run in one
process, in turn, so that a drift of the machine's speed meets all alike; medians are printed.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from reference_step import build_reference_step

from schmidt.operators import (
    Ansatz,
    DisjointMLP,
    Exact,
    Factor,
    FiniteDifferences,
    FourierFeatures,
    Gaussian,
    Lebesgue,
    Run,
    Schrodinger,
    Training,
)
from schmidt.operators.derivatives import Derivatives
from schmidt.problems.hydrogen import coulomb


@dataclass(frozen=True)
class Options:
    """What to time."""

    reference: Path | None = None
    """A checkout of the reference implementation; without it only our steps are timed."""
    batch: int = 512
    """Points per step."""
    modes: int = 16
    """Functions."""
    repeats: int = 7
    """Timed steps of each kind, after one that is not counted."""
    threads: int = 2
    """Threads of torch."""


def our_step(form: str, derivatives: Derivatives, batch: int, modes: int) -> Callable[[], float]:
    """One step of ours: sample, jets, surrogate, backward, RMSprop, average."""
    proposal = Gaussian(16.0, 2)
    torch.manual_seed(0)
    inputs = FourierFeatures(2, 1024, 0.1)
    trunk = DisjointMLP(inputs.features, modes, (128, 128, 128), activation="softplus")
    envelope = Factor(lambda x: proposal.density(x).sqrt()[:, None])
    network = Ansatz(trunk, envelope, inputs=inputs)
    operator = 100 * Schrodinger(coulomb, Lebesgue(proposal, "plain"), form=form)
    training = Training(steps=10**6, batch=batch, optimizer="rmsprop", lr=1e-4, ema=0.995)
    run = Run(operator, network, training=training, derivatives=derivatives)
    steps = iter(range(10**6))

    def step() -> float:
        run.step(next(steps))
        return 0.0

    return step


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    size = {"batch": options.batch, "modes": options.modes}
    steps: dict[str, Callable[[], float]] = {
        "ours, weak form": our_step("weak", Exact(), **size),
        "ours, exact Laplacian": our_step("strong", Exact(), **size),
        "ours, stencil": our_step("strong", FiniteDifferences(0.01), **size),
    }
    if options.reference is not None:
        for label, epsilon in (("reference, stencil", 0.01), ("reference, exact Laplacian", 0.0)):
            steps[label] = build_reference_step(options.reference, laplacian_eps=epsilon, **size)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(options.repeats + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if repeat:
                seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(f"batch {options.batch}, {options.modes} modes, {options.threads} threads\n")
    print("| step | median seconds | min | max |\n|---|---|---|---|")
    for name, values in seconds.items():
        print(f"| {name} | {medians[name]:.3f} | {min(values):.3f} | {max(values):.3f} |")
    if options.reference is None:
        print("\nreference: not measured (give --reference)")
        return
    print("\n| reference / ours | weak form | exact Laplacian | stencil |\n|---|---|---|---|")
    for kind in ("exact Laplacian", "stencil"):
        ratios = [
            medians[f"reference, {kind}"] / medians[f"ours, {ours}"]
            for ours in ("weak form", "exact Laplacian", "stencil")
        ]
        print(f"| {kind} | " + " | ".join(f"{r:.1f}×" for r in ratios) + " |")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
