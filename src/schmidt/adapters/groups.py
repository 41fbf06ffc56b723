"""The parameter groups of LoRA-Pro: settings and pairs as plain data, saved and resumed."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch.optim import Optimizer

from schmidt.adapters.pairs import Pair
from schmidt.adapters.rules import RULES
from schmidt.adapters.tangent import GAUGES
from schmidt.parameters import Allowed, Choice, Number

SETTINGS: dict[str, Allowed] = {
    "lr": Number(0, open="low", advice="full fine-tuning's 1e-5 to 1e-4 is usual"),
    "mode": Choice(*RULES),
    "eps": Number(0),
    "weight_decay": Number(0),
    "decay": Choice("product", "factors"),
    "gauge": Choice(*GAUGES),
    "damping": Number(0),
    "cap": Number(0, open="low", none=True, advice="None turns it off"),
    "clip_norm": Number(0, open="low", none=True, advice="None turns it off"),
    "rest_lr": Number(0, open="low", none=True, advice="None takes lr"),
    "rounding": Choice("master", "stochastic", "nearest"),
}


def described(pair: Pair) -> dict[str, Any]:
    """A pair as plain data, which goes into checkpoints; the parameters lie beside it."""
    return {
        "name": pair.name.replace("_orig_mod.", "").removeprefix("module."),
        "scaling": pair.scaling,
        "kind": pair.kind,
        "blocks": pair.blocks,
        "shapes": [list(pair.A.shape), list(pair.B.shape)],
        "start": pair.start,
        "dtypes": [str(pair.A.dtype), str(pair.B.dtype)],
    }


def pairs_of(group: dict[str, Any]) -> list[Pair]:
    """The pairs of a parameter group.

    Raises:
        RuntimeError: the parameters are no longer those that the optimizer was made with.
    """
    found = []
    changed = []
    factors = group["params"]
    for entry, A, B in zip(group["pairs"], factors[::2], factors[1::2], strict=True):
        if [list(A.shape), list(B.shape)] != entry["shapes"]:
            raise RuntimeError(
                f"{entry['name']}: the factors had shapes {entry['shapes']} when the optimizer was "
                f"made and have {[list(A.shape), list(B.shape)]} now; were they flattened "
                "(FSDP1, DeepSpeed ZeRO-3)? Use FSDP2 (fully_shard) or DDP"
            )
        dtypes = [str(A.dtype), str(B.dtype)]
        if dtypes != entry["dtypes"]:
            changed.append((entry["name"], entry["dtypes"][0], dtypes[0]))
            entry["dtypes"] = dtypes
        found.append(
            Pair(
                entry["name"],
                A,
                B,
                scaling=entry["scaling"],
                kind=entry["kind"],
                blocks=entry["blocks"],
                start=entry["start"],
            )
        )
    if changed:
        name, before, now = changed[0]
        warnings.warn(
            f"{len(changed)} of {len(found)} pairs were cast under the optimizer, {name} from "
            f"{before} to {now}"
            + (
                ": half precision loses small steps; they are kept with "
                f"rounding={group['rounding']!r}"
                if group["rounding"] != "nearest"
                else ', which loses small steps of half precision; use rounding="master"'
            ),
            stacklevel=4,
        )
    return found


def check_saved(state_dict: dict[str, Any], groups: list[dict[str, Any]]) -> None:
    """Raise ValueError unless a saved state fits the parameter groups of this optimizer."""
    saved = state_dict.get("param_groups", [])
    if not saved or saved[0].get("role") != "pairs":
        raise ValueError(
            "this is not the state of a LoRA-Pro optimizer; start it anew from the model's weights"
        )
    ours, theirs = ([(e["name"], e["shapes"]) for e in g["pairs"]] for g in (groups[0], saved[0]))
    if ours == theirs:
        here, there = ([e.get("start", 0) for e in g["pairs"]] for g in (groups[0], saved[0]))
        if here != there:
            raise ValueError(
                "the state is of adapters with a start, and the start is not held here, or the "
                "other way round; repeat lora_ga, or call hold_start(model), before the optimizer "
                "is made"
            )
    else:
        differ = [f"{a} here, {b} saved" for a, b in zip(ours, theirs, strict=False) if a != b]
        count = f"{len(ours)} pairs here, {len(theirs)} saved"
        raise ValueError(
            f"the optimizer state is of another model: {differ[0] if differ else count}; load it "
            "into an optimizer of the model that it was saved with"
        )
    if groups[0]["mode"] != saved[0]["mode"]:
        raise ValueError(
            f"the state was saved with mode={saved[0]['mode']!r} and this optimizer has "
            f"{groups[0]['mode']!r}; make it with the mode of the state"
        )
    counts = [[len(g["params"]) for g in side] for side in (groups, saved)]
    if counts[0] != counts[1]:
        raise ValueError(
            "the optimizer state is of another model: its groups hold "
            f"{counts[1]} parameters, those of this optimizer {counts[0]}"
        )


def changed_settings(state_dict: dict[str, Any], groups: list[dict[str, Any]]) -> list[str]:
    """The settings of a saved state that are not those of this optimizer, in words.

    The rate is compared as it was before any schedule.
    """
    found = []
    for i, (saved, ours) in enumerate(zip(state_dict["param_groups"], groups, strict=True)):
        for name in (*SETTINGS, "betas", "moments_dtype"):
            if name not in saved or name not in ours:
                continue
            there, here = (g.get(f"initial_{name}", g[name]) for g in (saved, ours))
            there, here = (tuple(x) if isinstance(x, list) else x for x in (there, here))
            if there != here:
                of = "" if i == 0 else f" of group {i}"
                found.append(f"{name}{of} is {there} and not {here}")
    return found


def restore_dtypes(optimizer: Optimizer, state_dict: dict[str, Any]) -> None:
    """Put back what ``Optimizer.load_state_dict`` has cast to the parameters' dtypes."""
    groups = zip(optimizer.param_groups, state_dict["param_groups"], strict=True)
    for group, saved in groups:
        for parameter, index in zip(group["params"], saved["params"], strict=True):
            for key, value in state_dict["state"].get(index, {}).items():
                if torch.is_tensor(value) and key != "step":
                    kept = value.detach().to(parameter.device, copy=True)
                    optimizer.state[parameter][key] = kept.contiguous()
