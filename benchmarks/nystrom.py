"""Nyström and empirical SVD of a kernel beside trained functions (Ryu et al. 2024, A.1).

    python benchmarks/nystrom.py                       # samples of 50 … 3200 points, 5 seeds
    python benchmarks/nystrom.py --sizes 100 400 --seeds 2 --steps 300

The Gaussian kernel under a normal law, whose eigenvalues and functions are known. Errors are
mean relative errors of the six leading eigenvalues; distances are subspace distances of the
functions, on held-out points; of the empirical singular vectors, which are known at the sample
only, on the sample itself. Queries are timed on 10⁵ new points, after a warm-up, in the precision
that each method works in: a Nyström function costs one kernel value per sampled point, a network
the same whatever it has learned from.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor

from schmidt.compare import compare
from schmidt.operators import Kernel, nystrom
from schmidt.problems import Problem, named, train

MODES = 6
QUERIES = 100_000


@dataclass(frozen=True)
class Options:
    """Error and query time as the sample grows."""

    sizes: tuple[int, ...] = (50, 100, 200, 400, 800, 1600, 3200)
    """Sampled points."""
    seeds: int = 5
    """Seeds 0, 1, …"""
    steps: int | None = None
    """Training steps; default the problem's."""
    threads: int = 1
    """Threads of torch."""


def distance(problem: Problem, x: np.ndarray, weight: Tensor, values: np.ndarray) -> float:
    assert problem.exact is not None
    assert problem.exact.right is not None
    exact = problem.exact.right(x, MODES)
    known = problem.exact.values(MODES)
    return float(
        compare(values, exact, weights=weight, values=known, exact=known).subspace_distance_total
    )


def query_seconds(function: Callable[[Any], Any]) -> float:
    x = np.random.default_rng(0).standard_normal((QUERIES, 1)).astype(np.float32)
    function(x[:1000])
    begin = time.perf_counter()
    function(x)
    return time.perf_counter() - begin


def row(label: str, errors: list[list[float]]) -> None:
    mean, spread = np.mean(errors, 0), np.std(errors, 0)
    cells = [f"{m:.1e} ± {s:.0e}" for m, s in zip(mean[:3], spread[:3], strict=True)]
    print(f"| {label} | " + " | ".join(cells) + f" | {mean[3]:.3g} | {mean[4]:.3g} |", flush=True)


def main(options: Options) -> None:
    torch.set_num_threads(options.threads)
    problem = named("gaussian-kernel")
    kernel, exact = problem.form, problem.exact
    assert isinstance(kernel, Kernel)
    assert exact is not None
    known = exact.values(MODES)
    held_out = kernel.evaluation().x
    print("| | error of values | distance, held out | distance, on the sample "
          "| seconds | seconds for 10⁵ queries |")  # fmt: skip
    print("|---|---|---|---|---|---|")
    for size in options.sizes:
        rows = []
        for seed in range(options.seeds):
            begin = time.perf_counter()
            found = nystrom(kernel, MODES, points=size, seed=seed)
            seconds = time.perf_counter() - begin
            sections = found.right.network
            at, weight = sections.points.numpy(), sections.root**2
            rows.append(
                [
                    float(np.mean(np.abs(found.values - known) / known)),
                    distance(problem, held_out.x.numpy(), held_out.weight, found.right(held_out.x)),
                    distance(problem, at, weight, found.right(at)),
                    seconds,
                    query_seconds(found.right),
                ]
            )
        row(f"Nyström, {size} points", rows)
    settings = problem.training
    if options.steps is not None:
        settings = replace(settings, steps=options.steps)
    for polish in (None, "ritz"):
        rows = []
        for seed in range(options.seeds):
            begin = time.perf_counter()
            solution = train(
                problem,
                modes=MODES,
                training=replace(settings, seed=seed),
                polish=polish,
                progress=False,
            )
            f, values = solution.result.right, np.asarray(solution.result.values)
            rows.append(
                [
                    float(np.mean(np.abs(values[:MODES] - known) / known)),
                    distance(problem, held_out.x.numpy(), held_out.weight, f(held_out.x)),
                    float("nan"),
                    time.perf_counter() - begin,
                    query_seconds(f),
                ]
            )
        row(f"NeuralSVD, {settings.steps} steps" + (", polished" if polish else ""), rows)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
