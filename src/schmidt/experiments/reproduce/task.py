"""One training run: what is to be done, where its files are, and what came out."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from schmidt.experiments.reproduce import model
from schmidt.experiments.reproduce.judge import judge
from schmidt.experiments.reproduce.memory import Meter
from schmidt.experiments.reproduce.recipe import Recipe
from schmidt.operators.checkpoint import exists
from schmidt.operators.fit import Fit, fit
from schmidt.operators.methods import METHODS, DivergedError
from schmidt.storage import read_json, write_json

RESULT = "result.json"
REPORTS = 100
Reporter = Callable[[int], None]
"""Called now and then with the number of steps done."""


@dataclass(frozen=True)
class Task:
    """One method on one recipe from one seed; ``label`` names its row in the tables."""

    label: str
    method: str
    recipe: Recipe
    seed: int
    device: str = "cpu"

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "schmidt": version("schmidt"),
            "label": self.label,
            "method": self.method,
            "recipe": self.recipe.plain(),
            "seed": self.seed,
            "device": self.device,
        }

    def folder(self, root: Path) -> Path:
        """Where its files are: one folder per task, so that other settings never meet."""
        text = json.dumps(self.plain(), sort_keys=True)
        name = re.sub(r"[^a-z0-9.]+", "-", self.label.lower()).strip("-")
        return root / f"{name}-seed{self.seed}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def finished(self, root: Path) -> dict[str, Any] | None:
        """The record of an earlier, finished run."""
        path = self.folder(root) / RESULT
        return read_json(path)["record"] if path.exists() else None


def perform(task: Task, root: Path, report: Reporter | None = None) -> dict[str, Any] | None:
    """Train and judge, going on from a checkpoint if there is one; None if Ctrl-C ended it.

    A run that diverges is finished too: its record says where.
    """
    folder = task.folder(root)
    meter = Meter(task.device)
    try:
        trained = _train(task, folder, report)
    except DivergedError as error:
        record: dict[str, Any] = {"failed": str(error)}
    else:
        if trained.interrupted:
            return None
        record = {
            "seconds": trained.seconds,
            "memory": meter.read(),
            "parameters": trained.settings["parameters"],
            **judge(task.recipe, trained, folder),
        }
    write_json(folder / RESULT, {"task": task.plain(), "record": record})
    for state in folder.glob("checkpoint*"):
        state.unlink()
    return record


def capturable(recipe: Recipe, method: str, device: str) -> bool:
    """Whether the steps of a run can be recorded as CUDA graphs."""
    return torch.device(device).type == "cuda" and METHODS[method](recipe.modes).capturable


def _train(task: Task, folder: Path, report: Reporter | None) -> Fit:
    recipe = task.recipe
    settings = model.training(recipe, task.seed, task.device)
    if capturable(recipe, task.method, task.device):
        settings = replace(settings, compiled="graphs")
    every = max(1, recipe.steps // REPORTS)
    network = model.network(recipe, task.seed)
    calls = 0

    def monitor(right: Any, left: Any) -> dict[str, float]:
        nonlocal calls
        calls += 1
        if report is not None:
            report(calls * every)
        return {}

    return fit(
        model.form(recipe),
        network,
        method=task.method,
        training=settings,
        settings={"recipe": recipe.plain()},
        checkpoint=folder,
        resume=exists(folder),
        monitor=monitor,
        monitor_every=every,
        progress=False,
    )
