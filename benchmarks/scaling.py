"""How the cost of a step grows with the number of modes and of points, beside O(B²L + BL²).

    python benchmarks/scaling.py                          # L = 4 … 256, B = 128 … 4096
    python benchmarks/scaling.py --device cuda --methods sequential neuralef spin

Timed are a method's surrogate and its backward pass for an integral operator, whose ⟨g|Kf⟩ over all
pairs of B points costs B²L, with Gram matrices at BL²; functions are given as arrays, so that no
network hides the method. Then full steps with disjoint networks, whose own cost grows like BL.
Exponents are fitted to the upper half of each range, where constants no longer count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import tyro
from torch import Tensor, nn

from schmidt.operators import DisjointMLP, Distribution, Gaussian, Jet, Kernel, Run, Training
from schmidt.operators.methods import Batch, DivergedError, method

DIM = 2


@dataclass(frozen=True)
class Options:
    """Cost of a step against L and B."""

    modes: tuple[int, ...] = (4, 8, 16, 32, 64, 128, 256)
    """L, at the first of the batches below that is at least 512."""
    batches: tuple[int, ...] = (128, 256, 512, 1024, 2048, 4096)
    """B, at 16 modes."""
    methods: tuple[str, ...] = ("sequential", "joint", "none", "neuralef", "gha", "spin")
    """Methods."""
    repeats: int = 5
    """Timed steps each, after one that is not counted."""
    threads: int = 1
    """Threads of torch."""
    device: str = "cpu"
    """cpu or cuda."""


def gaussian(y: Tensor, x: Tensor) -> Tensor:
    return (-0.5 * torch.cdist(y, x).square()).exp()


def operator() -> Kernel:
    return Kernel(gaussian, Distribution(Gaussian(1.0, DIM)), symmetric=True)


def surrogate_alone(name: str, modes: int, points: int, device: str) -> Callable[[], None]:
    """A method on arrays: parameters are the values of the functions at the points."""
    form, generator = operator(), torch.Generator().manual_seed(0)
    values = torch.randn(modes, 4, points // 2, generator=generator) / 2
    parameters = {"values": nn.Parameter(values.to(device))}
    chosen = method(name, modes)

    def batches() -> tuple[Batch, Batch]:
        parts = parameters["values"].unbind(1)
        samples = [form.sample(points // 2, generator).to(device, torch.float32) for _ in range(2)]
        jets = [Jet(part.T[None], DIM, 0) for part in parts]
        return Batch(samples[0], jets[0], jets[1], True), Batch(samples[1], jets[2], jets[3], True)

    chosen.prepare(form, batches()[0], parameters)

    def step() -> None:
        parameters["values"].grad = None
        chosen.surrogate(form, *batches()).backward()

    return step


def full_step(name: str, modes: int, points: int, device: str) -> Callable[[], None]:
    torch.manual_seed(0)
    network = DisjointMLP(DIM, modes, (32, 32))
    training = Training(steps=10**6, batch=points, optimizer="adam", device=device)
    run = Run(operator(), network, method=name, training=training)

    def step() -> None:
        run.step()

    return step


def seconds(step: Callable[[], None], options: Options) -> float:
    times = []
    for repeat in range(options.repeats + 1):
        begin = time.perf_counter()
        step()
        if options.device != "cpu":
            torch.cuda.synchronize(options.device)
        if repeat:
            times.append(time.perf_counter() - begin)
    return min(times)  # what other work on the machine disturbs least


def exponent(costs: Mapping[int, float]) -> float:
    """Slope of log cost against log size over the upper half of the range."""
    sizes = np.log(list(costs))
    upper = slice(len(costs) // 2, None)
    return float(np.polyfit(sizes[upper], np.log(list(costs.values()))[upper], 1)[0])


def table(
    title: str, make: Callable[..., Callable[[], None]], options: Options, *, over: str
) -> None:
    sizes = options.modes if over == "L" else options.batches
    batch = next((b for b in options.batches if b >= 512), options.batches[-1])
    fixed = f"B = {batch}" if over == "L" else "L = 16"
    print(f"\n**{title}, {fixed}**: milliseconds\n")
    print(f"| {over} = | " + " | ".join(map(str, sizes)) + " | exponent |")
    print("|---" * (len(sizes) + 2) + "|")
    for name in options.methods:
        costs: dict[int, float] = {}
        for size in sizes:
            modes, points = (size, batch) if over == "L" else (16, size)
            try:
                costs[size] = seconds(make(name, modes, points, options.device), options)
            except (DivergedError, ValueError):  # SpIN: too few points for so many modes, or memory
                continue
        shown = " | ".join(f"{1e3 * costs[n]:.3g}" if n in costs else "–" for n in sizes)
        print(f"| {name} | {shown} | {exponent(costs):.2f} |", flush=True)


def main(options: Options) -> None:
    if options.device != "cpu" and not torch.cuda.is_available():
        raise SystemExit("GPU: not measured, there is none on this machine")
    torch.set_num_threads(options.threads)
    print("O(B²L + BL²): exponents 1 to 2 in L, 1 to 2 in B")
    for over in ("L", "B"):
        table("surrogate alone", surrogate_alone, options, over=over)
        table("full step", full_step, options, over=over)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
