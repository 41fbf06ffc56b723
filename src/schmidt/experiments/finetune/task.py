"""What a fine-tuning task is: a pretrained body, perhaps a new head, data, a loss; and settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class TuningSettings:
    """The training of one run; the same for all methods.

    Attributes:
        rank, alpha: of LoRA; the scaling is alpha / rank, with rsLoRA alpha / √rank.
        steps, batch: length and size.
        lr: of every method but "sgd", whose steps are of another kind.
        sgd_lr: of "sgd".
        head_lr: of a new head, with AdamW, for all methods.
        weight_decay: of the fine-tuned weights or factors.
        warmup: share of the steps over which the learning rate rises; then it falls as a cosine.
        gamma: γ of LoRA-GA.
        start_batches: batches that LoRA-GA measures its gradient on.
        measure_every: steps between measurements of the alignment; they cost a product of
            gradient size per layer, and these steps are not timed.
    """

    rank: int = 8
    alpha: float = 16.0
    steps: int = 60
    batch: int = 16
    lr: float = 1e-4
    sgd_lr: float = 0.1
    head_lr: float = 5e-3
    weight_decay: float = 0.0
    warmup: float = 0.05
    gamma: float = 16.0
    start_batches: int = 4
    measure_every: int = 2

    def __post_init__(self) -> None:
        for name in ("rank", "steps", "batch", "start_batches", "measure_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("alpha", "lr", "sgd_lr", "head_lr", "gamma"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay must not be negative, got {self.weight_decay}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is a share of the steps in [0, 1), got {self.warmup}")


Part = Literal["validation", "test"]
Batch = Mapping[str, Tensor]


class Network(nn.Module):
    """A pretrained body, which is fine-tuned or adapted, and a head that is trained in any case.

    Args:
        body: the pretrained part; PEFT may wrap it.
        head: a new part, or None.
    """

    def __init__(self, body: nn.Module, head: nn.Module | None = None) -> None:
        super().__init__()
        self.body: nn.Module = body
        self.head: nn.Module | None = head


@dataclass(frozen=True)
class Evaluation:
    """A network on held-out examples.

    Attributes:
        scores: (n,) per example: 1 or 0 for a class that is right or wrong, or a share of right
            predictions; examples are independent.
        loss: the mean loss.
    """

    scores: Tensor
    loss: float


class Task(ABC):
    """A task. Every call with the same seed gives the same networks and batches.

    Attributes:
        name: short name.
        title: what it is, in a few words.
        score: what the scores are.
        targets: names of the linear layers that are adapted, as ``target_modules`` of PEFT.
    """

    name: str
    title: str
    score: str
    targets: tuple[str, ...]

    @abstractmethod
    def network(self, seed: int) -> Network:
        """A new network: the pretrained body, always the same, and a head that the seed decides."""

    @abstractmethod
    def batches(self, seed: int, steps: int, size: int) -> Iterator[Batch]:
        """Training batches of ``size`` examples."""

    @abstractmethod
    def loss(self, network: Network, batch: Batch) -> Tensor:
        """The mean loss of a batch."""

    @abstractmethod
    def judge(self, network: Network, part: Part) -> Evaluation:
        """Scores and loss on held-out examples."""

    @abstractmethod
    def sized(self, examples: int) -> Task:
        """The same task with that many training examples."""

    @property
    @abstractmethod
    def examples(self) -> int:
        """Number of training examples."""


def shuffled(count: int, seed: int, steps: int, size: int) -> Iterator[Tensor]:
    """Indices of batches: every example once, in random order, then again.

    Raises:
        ValueError: fewer examples than a batch has.
    """
    if size > count:
        raise ValueError(f"a batch of {size} needs as many examples, there are {count}")
    generator = torch.Generator().manual_seed(seed)
    order, at = torch.randperm(count, generator=generator), 0
    for _ in range(steps):
        if at + size > count:
            order, at = torch.randperm(count, generator=generator), 0
        yield order[at : at + size]
        at += size
