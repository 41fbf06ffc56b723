"""AdamW, as torch has it, for everything that is trained beside the pairs."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw


def adamw_step(
    group: dict[str, Any],
    parameters: list[Tensor],
    state: MutableMapping[Tensor, Any],
    shrink: Tensor | None,
) -> None:
    """One step of AdamW.

    Args:
        group: its ``lr``, ``betas``, ``eps`` and ``weight_decay``.
        parameters: those that have gradients.
        state: the optimizer's.
        shrink: what clipping multiplies the gradients by, if anything.
    """
    for p in parameters:
        if not state[p]:
            state[p] = {
                "step": torch.zeros((), dtype=torch.float32),
                "exp_avg": torch.zeros_like(p, memory_format=torch.preserve_format),
                "exp_avg_sq": torch.zeros_like(p, memory_format=torch.preserve_format),
            }
    states = [state[p] for p in parameters]
    gradients = [p.grad for p in parameters if p.grad is not None]
    if shrink is not None:
        gradients = [g * shrink.to(g) for g in gradients]
    adamw(
        parameters,
        gradients,
        [s["exp_avg"] for s in states],
        [s["exp_avg_sq"] for s in states],
        [],
        [s["step"] for s in states],
        amsgrad=False,
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        lr=group["lr"],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        maximize=False,
    )
