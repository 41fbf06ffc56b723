"""The settings of a training run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from schmidt.operators.soap import SOAP
from schmidt.parameters import SEED, Choice, Kind, Number, check

OptimizerFactory = Callable[[Iterable[Tensor], float], Optimizer]

# eps is far below the usual 1e-8: gradients of an operator of small norm are small
OPTIMIZERS: dict[str, OptimizerFactory] = {
    "soap": lambda params, lr: SOAP(params, lr=lr, eps=1e-15),
    "adam": lambda params, lr: torch.optim.Adam(params, lr=lr, betas=(0.9, 0.99), eps=1e-15),
    "rmsprop": lambda params, lr: torch.optim.RMSprop(params, lr=lr, eps=1e-15),
    "sgd": lambda params, lr: torch.optim.SGD(params, lr=lr, momentum=0.9),
}

DTYPES = {"float32": torch.float32, "float64": torch.float64}

PARAMETERS = {
    "steps": Number(1, whole=True),
    "batch": Number(4, whole=True, advice="each of its two halves needs two points"),
    "lr": Number(0, open="low"),
    "warmup": Number(0, whole=True),
    "ema": Number(0, 1, open="high"),
    "clip": Number(0, open="low", none=True),
    "extra_shift": Number(none=True),
    "shift_until": Number(0, 1, open="low"),
    "seed": SEED,
    "device": Kind((str, torch.device), "a device such as 'cpu' or 'cuda'"),
    "dtype": Choice(*DTYPES, none=True),
    "log_every": Number(1, whole=True),
    "checkpoint_every": Number(1, whole=True, none=True),
    "checkpoint_seconds": Number(0, none=True),
    "compiled": Choice("graphs", "inductor", none=True),
}
NOT_COMPARED = (
    "steps",
    "optimizer",
    "device",
    "dtype",
    "log_every",
    "checkpoint_every",
    "checkpoint_seconds",
    "compiled",
)
"""What a resumed run may change, or what is compared elsewhere."""


@dataclass(frozen=True, kw_only=True)
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
        checkpoint_every: steps between checkpoints, where a directory for them is given; None: by
            time alone.
        checkpoint_seconds: seconds between checkpoints; None: by steps alone.
        compiled: None; "graphs" for CUDA graphs, which on a GPU save the time of launching kernels;
            "inductor" for ``torch.compile``. See :func:`schmidt.operators.step.compiled`.
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
    checkpoint_every: int | None = None
    checkpoint_seconds: float | None = 60.0
    compiled: str | None = None

    def __post_init__(self) -> None:
        check(PARAMETERS, **{name: getattr(self, name) for name in PARAMETERS})
        if isinstance(self.optimizer, str):
            check({"optimizer": Choice(*OPTIMIZERS)}, optimizer=self.optimizer)
        elif not callable(self.optimizer):
            raise TypeError(
                f"optimizer must be one of {', '.join(OPTIMIZERS)} or a function (parameters, lr) "
                f"→ optimizer, got {self.optimizer!r}"
            )

    @property
    def compared(self) -> dict[str, Any]:
        """The settings that a resumed run must share, beside optimizer and precision."""
        names = [f.name for f in fields(self) if f.name not in NOT_COMPARED]
        return {name: getattr(self, name) for name in names}

    def dtype_for(self, network: nn.Module) -> torch.dtype:
        """The precision to train a network in.

        Raises:
            ValueError: a complex network, or one in half precision, in which inner products of many
                points fail.
        """
        if any(p.is_complex() for p in network.parameters()):
            raise ValueError("the network is complex; networks are trained in real numbers")
        if self.dtype is not None:
            return DTYPES[self.dtype]
        floating = (p.dtype for p in network.parameters() if p.is_floating_point())
        found = next(floating, torch.float32)
        if found not in DTYPES.values():
            raise ValueError(
                f"the network is in {str(found).removeprefix('torch.')}, in which sums over points "
                "lose all digits: train in Training(dtype='float32'), or give network.float()"
            )
        return found

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
