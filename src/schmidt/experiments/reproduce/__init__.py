"""The experiments of the paper (Ryu et al. 2024), run anew and put beside what it reports.

Each experiment trains its contenders – methods with a recipe – from several seeds, each run in a
process of its own, and makes a :class:`Report`: markdown, numbers, figures.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from schmidt.experiments.reproduce import hydrogen, lobpcg, nesting, oscillator
from schmidt.experiments.reproduce.model import checked_tier
from schmidt.experiments.reproduce.runs import InterruptedRuns
from schmidt.experiments.reproduce.study import Options
from schmidt.report import Report

EXPERIMENTS: dict[str, Callable[[Options], Report]] = {
    "hydrogen": hydrogen.experiment,
    "oscillator": oscillator.experiment,
    "lobpcg": lobpcg.experiment,
    "nesting": nesting.experiment,
}
SEEDS = {"quick": 2, "cpu": 3, "gpu": 3}
"""The paper has 10."""


def reproduce(name: str, options: Options) -> Report:
    """Run an experiment; the report is not written yet."""
    if name not in EXPERIMENTS:
        raise ValueError(f"unknown experiment {name!r}; known: {', '.join(EXPERIMENTS)}")
    if checked_tier(options.tier) == "gpu" and not torch.cuda.is_available():
        raise ValueError(
            "the tier gpu needs a GPU that torch can use, and there is none: --tier cpu takes up "
            "to an hour, --tier quick five minutes"
        )
    if options.seeds < 1:
        raise ValueError(f"the number of seeds must be positive, got {options.seeds}")
    return EXPERIMENTS[name](options)


__all__ = [
    "EXPERIMENTS",
    "SEEDS",
    "InterruptedRuns",
    "Options",
    "reproduce",
]
