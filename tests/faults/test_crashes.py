"""Power is cut after any write of a training run: what is on the disk goes on to the same bits."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from schmidt.operators import Distribution, Gaussian, Kernel, Training, fit
from schmidt.operators.checkpoint import STATE_FILE, exists
from schmidt.storage import PART, exclusive


@dataclass(frozen=True)
class Change:
    """One change of a folder that has reached the disk: a file in its place, or taken away."""

    name: str
    data: bytes | None

    def make(self, folder: Path) -> None:
        path = folder / self.name
        if self.data is None:
            path.unlink()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.data)


def recorded(folder: Path, work: Callable[[], None]) -> list[Change]:
    """The log of all changes in a folder. What is written is synced before it gets its name, and
    the folder after, so that the disk has seen a prefix of this log, whenever power is cut."""
    log: list[Change] = []
    replace, unlink, sync = os.replace, Path.unlink, os.fsync
    synced: set[int] = set()

    def syncing(handle: int) -> None:
        synced.add(os.fstat(handle).st_ino)
        sync(handle)

    def replacing(source: str, target: Path) -> None:
        assert os.stat(source).st_ino in synced, "a file gets its name before it is on the disk"
        log.append(Change(str(Path(target).relative_to(folder)), Path(source).read_bytes()))
        replace(source, target)

    def unlinking(path: Path, missing_ok: bool = False) -> None:
        if path.exists() and not path.name.endswith(PART):
            log.append(Change(str(path.relative_to(folder)), None))
        unlink(path, missing_ok=missing_ok)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", syncing)
        patched.setattr(os, "replace", replacing)
        patched.setattr(Path, "unlink", unlinking)
        work()
    return log


def kernel() -> Kernel:
    return Kernel(lambda y, x: torch.exp(-((y - x.T) ** 2)), Distribution(Gaussian(1.0, 1)), None)


def trained(folder: Path | None, resume: bool = False) -> dict[str, np.ndarray]:
    torch.manual_seed(3)
    network = nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 2))
    done = fit(
        kernel(),
        network,
        training=Training(steps=2, batch=16, checkpoint_every=1, log_every=1),
        checkpoint=folder,
        resume=resume,
        progress=False,
    )
    assert done.steps == 2
    return {k: v.numpy() for k, v in done.right.state_dict().items()}


def test_every_prefix_of_the_write_log_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    whole = trained(None)
    log = recorded(tmp_path / "run", lambda: trained(tmp_path / "run") and None)
    assert sum(change.name == STATE_FILE for change in log) == 3, "before the first step, and after"
    for length in range(len(log) + 1):
        folder = tmp_path / f"cut-{length}"
        folder.mkdir()
        for change in log[:length]:
            change.make(folder)
        # and the write after that, torn
        torn = log[length].data if length < len(log) else None
        if torn is not None:
            (folder / f".{log[length].name}.x{PART}").write_bytes(torn[: len(torn) // 2])
        begun = exists(folder)
        assert begun == (length > 1), "only the first json makes a checkpoint"
        again = trained(folder, resume=begun)
        assert all(np.array_equal(again[k], whole[k]) for k in whole), length
        with exclusive(folder):
            left = {p.name for p in folder.iterdir()}
        assert len([n for n in left if n.endswith(".safetensors")]) == 1, "orphans are cleaned"
        assert not [n for n in left if n.endswith(PART)]
