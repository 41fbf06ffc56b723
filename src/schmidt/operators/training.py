"""The settings of a training run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from schmidt.operators.soap import SOAP

OptimizerFactory = Callable[[Iterable[Tensor], float], Optimizer]

# eps is far below the usual 1e-8: gradients of an operator of small norm are small
OPTIMIZERS: dict[str, OptimizerFactory] = {
    "soap": lambda params, lr: SOAP(params, lr=lr, eps=1e-15),
    "adam": lambda params, lr: torch.optim.Adam(params, lr=lr, betas=(0.9, 0.99), eps=1e-15),
    "rmsprop": lambda params, lr: torch.optim.RMSprop(params, lr=lr, eps=1e-15),
    "sgd": lambda params, lr: torch.optim.SGD(params, lr=lr, momentum=0.9),
}

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Training:
    """How to train.

    Attributes:
        steps: number of optimizer steps.
        batch: points per step in all; each of its two independent halves has batch/2.
        optimizer: "soap", "adam", "rmsprop", "sgd", or a function (parameters, lr) → optimizer.
        lr: largest learning rate.
        warmup: steps over which the learning rate rises from 0; afterwards it falls to 0 along a
            cosine.
        ema: decay of the exponential moving average of the parameters, which is what is returned;
            shorter, (1 + t)/(10 + t), in the first steps t.
        clip: largest norm of the gradient; None for no clipping.
        extra_shift: for eigenvalues, train T + c with c falling linearly from this value to 0. A
            function whose Rayleigh quotient is negative is pulled to zero, where it would stay;
            a start with all quotients positive avoids that. None: as much as the span of the
            starting functions needs, and at least half of its largest value.
        shift_until: fraction of the steps at which c has reached 0.
        seed: of the points (the networks carry their own initial values).
        device: where to train, e.g. "cpu" or "cuda".
        dtype: "float32", "float64", or None for that of the network.
        log_every: steps between entries of the history.
        checkpoint_every: steps between checkpoints, where a directory for them is given.
    """

    steps: int = 2000
    batch: int = 1024
    optimizer: str | OptimizerFactory = "soap"
    lr: float = 1e-2
    warmup: int = 50
    ema: float = 0.99
    clip: float | None = None
    extra_shift: float | None = None
    shift_until: float = 0.75
    seed: int = 0
    device: str = "cpu"
    dtype: str | None = None
    log_every: int = 20
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        positive = {
            "steps": self.steps,
            "lr": self.lr,
            "log_every": self.log_every,
            "checkpoint_every": self.checkpoint_every,
        }
        for name, value in positive.items():
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
        if self.batch < 4:
            raise ValueError(f"batch must be at least 4 (two halves), got {self.batch}")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must lie in [0, 1), got {self.ema}")
        if not 0 < self.shift_until <= 1:
            raise ValueError(f"shift_until must lie in (0, 1], got {self.shift_until}")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip must be positive or None, got {self.clip}")
        if self.dtype is not None and self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {self.dtype!r}")
        if isinstance(self.optimizer, str) and self.optimizer not in OPTIMIZERS:
            known = ", ".join(OPTIMIZERS)
            raise ValueError(f"unknown optimizer {self.optimizer!r}; known: {known}")

    def dtype_for(self, network: nn.Module) -> torch.dtype:
        """The precision to train a network in."""
        if self.dtype is not None:
            return DTYPES[self.dtype]
        floating = (p.dtype for p in network.parameters() if p.is_floating_point())
        return next(floating, torch.float32)

    def make_optimizer(self, parameters: Iterable[Tensor]) -> Optimizer:
        make = OPTIMIZERS[self.optimizer] if isinstance(self.optimizer, str) else self.optimizer
        return make(parameters, self.lr)

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then cosine to zero."""
        rise = min(1.0, (step + 1) / max(1, self.warmup))
        return self.lr * rise * 0.5 * (1 + math.cos(math.pi * step / self.steps))

    def annealing(self, step: int) -> float:
        """The fraction of the extra shift that is left at a step."""
        return max(0.0, 1 - step / (self.shift_until * self.steps))
