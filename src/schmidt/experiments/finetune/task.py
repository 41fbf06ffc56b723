"""What a fine-tuning task is: a pretrained body, perhaps a new head, data, a loss and a score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

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
class Judgement:
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
    def judge(self, network: Network, part: Part) -> Judgement:
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
