"""How large an experiment is: quick, or long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from schmidt.experiments.finetune.classification import minilm_on_tweets
from schmidt.experiments.finetune.language import Pretraining, python_to_cpp
from schmidt.experiments.finetune.settings import Settings
from schmidt.experiments.finetune.task import Task

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
    settings: Settings
    grid: tuple[float, ...]
    tuned: tuple[str, ...] = ("lora",)
    sizes: tuple[int, ...] = ()
    decays: tuple[float, ...] = ()
    compared: tuple[str, ...] = ("full", "lora", "lora-ga", "pro-factored")


TUNED = ("lora", "pro-factored")
TWEETS = Settings(rank=8, alpha=16, steps=60, lr=1e-4, measure_every=3)
CODE = Settings(rank=2, alpha=4, steps=100, lr=1e-3, measure_every=3)
BOTH = ("lora", "full", "lora-ga", "pro-factored")

PLANS: Mapping[Tier, Mapping[str, Plan]] = {
    "quick": {
        "tweets": Plan(lambda: minilm_on_tweets(960, 150, 450), TWEETS, (3e-4, 1e-3, 3e-3), TUNED),
        "code": Plan(lambda: python_to_cpp(1600, 150, 300), CODE, (3e-3, 1e-2, 3e-2), TUNED),
    },
    "long": {
        "tweets": Plan(
            lambda: minilm_on_tweets(3840, 600, 1500),
            Settings(rank=8, alpha=16, steps=240, lr=1e-4, measure_every=6),
            (3e-4, 1e-3),
            BOTH,
            sizes=(240, 960, 3840),
            decays=(0.0, 0.1),
        ),
        "code": Plan(
            lambda: python_to_cpp(6400, 600, 1200, Pretraining(steps=3000)),
            Settings(rank=4, alpha=8, steps=400, lr=1e-3, measure_every=10),
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
