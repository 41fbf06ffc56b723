"""Many training runs: each in a process of its own, each finished one kept on disk."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Sequence
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import torch

from schmidt.experiments.reproduce.task import Task, perform
from schmidt.progress import Bar, Interruptible, progress_bar

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
    tasks: Sequence[Task], root: Path, workers: int | None = None, progress: bool = True
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


def _work(task: Task) -> int:
    """About how long a run is: the long ones begin, so that no core waits at the end."""
    passes = task.recipe.modes if task.method == "spin" else 1
    return task.recipe.steps * task.recipe.modes * task.recipe.batch * passes


def _here(todo: Sequence[Task], root: Path, bar: Bar, interrupted: Interruptible) -> None:
    done = 0
    for task in todo:
        if interrupted:
            return
        if perform(task, root, partial(_advance, bar, done)) is None:
            return
        done += task.recipe.steps


def _advance(bar: Bar, done: int, step: int) -> None:
    bar.update(done + step)


def work(task: Task, root: Path, threads: int) -> None:
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
        self.running: dict[Any, Task] = {}

    def run(self, todo: Sequence[Task]) -> None:
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

    def _start(self, task: Task) -> None:
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

    def _step(self, task: Task) -> int:
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
