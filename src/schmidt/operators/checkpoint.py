"""Checkpoints of a training run: whole or absent, checked, and enough to resume bit for bit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from schmidt.storage import DamagedFileError, read_json, read_tensors, write_json, write_tensors

STATE_FILE = "checkpoint.json"


@dataclass
class Progress:
    """Where a run stands."""

    step: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    extra_shift: float = 0.0


class Stateful(Protocol):
    """A module, an average, a method: anything whose state is tensors by name."""

    def state_dict(self) -> Mapping[str, Tensor]: ...

    def load_state_dict(self, state: Mapping[str, Tensor], /) -> Any: ...


def exists(directory: Path) -> bool:
    return (directory / STATE_FILE).exists()


def write(
    directory: Path,
    progress: Progress,
    settings: Mapping[str, Any],
    parts: Mapping[str, Stateful],
    optimizer: Optimizer,
    generator: torch.Generator,
) -> None:
    """Write tensors first, then the json that points to them, then remove older tensors."""
    tensors: dict[str, Tensor] = {
        "generator": generator.get_state(),
        "torch": torch.get_rng_state(),
    }
    for name, part in parts.items():
        tensors |= {f"{name}/{k}": v.clone() for k, v in part.state_dict().items()}
    scalars: dict[str, Any] = {}
    for index, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{index}/{key}"] = value
            else:
                scalars[f"{index}/{key}"] = value
    path = directory / f"checkpoint-{progress.step:08d}.safetensors"
    write_tensors(path, tensors, {"step": str(progress.step)})
    state_file = {
        "tensors": path.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "step": progress.step,
        "seconds": progress.seconds,
        "settings": dict(settings),
        "optimizer": scalars,
        "history": progress.history,
        "extra_shift": progress.extra_shift,
    }
    write_json(directory / STATE_FILE, state_file)
    for old in directory.glob("checkpoint-*.safetensors"):
        if old != path:
            old.unlink()


def read(
    directory: Path,
    settings: Mapping[str, Any],
    parts: Mapping[str, Stateful],
    optimizer: Optimizer,
    generator: torch.Generator,
) -> Progress:
    """Put a checkpoint back into the parts, optimizer and generator.

    Raises:
        DamagedFileError: files missing or altered.
        ValueError: the run was made with other settings; the differing ones are listed.
    """
    state = read_json(directory / STATE_FILE)
    try:
        stored, path = state["settings"], directory / state["tensors"]
        progress = Progress(state["step"], state["seconds"], state["history"], state["extra_shift"])
        digest, scalars = state["sha256"], state["optimizer"]
    except (KeyError, TypeError) as error:
        raise DamagedFileError(
            f"{directory / STATE_FILE} is not a checkpoint; delete it to start anew"
        ) from error
    differing = [k for k in {**stored, **settings} if stored.get(k) != settings.get(k)]
    if differing:
        lines = [f"{k}: {stored.get(k)!r} then, {settings.get(k)!r} now" for k in differing]
        raise ValueError(
            f"cannot resume from {directory}: it was made with other settings – "
            + "; ".join(lines)
            + ". Use the same settings, or another directory"
        )
    if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise DamagedFileError(
            f"{path} is missing or damaged; delete {directory / STATE_FILE} to start anew"
        )
    tensors, _ = read_tensors(path)
    for name, part in parts.items():
        part.load_state_dict(_under(tensors, name))
    optimizer_state = optimizer.state_dict()
    optimizer_state["state"] = {}
    for key, value in [*_under(tensors, "optimizer").items(), *scalars.items()]:
        index, field_name = key.split("/", 1)
        optimizer_state["state"].setdefault(int(index), {})[field_name] = value
    optimizer.load_state_dict(optimizer_state)
    generator.set_state(tensors["generator"])
    torch.set_rng_state(tensors["torch"])
    return progress


def _under(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    prefix = f"{name}/"
    return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
