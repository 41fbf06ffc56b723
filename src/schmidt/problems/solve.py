"""Solving a problem: the problems by name, by the Ritz solver or by training, then judging."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from schmidt.operators.fit import fit
from schmidt.operators.methods import Method
from schmidt.operators.ritz import eigenfunctions
from schmidt.operators.training import Training
from schmidt.parameters import suggestion
from schmidt.problems.box import box, torus, well2d
from schmidt.problems.diffusions import fokker_planck, ornstein_uhlenbeck
from schmidt.problems.hydrogen import hydrogen2d, hydrogen3d
from schmidt.problems.kernels import gaussian_kernel
from schmidt.problems.oscillator import coupled_oscillators, oscillator, oscillator2d
from schmidt.problems.problem import Problem
from schmidt.problems.solution import Solution, error_monitor
from schmidt.problems.wells import cosine, double_well, morse

PROBLEMS: dict[str, Callable[..., Problem]] = {
    "hydrogen2d": hydrogen2d,
    "hydrogen3d": hydrogen3d,
    "oscillator2d": oscillator2d,
    "oscillator": oscillator,
    "coupled-oscillators": coupled_oscillators,
    "well2d": well2d,
    "box": box,
    "torus": torus,
    "cosine": cosine,
    "morse": morse,
    "double-well": double_well,
    "gaussian-kernel": gaussian_kernel,
    "ornstein-uhlenbeck": ornstein_uhlenbeck,
    "fokker-planck": fokker_planck,
}
"""Problems that need no input; :func:`schmidt.problems.kernels` makes one from a file."""


def default_dimension(name: str) -> int | None:
    """The dimension a problem has unless told otherwise; None if its dimension is fixed."""
    parameter = inspect.signature(PROBLEMS[name]).parameters.get("dim")
    return None if parameter is None else int(parameter.default)


def named(name: str, dim: int | None = None) -> Problem:
    """The problem of that name; an unknown name lists the known ones.

    Args:
        dim: for problems that can be posed in any dimension; default: the problem's.
    """
    if name not in PROBLEMS:
        known, near = ", ".join(PROBLEMS), suggestion(name, PROBLEMS)
        raise ValueError(f"unknown problem {name!r}{near}; known: {known}, and matrix with a file")
    if dim is None:
        return PROBLEMS[name]()
    if default_dimension(name) is None:
        free = ", ".join(n for n in PROBLEMS if default_dimension(n) is not None)
        raise ValueError(f"the dimension of {name} is fixed; one can be chosen for {free}")
    return PROBLEMS[name](dim=dim)


MONITOR_TIMES = 20


def default_method(problem: Problem) -> str:
    """ "ritz" where the operator is given by formula on a known space, else "sequential"."""
    return "sequential" if problem.space is None else "ritz"


def solve(
    problem: Problem | str, *, method: str | Method | None = None, **settings: Any
) -> Solution:
    """Solve a problem with a known answer, and judge the result.

    Args:
        problem: a :class:`Problem`, or the name of one in ``schmidt.problems.PROBLEMS``.
        method: "ritz" (see :func:`ritz`), or a name in ``schmidt.operators.methods.METHODS`` or a
            :class:`~schmidt.operators.methods.Method` (see :func:`train`). Default: "ritz" where
            the problem allows it.
        settings: those of :func:`ritz` or :func:`train`.
    """
    chosen = named(problem) if isinstance(problem, str) else problem
    method = default_method(chosen) if method is None else method
    if method == "ritz":
        return ritz(chosen, **settings)
    return train(chosen, method=method, **settings)


def ritz(
    problem: Problem | str,
    *,
    modes: int | None = None,
    budget: float | None = None,
    tol: float = 1e-9,
    seed: int = 0,
    progress: bool = True,
    **unknown: Any,
) -> Solution:
    """Solve by the Ritz solver, with error bounds; arguments as for
    :func:`schmidt.operators.eigenfunctions`."""
    if unknown:
        raise ValueError(
            f"{', '.join(sorted(unknown))}: settings of training, which the Ritz solver does not "
            "have; add method='sequential' to train networks"
        )
    chosen = named(problem) if isinstance(problem, str) else problem
    count = chosen.checked_modes(modes)
    if chosen.space is None:
        raise ValueError(
            f"{chosen.name} is not for the Ritz solver, which needs an operator that acts "
            "pointwise on functions; use method='sequential'"
        )
    found = eigenfunctions(
        chosen.form,
        count,
        chosen.space(count),
        budget=budget,
        tol=tol,
        seed=seed,
        progress=progress,
    )
    return Solution(chosen, found, chosen.form.evaluation())


def train(
    problem: Problem | str,
    *,
    modes: int | None = None,
    method: str | Method = "sequential",
    network: str | nn.Module | tuple[nn.Module, nn.Module] = "disjoint",
    training: Training | None = None,
    start: str = "random",
    polish: str | None = None,
    checkpoint: Path | str | None = None,
    resume: bool = False,
    progress: bool = True,
    **settings: Any,
) -> Solution:
    """Train networks on a problem, and judge them.

    Args:
        problem: a :class:`Problem`, or the name of one in ``schmidt.problems.PROBLEMS``.
        modes: L; default the problem's.
        method: "sequential", "joint", "none" or another name in
            ``schmidt.operators.methods.METHODS``, or a method.
        network: "disjoint", "shared", or a network of your own (a pair for an SVD).
        training: all settings; default the problem's.
        settings: single settings to change, e.g. ``steps=500, lr=1e-3, seed=1``.
        start, polish, checkpoint, resume, progress: as in :func:`schmidt.operators.fit`.
    """
    chosen = named(problem) if isinstance(problem, str) else problem
    training = replace(training or chosen.training, **settings)
    if isinstance(network, str):
        right, left = chosen.networks(network, modes, seed=training.seed)
    elif isinstance(network, tuple):
        right, left = network
    else:
        right, left = network, None
    sample = chosen.form.evaluation()
    result = fit(
        chosen.form,
        right,
        left,
        method=method,
        training=training,
        start=start,
        polish=polish,
        settings={
            "problem": chosen.name,
            "network": network if isinstance(network, str) else type(right).__name__,
        },
        checkpoint=checkpoint,
        resume=resume,
        monitor=error_monitor(chosen, sample),
        monitor_every=max(50, training.steps // MONITOR_TIMES),
        progress=progress,
    )
    return Solution(chosen, result, sample)
