"""Many training runs: each in a process of its own, each finished one kept on disk."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch

from schmidt.experiments.reproduce import model
from schmidt.experiments.reproduce.judge import judge
from schmidt.experiments.reproduce.model import Recipe
from schmidt.operators.checkpoint import exists
from schmidt.operators.fit import Fit, fit
from schmidt.operators.methods import METHODS, DivergedError
from schmidt.progress import Bar, Interruptible, progress_bar
from schmidt.storage import read_json, write_json

STATUS = Path("/proc/self/status")


def now() -> int | None:
    """Bytes that this process holds, or None where the system does not say."""
    return _line("VmRSS")


def peak() -> int | None:
    """The most bytes that this process ever held, or None where the system does not say."""
    found = _line("VmHWM")  # getrusage would count what the parent held when it forked
    if found is not None:
        return found
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


class Meter:
    """Bytes that some work took on top of what was there before it: the peak, less the start."""

    def __init__(self, device: str) -> None:
        self.cuda = torch.device(device).type == "cuda"
        if self.cuda:
            torch.cuda.reset_peak_memory_stats(device)
        self.device = device
        self.before = now() if now() is not None else peak()

    def read(self) -> int | None:
        if self.cuda:
            return int(torch.cuda.max_memory_allocated(self.device))
        most = peak()
        return None if most is None or self.before is None else max(0, most - self.before)


def _line(key: str) -> int | None:
    if not STATUS.exists():
        return None
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return None


RESULT = "result.json"
REPORTS = 100
Reporter = Callable[[int], None]
"""Called now and then with the number of steps done."""


@dataclass(frozen=True)
class TrainingRun:
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


def perform(task: TrainingRun, root: Path, report: Reporter | None = None) -> dict[str, Any] | None:
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
    on_gpu = torch.device(device).type == "cuda"
    return on_gpu and METHODS[method](recipe.modes).capturable


def _train(task: TrainingRun, folder: Path, report: Reporter | None) -> Fit:
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


STEP_FILE = "step"
POLL = 0.5  # seconds
PATIENCE = 15.0  # seconds for a run to write its checkpoint after Ctrl-C
Record = dict[str, Any]


class InterruptedRuns(RuntimeError):
    """Ctrl-C; what was finished is kept."""


class BrokenRun(RuntimeError):
    """A run ended without a result."""


def cores() -> int:
    """Processors that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def run_all(
    tasks: Sequence[TrainingRun], root: Path, workers: int | None = None, progress: bool = True
) -> list[Record]:
    """The records of all tasks, those on disk first; the others are computed.

    Args:
        tasks: what to do.
        root: the folder of all runs.
        workers: processes at a time, one thread each, so that seconds and memory are those of one
            run; default as many as there are processors, one on a GPU. 0: in this process, where
            memory is that of everything so far.
        progress: show a bar where standard error is a terminal.

    Raises:
        InterruptedRuns: Ctrl-C. Call again to go on.
        BrokenRun: a run ended without a result, killed or by an error.
    """
    if workers is None:
        workers = 1 if any(t.device != "cpu" for t in tasks) else cores()
    if workers < 0:
        raise ValueError(f"workers must not be negative, got {workers}")
    todo = sorted((t for t in tasks if t.finished(root) is None), key=_work, reverse=True)
    total = sum(t.recipe.steps for t in todo)
    bar = progress_bar(total, "runs", enabled=progress and bool(todo))
    with bar, Interruptible() as interrupted:
        if workers == 0:
            _here(todo, root, bar, interrupted)
        else:
            _Pool(root, workers, bar, interrupted).run(todo)
    records = [t.finished(root) for t in tasks]
    if interrupted or any(r is None for r in records):
        done = sum(r is not None for r in records)
        raise InterruptedRuns(
            f"interrupted with {done} of {len(tasks)} runs finished; the same command goes on"
        )
    return [r for r in records if r is not None]


def _work(task: TrainingRun) -> int:
    """About how long a run is: the long ones begin, so that no core waits at the end."""
    passes = task.recipe.modes if task.method == "spin" else 1
    return task.recipe.steps * task.recipe.modes * task.recipe.batch * passes


def _here(todo: Sequence[TrainingRun], root: Path, bar: Bar, interrupted: Interruptible) -> None:
    done = 0
    for task in todo:
        if interrupted:
            return
        if perform(task, root, partial(_advance, bar, done)) is None:
            return
        done += task.recipe.steps


def _advance(bar: Bar, done: int, step: int) -> None:
    bar.update(done + step)


def work(task: TrainingRun, root: Path, threads: int) -> None:
    """What a process does: one run, and a file that says how far it is."""
    torch.set_num_threads(threads)
    folder = task.folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    parent = multiprocessing.parent_process()

    def report(step: int) -> None:
        if parent is not None and not parent.is_alive():
            raise SystemExit("the parent is gone")
        (folder / STEP_FILE).write_text(str(step))

    perform(task, root, report)


class _Pool:
    """Processes that are started as others end."""

    def __init__(self, root: Path, workers: int, bar: Bar, interrupted: Interruptible) -> None:
        self.root, self.workers, self.bar, self.interrupted = root, workers, bar, interrupted
        self.context = multiprocessing.get_context("spawn")
        self.running: dict[Any, TrainingRun] = {}

    def run(self, todo: Sequence[TrainingRun]) -> None:
        waiting, done = list(todo), 0
        try:
            while (waiting and not self.interrupted) or self.running:
                while waiting and len(self.running) < self.workers and not self.interrupted:
                    self._start(waiting.pop(0))
                if self.interrupted:
                    self._end()
                wait([p.sentinel for p in self.running], POLL)
                for process in [p for p in self.running if not p.is_alive()]:
                    done += self._collect(process)
                self.bar.update(done + sum(map(self._step, self.running.values())), self._names())
        finally:
            self._end(0.0)

    def _start(self, task: TrainingRun) -> None:
        threads = 1 if task.device == "cpu" else max(1, cores() // self.workers)
        process = self.context.Process(target=work, args=(task, self.root, threads))
        before = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = str(threads)  # read when the process loads its libraries
        try:
            process.start()
        finally:
            if before is None:
                del os.environ["OMP_NUM_THREADS"]
            else:
                os.environ["OMP_NUM_THREADS"] = before
        self.running[process] = task

    def _collect(self, process: Any) -> int:
        task = self.running.pop(process)
        process.join()
        (task.folder(self.root) / STEP_FILE).unlink(missing_ok=True)
        if task.finished(self.root) is None and not self.interrupted:
            raise BrokenRun(
                f"the run {task.folder(self.root).name} ended with exit code {process.exitcode} "
                "and without a result; its error is above. The same command tries it again"
            )
        return task.recipe.steps

    def _step(self, task: TrainingRun) -> int:
        path = task.folder(self.root) / STEP_FILE
        try:
            return int(path.read_text())
        except (OSError, ValueError):
            return 0

    def _names(self) -> str:
        return ", ".join(f"{t.label} #{t.seed}" for t in self.running.values())

    def _end(self, patience: float = PATIENCE) -> None:
        """Let runs write their checkpoints, then stop them."""
        deadline = time.monotonic() + patience
        for process in self.running:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.terminate()
                process.join()
