"""Exponentially weighted moving averages of estimates."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class MovingAverage:
    """x̄ ← β x̄ + (1 − β) x, eq. (13), divided by 1 − βᵗ so that its start from zero leaves no trace.

    Attributes:
        decay: β.
        steps: t, the number of updates.
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay must lie in [0, 1), got {decay}")
        self.decay = decay
        self.reset()

    def reset(self) -> None:
        self.steps = 0
        self.total: Tensor | None = None

    def update(self, value: Tensor) -> None:
        """Take in one more estimate."""
        value = value.detach()
        total = torch.zeros_like(value) if self.total is None else self.total
        self.total = total.lerp(value, 1 - self.decay)
        self.steps += 1

    @property
    def correction(self) -> float:
        """1 − βᵗ."""
        return 1 - self.decay**self.steps

    @property
    def value(self) -> Tensor:
        assert self.total is not None, "an average of nothing"
        return self.total / self.correction

    def state_dict(self) -> dict[str, Tensor]:
        if self.total is None:
            return {}
        return {"steps": torch.tensor(self.steps), "total": self.total}

    def load_state_dict(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        self.reset()
        if state:
            self.steps, self.total = int(state["steps"]), state["total"].to(device)
