"""The n-th write, read or allocation fails; files are damaged: no crash, nothing silent."""

from __future__ import annotations

import builtins
import contextlib
import io
import os
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from faults.formats import FORMATS, Format
from faults.test_damage import EACH, mutated

WRITES = [(os, "fsync"), (os, "replace"), (os, "chmod"), (os, "fdopen"), (tempfile, "mkstemp")]
ALLOCATIONS = [(torch.Tensor, "clone"), (io, "BytesIO"), (np, "empty"), (np, "zeros")]
MOST = 60
"""Bytes of memory for one byte of a file, beside two megabytes."""


def failing(real: Any, at: int, error: BaseException) -> tuple[Any, list[int]]:
    """A function whose ``at``-th call fails, and its calls so far."""
    calls: list[int] = []

    def call(*given: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == at:
            raise error
        return real(*given, **named)

    return call, calls


@pytest.mark.parametrize("name", FORMATS)
def test_the_nth_call_of_a_write_fails(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full disks, lost permissions, no memory: the old file or the new one, and nothing else."""
    kind: Format = FORMATS[name]
    path = tmp_path / f"file{kind.ending}"
    kind.write(path, 1)
    new = kind.read(path)
    kind.write(path, 0)
    old = kind.read(path)
    assert not np.array_equal(old, new)
    for module, call in [*WRITES, *ALLOCATIONS]:
        error = MemoryError() if (module, call) in ALLOCATIONS else OSError(28, "No space left")
        for n in range(1, 30):
            broken, calls = failing(getattr(module, call), n, error)
            with monkeypatch.context() as patched:
                if isinstance(getattr(module, call), type):
                    break  # a class: isinstance asks for it
                patched.setattr(module, call, broken)
                try:
                    kind.write(path, 1)
                except (OSError, MemoryError):
                    failed = True
                else:
                    failed = False
            found = kind.read(path)
            assert np.array_equal(found, old) or np.array_equal(found, new), (call, n)
            left = {p.name for p in tmp_path.iterdir()} - {"plain.csv"}
            assert left == {path.name}, (call, n)
            if not failed:
                assert np.array_equal(found, new)
                kind.write(path, 0)
            if len(calls) < n:
                break


@pytest.mark.parametrize("name", FORMATS)
def test_the_nth_call_of_a_read_fails(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that gives up, no memory: an error, or the whole content – and the file stays."""
    kind: Format = FORMATS[name]
    path = tmp_path / f"file{kind.ending}"
    kind.write(path, 0)
    data, whole = path.read_bytes(), kind.read(path)
    for module, call in ((io, "open"), (builtins, "open"), (np, "empty"), (torch.Tensor, "clone")):
        wrong: BaseException = OSError(5, "Input/output error")
        wrong = MemoryError() if call in ("empty", "clone") else wrong
        for n in range(1, 30):
            broken, calls = failing(getattr(module, call), n, wrong)
            with monkeypatch.context() as patched:
                patched.setattr(module, call, broken)
                try:
                    found = kind.read(path)
                except (OSError, MemoryError, ValueError, RuntimeError):
                    found = None
            assert found is None or np.array_equal(found, whole), (call, n)
            if len(calls) < n:
                break
    assert path.read_bytes() == data


@pytest.mark.parametrize("name", FORMATS)
def test_damage_is_refused_or_harmless(name: str, tmp_path: Path) -> None:
    """One line that names the file; where there is a checksum, never another content."""
    kind: Format = FORMATS[name]
    path = tmp_path / f"file{kind.ending}"
    kind.write(path, 0)
    data, whole = path.read_bytes(), kind.read(path)
    rng = np.random.default_rng(11)
    for number in range(EACH):
        path.write_bytes(mutated(data, rng))
        try:
            found = kind.read(path)
        except (ValueError, RuntimeError, OSError) as error:
            message = str(error)
            assert "delete" not in message, (number, message)
            assert path.name in message, (number, message)
            assert "\n" not in message.strip(), (number, message)
        else:
            if kind.checked:
                assert np.array_equal(found, whole), number


@pytest.mark.parametrize("name", FORMATS)
def test_memory_is_bounded_by_the_file(name: str, tmp_path: Path) -> None:
    """Whatever a damaged file claims to hold."""
    kind: Format = FORMATS[name]
    path = tmp_path / f"file{kind.ending}"
    kind.write(path, 0)
    data, rng = path.read_bytes(), np.random.default_rng(12)
    kind.read(path)
    tracemalloc.start()
    try:
        for number in range(20):
            path.write_bytes(mutated(data, rng))
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            with contextlib.suppress(ValueError, RuntimeError, OSError):
                kind.read(path)
            taken = tracemalloc.get_traced_memory()[1] - before
            assert taken < 2**21 + MOST * path.stat().st_size, (number, taken)
    finally:
        tracemalloc.stop()
