"""All methods on one task from the same seeds and batches, and full fine-tuning beside each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from schmidt.experiments.finetune.classification import minilm_on_tweets
from schmidt.experiments.finetune.language import Pretraining, python_to_cpp
from schmidt.experiments.finetune.methods import METHODS, TuningMethod, method
from schmidt.experiments.finetune.task import Task, TuningSettings
from schmidt.experiments.finetune.training import TuningRun, train
from schmidt.experiments.keeping import Kept
from schmidt.identity import data_of
from schmidt.progress import Interruptible, progress_bar
from schmidt.storage import canonical, exclusive

Tier = Literal["quick", "long"]


@dataclass(frozen=True)
class Plan:
    """What is run on one task.

    Attributes:
        make: makes the task.
        settings: of every run.
        grid: learning rates that the tuned methods begin with; the grid grows where its best lies
            at an end.
        tuned: methods that also get the best learning rate of their own.
        sizes: numbers of training examples for the curve of accuracy; none, no curve.
        decays: weight decays to compare; none, no comparison.
        compared: methods in the curve and in the comparison of weight decays.
    """

    make: Callable[[], Task]
    settings: TuningSettings
    grid: tuple[float, ...]
    tuned: tuple[str, ...] = ("lora",)
    sizes: tuple[int, ...] = ()
    decays: tuple[float, ...] = ()
    compared: tuple[str, ...] = ("full", "lora", "lora-ga", "pro-factored")


TUNED = ("lora", "pro-factored")
TWEETS = TuningSettings(rank=8, alpha=16, steps=60, lr=1e-4, measure_every=3)
CODE = TuningSettings(rank=2, alpha=4, steps=100, lr=1e-3, measure_every=3)
BOTH = ("lora", "full", "lora-ga", "pro-factored")

PLANS: Mapping[Tier, Mapping[str, Plan]] = {
    "quick": {
        "tweets": Plan(lambda: minilm_on_tweets(960, 150, 450), TWEETS, (3e-4, 1e-3, 3e-3), TUNED),
        "code": Plan(lambda: python_to_cpp(1600, 150, 300), CODE, (3e-3, 1e-2, 3e-2), TUNED),
    },
    "long": {
        "tweets": Plan(
            lambda: minilm_on_tweets(3840, 600, 1500),
            TuningSettings(rank=8, alpha=16, steps=240, lr=1e-4, measure_every=6),
            (3e-4, 1e-3),
            BOTH,
            sizes=(240, 960, 3840),
            decays=(0.0, 0.1),
        ),
        "code": Plan(
            lambda: python_to_cpp(6400, 600, 1200, Pretraining(steps=3000)),
            TuningSettings(rank=4, alpha=8, steps=400, lr=1e-3, measure_every=10),
            (3e-3, 1e-2),
            BOTH,
            sizes=(400, 1600, 6400),
            decays=(0.0, 0.1),
        ),
    },
}
SEEDS: Mapping[Tier, int] = {"quick": 1, "long": 3}


def plan(tier: Tier, task: str) -> Plan:
    """The plan of a tier for a task.

    Raises:
        ValueError: there is none of that name.
    """
    if tier not in PLANS:
        raise ValueError(f"unknown tier {tier!r}; known: {', '.join(PLANS)}")
    if task not in PLANS[tier]:
        raise ValueError(f"unknown task {task!r}; known: {', '.join(PLANS[tier])}")
    return PLANS[tier][task]


FACTOR = 3.0
LARGEST_GRID = 6
Runs = list[TuningRun]


@dataclass(frozen=True)
class Tuned:
    """A method with a learning rate of its own.

    Attributes:
        grid: validation loss by learning rate, from the first seed.
        lr: the best of them.
        runs: at this rate, by seed.
        edge: whether the best is the largest or smallest that was tried.
    """

    grid: dict[float, float]
    lr: float
    runs: Runs
    edge: bool


@dataclass
class TuningResults:
    """What came of an experiment.

    Attributes:
        runs: by method, all at the same learning rate, one per seed.
        tuned: by method.
        sizes: by method and number of training examples.
        decays: by method and weight decay.
        interrupted: Ctrl-C came; this is what was finished.
    """

    task: Task
    settings: TuningSettings
    seeds: int
    runs: dict[str, Runs] = field(default_factory=dict)
    tuned: dict[str, Tuned] = field(default_factory=dict)
    sizes: dict[str, dict[int, Runs]] = field(default_factory=dict)
    decays: dict[str, dict[float, Runs]] = field(default_factory=dict)
    interrupted: bool = False

    def rows(self) -> list[tuple[str, float, Runs]]:
        """(title, learning rate, runs): tuned methods follow the same method at the common rate."""
        found = []
        for name, runs in self.runs.items():
            if runs:
                found.append((METHODS[name].title, _rate(runs[0]), runs))
            if name in self.tuned:
                tuned = self.tuned[name]
                found.append((self.best_title(name), tuned.lr, tuned.runs))
        return found

    def best_title(self, name: str) -> str:
        """A method at its own learning rate, where it has one."""
        return METHODS[name].title + (", tuned" if name in self.tuned else "")


class Stopped(Exception):
    """Ctrl-C."""


def run(
    task: Task,
    plan: Plan,
    methods: Sequence[str],
    seeds: int,
    watch: Callable[[TuningRun], None] = lambda run: None,
    *,
    folder: Path | None = None,
    resume: bool = False,
    checkpoint_seconds: float = 60.0,
) -> TuningResults:
    """Run the methods of a plan; full fine-tuning is always among them, as the reference.

    Args:
        methods: names; see :data:`schmidt.experiments.finetune.METHODS`.
        seeds: 0, …, seeds − 1, each with a head, adapters and batches of its own.
        watch: called with every finished run.
        folder: where finished runs are kept, and the state of the one at hand: after a signal, and
            every ``checkpoint_seconds``. Held for this experiment alone.
        resume: go on from what is there, to the same numbers; more methods and seeds may be asked
            for than before, nothing else may differ.

    Raises:
        ValueError: an unknown method, or no seed; the folder holds another experiment.
    """
    chosen = [method(name) for name in dict.fromkeys(["full", *methods])]
    if seeds < 1:
        raise ValueError(f"the number of seeds must be positive, got {seeds}")
    results = TuningResults(task, plan.settings, seeds)
    todo = _Todo(plan, chosen, seeds)
    with ExitStack() as stack:
        kept = None
        if folder is not None:
            kept = Kept(stack.enter_context(exclusive(folder)), checkpoint_seconds)
            what = {"settings": asdict(plan.settings), "task": task.name, "data": data_of(task)}
            kept.begin(what, resume=resume)
        bar = stack.enter_context(progress_bar(todo.steps, task.name))
        interrupted = stack.enter_context(Interruptible())
        work = _Work(results, bar.update, interrupted, watch, kept)
        try:
            for m in chosen:
                work.common(m)
            for m in chosen:
                if m.name in plan.tuned:
                    work.tune(m, plan.grid)
            for m in chosen:
                if m.name in plan.compared:
                    work.compare(m, plan)
        except Stopped:
            results.interrupted = True
    return results


@dataclass(frozen=True)
class _Todo:
    plan: Plan
    methods: Sequence[TuningMethod]
    seeds: int

    @property
    def steps(self) -> int:
        """About how many steps there will be."""
        names = {m.name for m in self.methods}
        runs = len(names) * self.seeds
        runs += len(names & set(self.plan.tuned)) * (len(self.plan.grid) + self.seeds)
        more = max(0, len(self.plan.sizes) - 1) + max(0, len(self.plan.decays) - 1)
        runs += len(names & set(self.plan.compared)) * more * self.seeds
        return runs * self.plan.settings.steps


class _Work:
    def __init__(
        self,
        results: TuningResults,
        update: Callable[[int, str], None],
        interrupted: Interruptible,
        watch: Callable[[TuningRun], None],
        kept: Kept | None,
    ) -> None:
        self.results, self.update, self.watch = results, update, watch
        self.interrupted, self.kept = interrupted, kept
        self.done = 0

    def common(self, m: TuningMethod) -> None:
        """At the learning rate of all."""
        runs = self.results.runs.setdefault(m.name, [])
        for seed in range(self.results.seeds):
            runs.append(self._run(m, self.results.settings, seed))

    def tune(self, m: TuningMethod, grid: Sequence[float]) -> None:
        """At the learning rate of the least validation loss; the test set has no part in it."""
        tried = {self.results.settings.lr: self.results.runs[m.name][0]}
        for lr in sorted(set(grid) - set(tried)):
            tried[lr] = self._run(m, self._at(lr), 0)
        while len(tried) < LARGEST_GRID:
            best, rates = _best(tried), sorted(tried)
            if best == rates[-1]:
                lr = _round(best * FACTOR)
            elif best == rates[0]:
                lr = _round(best / FACTOR)
            else:
                break
            tried[lr] = self._run(m, self._at(lr), 0)
        best, rates = _best(tried), sorted(tried)
        others = [self._run(m, self._at(best), s) for s in range(1, self.results.seeds)]
        self.results.tuned[m.name] = Tuned(
            {lr: tried[lr].validation_loss for lr in rates},
            best,
            [tried[best], *others],
            best in (rates[0], rates[-1]),
        )

    def compare(self, m: TuningMethod, plan: Plan) -> None:
        """Training-set sizes and weight decays, at the tuned learning rate where there is one."""
        results = self.results
        tuned = results.tuned.get(m.name)
        settings = replace(plan.settings, lr=tuned.lr) if tuned else plan.settings
        there = tuned.runs if tuned else results.runs[m.name]
        for size in plan.sizes:
            runs = there if size == results.task.examples else self._seeds(m, settings, size)
            results.sizes.setdefault(m.name, {})[size] = runs
        for decay in plan.decays:
            same = decay == settings.weight_decay
            runs = there if same else self._seeds(m, replace(settings, weight_decay=decay))
            results.decays.setdefault(m.name, {})[decay] = runs

    def _seeds(self, m: TuningMethod, settings: TuningSettings, size: int | None = None) -> Runs:
        task = self.results.task if size is None else self.results.task.sized(size)
        return [self._run(m, settings, seed, task) for seed in range(self.results.seeds)]

    def _at(self, lr: float) -> TuningSettings:
        return replace(self.results.settings, lr=lr)

    def _run(
        self, m: TuningMethod, settings: TuningSettings, seed: int, task: Task | None = None
    ) -> TuningRun:
        def step(done: int) -> bool:
            self.update(self.done + done, f"{m.title}, seed {seed}")
            return bool(self.interrupted)

        name = _name(m, settings, seed, task)
        before = self.kept.read(name) if self.kept else None
        if before is not None:
            found = TuningRun(m, seed, settings, **before)
        else:
            found = self._fresh(m, settings, seed, task, step, name)
        self.done += settings.steps
        self.watch(found)
        # the weights themselves have been compared, and are large
        return found if m.full else replace(found, change={})

    def _fresh(
        self,
        m: TuningMethod,
        settings: TuningSettings,
        seed: int,
        task: Task | None,
        step: Callable[[int], bool],
        name: str,
    ) -> TuningRun:
        under_way = f"{name}-under-way"
        found = train(task or self.results.task, m, settings, seed, step, self.kept, under_way)
        if found is None:
            raise Stopped
        full = self.results.runs["full"]
        if task is None and seed < len(full):
            found = found.beside(full[seed])
        elif m.full and task is None:
            found = found.beside(found)
        if self.kept:
            small = found if m.full else replace(found, change={})
            self.kept.write(name, small.plain())
            self.kept.remove(under_way)
        return found


def _name(m: TuningMethod, settings: TuningSettings, seed: int, task: Task | None) -> str:
    """Of a run on disk: other settings never meet."""
    text = canonical({**asdict(settings), "examples": None if task is None else task.examples})
    return f"{m.name}-seed{seed}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _best(tried: dict[float, TuningRun]) -> float:
    finite = {lr: r.validation_loss for lr, r in tried.items() if not r.diverged}
    return min(finite, key=finite.__getitem__) if finite else min(tried)


def _round(lr: float) -> float:
    return float(f"{lr:.0e}")


def _rate(run: TuningRun) -> float:
    return run.settings.sgd_lr if run.method.optimizer == "sgd" else run.settings.lr
