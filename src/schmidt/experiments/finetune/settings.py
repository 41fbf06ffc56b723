"""How long, how large and how fast."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
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
