"""Settings of the networks, for each kind of data."""

from __future__ import annotations

import math
from dataclasses import dataclass

from schmidt.experiments.retrieval.dataset import ZeroShot


@dataclass(frozen=True)
class Settings:
    """How networks are fed and trained; see :class:`~schmidt.dependence.CDK`.

    Attributes:
        components, damping: see :class:`~schmidt.experiments.retrieval.inputs.Inputs`.
        share: one network for both domains, where their features allow it.
        skip: whether to begin at the closed-form linear solution. It is ordered, and networks that
            are not nested keep some of its order: then they show less what nesting is worth.
        optimizer: "adamw", or "sgd" with momentum 0.9.
        polish: of nested modes, at the end.
        epochs: if given, decides the steps: so many times the items of X.
    """

    components: int | None = 256
    damping: float = 0.1
    modes: int = 64
    hidden: tuple[int, ...] = (1024,)
    activation: str = "gelu"
    share: bool = True
    skip: bool = False
    cap: float | None = 16.0
    steps: int = 1600
    batch: int = 512
    optimizer: str = "adamw"
    lr: float = 2e-3
    weight_decay: float = 0.01
    warmup: int = 50
    ema: float = 0.99
    polish: str | None = "auto"
    epochs: int | None = None

    def steps_for(self, data: ZeroShot) -> int:
        if self.epochs is None:
            return self.steps
        return self.epochs * math.ceil(len(data.train.x) / self.batch)


SKETCHY = Settings(
    components=None,
    modes=512,
    hidden=(8192,),
    activation="relu",
    share=False,
    cap=16.0,
    batch=4096,
    optimizer="sgd",
    lr=5e-3,
    warmup=0,
    ema=0.0,
    epochs=10,
)
"""Ryu et al. (2024), E.2. It speaks of a single network; the public code has one per domain, as
here, and leaky rectifiers, clipped gradients and a cap on the norm of √16."""
