"""Solving a problem: train, then judge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from schmidt.operators.fit import fit
from schmidt.operators.methods import Method
from schmidt.operators.training import Training
from schmidt.problems.problem import Problem
from schmidt.problems.registry import named
from schmidt.problems.solution import Solution, error_monitor

MONITOR_TIMES = 20


def solve(
    problem: Problem | str,
    *,
    modes: int | None = None,
    method: str | Method = "sequential",
    network: str | nn.Module | tuple[nn.Module, nn.Module] = "disjoint",
    training: Training | None = None,
    checkpoint: Path | str | None = None,
    resume: bool = False,
    progress: bool = True,
    **settings: Any,
) -> Solution:
    """Train networks on a problem with a known answer, and judge them.

    Args:
        problem: a :class:`Problem`, or the name of one in ``schmidt.problems.PROBLEMS``.
        modes: L; default the problem's.
        method: "sequential", "joint" or "none".
        network: "disjoint", "shared", or a network of your own (a pair for an SVD).
        training: all settings; default the problem's.
        settings: single settings to change, e.g. ``steps=500, lr=1e-3, seed=1``.
        checkpoint, resume, progress: as in :func:`schmidt.operators.fit`.
    """
    chosen = named(problem) if isinstance(problem, str) else problem
    training = replace(training or chosen.training, **settings)
    if isinstance(network, str):
        right, left = chosen.networks(network, modes, training.seed)
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
