"""Pairs of equal shape as one stack: a step is a few batched products, not some per layer."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from schmidt.adapters.pairs import Pair, is_sharded, whole, write
from schmidt.adapters.rules import Rule, State
from schmidt.adapters.tangent import (
    Directions,
    Frames,
    coefficients,
    frames,
    projected_square,
    wide,
)

OF_B = ("first_B", "second_B", "rows")
"""What a rule keeps that belongs to B; all else belongs to A."""


@dataclass
class Bucket:
    """Pairs of one shape, at one point, with their gradients."""

    pairs: list[Pair]
    states: list[State]
    """What the rule keeps of each pair."""
    owners: list[tuple[dict[str, Any], dict[str, Any]]]
    """The optimizer's states of A and B of each pair."""
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

    def add(self, D: Directions, keep: float, rounding: str) -> None:
        """A ← keep·A + D_A and B ← keep·B + D_B, each pair in the dtype of its factors.

        A start shrinks along: what decays is the change of the weight, s(BA − B0A0).
        """
        blocks = [pair.blocks for pair in self.pairs]
        moves = zip(self.pairs, self.owners, D.A.split(blocks), D.B.split(blocks), strict=True)
        whole_factors: list[Tensor] = []
        targets: list[Tensor] = []
        steps: list[Tensor] = []
        for pair, (of_A, of_B), D_A, D_B in moves:
            for factor, owner, trained, move in (
                (pair.A, of_A, pair.right, D_A),
                (pair.B, of_B, pair.left, D_B),
            ):
                if _plain(factor):
                    whole_factors.append(factor)
                    targets.append(trained(factor))
                    steps.append(move)
                    continue
                with exactly(factor, owner, rounding, pair.name) as value:
                    trained(value.mul_(keep)).add_(move)
        if targets:
            if keep != 1:
                torch._foreach_mul_(whole_factors, keep)
            torch._foreach_add_(targets, steps)


def _plain(factor: Tensor) -> bool:
    """Whether a parameter can be changed in place without a loss."""
    precise = factor.dtype in (torch.float32, torch.float64)
    return precise and not is_sharded(factor) and factor.is_contiguous()


@contextmanager
def exactly(target: Any, owner: dict[str, Any], rounding: str, name: str = "") -> Iterator[Tensor]:
    """A parameter as a whole tensor in float32 or better; what is done to it in place is kept.

    Small steps of half-precision parameters are lost where each is rounded to the nearest number.

    Args:
        target: the parameter.
        owner: its state in the optimizer: its float32 original is kept there as ``master``.
        rounding: "master"; "stochastic", which keeps nothing and is right on average; "nearest".
        name: of the parameter; with ``owner["step"]`` it seeds the stochastic rounding.
    """
    if _plain(target):
        yield target
        return
    if target.dtype in (torch.float32, torch.float64):
        value = whole(target).clone(memory_format=torch.contiguous_format)
        yield value
        write(target, value)
        return
    there = whole(target)
    value = there.to(torch.float32, memory_format=torch.contiguous_format)
    if rounding == "master":
        if "master" in owner:  # kept where the parameter is still what it was rounded to
            kept = owner["master"]
            value = torch.where(kept.to(there.dtype) == there, kept, value)
        owner["master"] = value
    yield value
    if rounding == "stochastic":
        seed = zlib.crc32(f"{name} {int(owner['step'])} {tuple(target.shape)}".encode())
        write(target, round_stochastically(value, target.dtype, seed))
    else:
        write(target, value.to(target.dtype))


def round_stochastically(x: Tensor, dtype: torch.dtype, seed: int) -> Tensor:
    """x in half precision: one of its two neighbours, with x as the mean.

    The same seed rounds alike, in all processes and after a resume.
    """
    info = torch.finfo(dtype)
    generator = torch.Generator(x.device).manual_seed(seed)
    _, exponent = torch.frexp(x)  # |x| in [½, 1)·2^exponent
    digits = 1 - round(math.log2(info.eps))
    lowest = round(math.log2(info.smallest_normal)) - digits + 1
    unit = torch.ldexp(torch.ones_like(x), (exponent - digits).clamp_min(lowest))
    draw = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return ((x / unit + draw).floor() * unit).to(dtype)


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


def state_of(pair: Pair, states: Any, rule: Rule, dtype: torch.dtype | None) -> State:
    """What the rule keeps of a pair; made where there is none yet.

    It lies in the states of A and of B, so that each parameter has one: distributed checkpoints
    ask for that.
    """
    of_A, of_B = states[pair.A], states[pair.B]
    if "step" not in of_A:
        A, B = wide(pair.right(whole(pair.A))), wide(pair.left(whole(pair.B)))
        for key, value in rule.start(A, B, dtype).items():
            (of_B if key in OF_B else of_A)[key] = value
        for owner in (of_A, of_B):
            owner["step"] = torch.zeros((), dtype=torch.float32)
    return {k: v for own in (of_A, of_B) for k, v in own.items() if k not in ("step", "master")}


def fill(pairs: list[Pair], states: list[State], owners: Any, damping: float) -> Bucket:
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
    return Bucket(pairs, states, owners, scaling, f, X, projected_square(X, BtG, GAt))


def alike(pairs: Iterable[Pair], steps: Iterable[int], rule: Rule) -> list[list[int]]:
    """Which pairs can be stacked: positions of those with one shape, dtype, device and step."""
    found: dict[object, list[int]] = {}
    for i, (pair, step) in enumerate(zip(pairs, steps, strict=True)):
        key = (pair.shape, pair.rank, pair.A.dtype, pair.B.dtype, pair.A.device, step)
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
    rounding: str = "nearest",
) -> None:
    """One step of AdamW for everything that is trained beside the pairs.

    Args:
        group: its ``lr``, ``betas``, ``eps`` and ``weight_decay``.
        parameters: those that have gradients.
        state: the optimizer's.
        shrink: what clipping multiplies the gradients by, if anything.
        rounding: of half-precision parameters, see :func:`exactly`.
    """
    plain = [p for p in parameters if rounding == "nearest" or p.dtype.itemsize > 2]
    others = [p for p in parameters if all(p is not q for q in plain)]
    _adamw(group, plain, plain, state, shrink)
    for i, p in enumerate(others):
        state[p].setdefault("step", torch.zeros((), dtype=torch.float32))
        with exactly(p, state[p], rounding, str(i)) as value:
            _adamw(group, [p], [value], state, shrink)


def _adamw(
    group: dict[str, Any],
    parameters: list[Tensor],
    values: list[Tensor],
    state: MutableMapping[Tensor, Any],
    shrink: Tensor | None,
) -> None:
    """Steps of ``values``, which are the parameters or stand for them."""
    if not parameters:
        return
    gradients = []
    for p, value in zip(parameters, values, strict=True):
        if "exp_avg" not in state[p]:
            state[p].setdefault("step", torch.zeros((), dtype=torch.float32))
            for key in ("exp_avg", "exp_avg_sq"):
                state[p][key] = torch.zeros_like(value, memory_format=torch.preserve_format)
        gradient: Any = p.grad
        if value is not p or gradient.is_sparse:
            gradient = whole(gradient)
        gradient = gradient.to(value.dtype)
        gradients.append(gradient if shrink is None else gradient * shrink.to(gradient))
    states = [state[p] for p in parameters]
    adamw(
        values,
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
