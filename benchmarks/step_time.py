"""Seconds and memory per training step in the paper's hydrogen setting, all methods.

16 disjoint perceptrons 128-128-128 (softplus) on 2048 random Fourier features, batch 512, points
from N(0, 16²), √density envelope, RMSprop – Ryu et al. 2024, E.1.1, and the public scripts. The
reference implementation runs beside ours where a checkout is given.

    python benchmarks/step_time.py --reference PATH/TO/neural-svd
    python benchmarks/step_time.py --device cuda --reference PATH/TO/neural-svd
    python benchmarks/step_time.py                      # ours alone

Nothing is fetched: clone https://github.com/jongharyu/neural-svd yourself. All steps run in one
process, in turn, so that a drift of the machine's speed meets all alike; medians are printed.
Memory is what a process of its own takes for three steps on top of what it held before, networks
included: on a GPU the most that torch had allocated.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from reference_step import build_reference_step

from schmidt.experiments.reproduce.runs import Meter
from schmidt.operators import (
    Ansatz,
    DisjointMLP,
    FiniteDifferences,
    FourierFeatures,
    Gaussian,
    Lebesgue,
    Run,
    Schrodinger,
    Training,
)
from schmidt.operators.jet import Derivatives, Exact
from schmidt.operators.methods import METHODS
from schmidt.operators.networks import Factor
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
    device: str = "cpu"
    """cpu or cuda."""
    methods: tuple[str, ...] = tuple(METHODS)
    """Methods to time, in weak form (SpIN-X, which needs T f at points, in strong form)."""
    memory: bool = True
    """Also measure the memory of every method."""


def our_step(
    form: str,
    derivatives: Derivatives,
    batch: int,
    modes: int,
    device: str,
    method: str = "sequential",
) -> Callable[[], object]:
    """One step of ours: sample, jets, surrogate, backward, RMSprop, average."""
    proposal = Gaussian(16.0, 2)
    torch.manual_seed(0)
    inputs = FourierFeatures(2, 1024, 0.1)
    trunk = DisjointMLP(inputs.features, modes, (128, 128, 128), activation="softplus")
    envelope = Factor(lambda x: proposal.density(x).sqrt()[:, None])
    network = Ansatz(trunk, envelope, inputs=inputs)
    operator = 100 * Schrodinger(coulomb, Lebesgue(proposal, "plain"), form=form)
    training = Training(
        steps=10**6, batch=batch, optimizer="rmsprop", lr=1e-4, ema=0.995, device=device
    )
    run = Run(operator, network, method=method, training=training, derivatives=derivatives)
    return run.step


def kind(method: str) -> str:
    return "strong" if method == "spin-x" else "weak"


def measured(method: str, batch: int, modes: int, device: str, threads: int) -> int | None:
    """Bytes that three steps take; in a process of its own."""
    torch.set_num_threads(threads)
    meter = Meter(device)
    step = our_step(kind(method), Exact(), batch, modes, device, method)
    for _ in range(3):
        step()
    return meter.read()


def timed(
    steps: dict[str, Callable[[], object]], repeats: int, device: str
) -> dict[str, list[float]]:
    """Seconds of every step, in turn; the first round is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if device != "cpu":
                torch.cuda.synchronize(device)
            if repeat:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def against_reference(options: Options) -> None:
    """Sequential nesting in three ways beside the reference in two."""
    size = {"batch": options.batch, "modes": options.modes, "device": options.device}
    steps: dict[str, Callable[[], object]] = {
        "ours, weak form": our_step("weak", Exact(), **size),
        "ours, exact Laplacian": our_step("strong", Exact(), **size),
        "ours, stencil": our_step("strong", FiniteDifferences(0.01), **size),
    }
    if options.reference is not None:
        for label, epsilon in (("reference, stencil", 0.01), ("reference, exact Laplacian", 0.0)):
            steps[label] = build_reference_step(options.reference, laplacian_eps=epsilon, **size)
    seconds = timed(steps, options.repeats, options.device)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print("| step | median seconds | min | max |\n|---|---|---|---|")
    for name, values in seconds.items():
        print(f"| {name} | {medians[name]:.3g} | {min(values):.3g} | {max(values):.3g} |")
    if options.reference is None:
        print("\nreference: not measured (give --reference)")
        return
    print("\n| reference / ours | weak form | exact Laplacian | stencil |\n|---|---|---|---|")
    for derivative in ("exact Laplacian", "stencil"):
        ratios = [
            medians[f"reference, {derivative}"] / medians[f"ours, {ours}"]
            for ours in ("weak form", "exact Laplacian", "stencil")
        ]
        print(f"| {derivative} | " + " | ".join(f"{r:.1f}×" for r in ratios) + " |")


def all_methods(options: Options) -> None:
    """Every method beside sequential nesting."""
    size = (options.batch, options.modes, options.device)
    names = list(dict.fromkeys(["sequential", *options.methods]))
    steps = {m: our_step(kind(m), Exact(), *size, m) for m in names}
    seconds = timed(steps, options.repeats, options.device)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print("\n| method | median seconds | × sequential | memory, MiB |\n|---|---|---|---|")
    for name, median in medians.items():
        taken = None
        if options.memory:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                taken = pool.apply(measured, (name, *size, options.threads))
        shown = "not measured" if taken is None else f"{taken / 2**20:.0f}"
        print(
            f"| {name} | {median:.3g} | {median / medians['sequential']:.2f} | {shown} |",
            flush=True,
        )


def main(options: Options) -> None:
    if options.device != "cpu" and not torch.cuda.is_available():
        raise SystemExit("GPU: not measured, there is none on this machine")
    torch.set_num_threads(options.threads)
    where = f"{options.threads} threads" if options.device == "cpu" else options.device
    print(f"batch {options.batch}, {options.modes} modes, {where}\n")
    against_reference(options)
    all_methods(options)
    if options.device == "cpu" and not torch.cuda.is_available():
        print("\nGPU: not measured")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
