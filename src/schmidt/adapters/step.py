"""Pairs of equal shape as one stack: a step is a few batched products, not some per layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from schmidt.adapters.pairs import Pair, whole, write
from schmidt.adapters.rules import Rule, State
from schmidt.adapters.tangent import (
    Directions,
    Frames,
    coefficients,
    frames,
    projected_square,
    wide,
)


@dataclass
class Bucket:
    """Pairs of one shape, at one point, with their gradients."""

    pairs: list[Pair]
    states: list[State]
    scaling: Tensor
    """(k, 1, 1)"""
    frames: Frames
    X: Directions
    """Ĝ = B·X_A + X_B·A, in gauge zero"""
    square: Tensor
    """‖Ĝ‖², (k,)"""

    @contextmanager
    def stacked_state(self) -> Iterator[State]:
        """The states of all pairs, stacked; what is done to them in place is kept."""
        if len(self.states) == 1:
            yield self.states[0]
            return
        together = {key: torch.cat([s[key] for s in self.states]) for key in self.states[0]}
        yield together
        for key, stack in together.items():
            parts = stack.split([s[key].shape[0] for s in self.states])
            torch._foreach_copy_([s[key] for s in self.states], list(parts))

    def add(self, D: Directions, keep: float) -> None:
        """A ← keep·A + D_A and B ← keep·B + D_B, each pair in the dtype of its factors.

        A start shrinks along: what decays is the change of the weight, s(BA − B0A0).
        """
        blocks = [pair.blocks for pair in self.pairs]
        new_A, new_B = keep * self.frames.A + D.A, keep * self.frames.B + D.B
        for pair, A, B in zip(self.pairs, new_A.split(blocks), new_B.split(blocks), strict=True):
            write(pair.A, pair.as_A(A, keep))
            write(pair.B, pair.as_B(B, keep))


def factors(pairs: Iterable[Pair], damping: float) -> Frames:
    """The factors of all pairs as they are now."""
    pairs = list(pairs)
    A = torch.cat([wide(pair.right(whole(pair.A))) for pair in pairs])
    B = torch.cat([wide(pair.left(whole(pair.B))) for pair in pairs])
    try:
        return frames(A, B, damping)
    except torch.linalg.LinAlgError as error:
        broken = [p.name for p in pairs if not _finite(p)]
        raise RuntimeError(
            f"the factors of {', '.join(broken) or 'some pairs'} hold NaN or Inf: training has "
            "diverged. Go back to a checkpoint and lower lr, set clip_norm, or under float16 use "
            "torch.amp.GradScaler, which skips such steps"
        ) from error


def fill(pairs: list[Pair], states: list[State], damping: float) -> Bucket:
    """A bucket of pairs of one shape, dtype and device, which all have gradients."""
    f = factors(pairs, damping)
    scaling = torch.tensor(
        [pair.scaling for pair in pairs for _ in range(pair.blocks)],
        dtype=f.A.dtype,
        device=f.A.device,
    ).view(-1, 1, 1)
    BtG = torch.cat([wide(pair.right(_gradient(pair.A))) for pair in pairs]) / scaling
    GAt = torch.cat([wide(pair.left(_gradient(pair.B))) for pair in pairs]) / scaling
    X = coefficients(f, BtG, GAt)
    return Bucket(pairs, states, scaling, f, X, projected_square(X, BtG, GAt))


def alike(pairs: Iterable[Pair], states: list[State], rule: Rule) -> list[list[int]]:
    """Which pairs can be stacked: positions of those with one shape, dtype, device and step."""
    found: dict[object, list[int]] = {}
    for i, (pair, state) in enumerate(zip(pairs, states, strict=True)):
        key = (pair.shape, pair.rank, pair.A.dtype, pair.B.dtype, pair.A.device, state["step"])
        found.setdefault(key if rule.stacks else i, []).append(i)
    return list(found.values())


def _finite(pair: Pair) -> bool:
    return bool(whole(pair.A).isfinite().all() and whole(pair.B).isfinite().all())


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return whole(parameter.grad)


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
