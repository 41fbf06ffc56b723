"""Files are whole or absent, say when they were altered, and belong to one run at a time."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from schmidt import storage
from schmidt.storage import (
    DamagedFileError,
    FolderInUseError,
    exclusive,
    read_json,
    read_tensors,
    write_bytes,
    write_json,
    write_tensors,
)

TENSORS = {
    "a": torch.linspace(-1, 1, 12, dtype=torch.float64).reshape(3, 4),
    "b": torch.arange(5, dtype=torch.int32),
    "c": torch.tensor([1 + 2j, 3 - 1j]),
    "empty": torch.zeros(0, 3),
}
HEADER = {"kind": "schmidt.Test", "settings": json.dumps({"seed": 1})}


def test_tensors_come_back_as_they_were(tmp_path: Path) -> None:
    path = write_tensors(tmp_path / "t.safetensors", TENSORS, HEADER)
    back, header = read_tensors(path, "schmidt.Test")
    assert header == HEADER
    for name, value in TENSORS.items():
        assert torch.equal(back[name], value)
        assert back[name].dtype == value.dtype


@pytest.mark.parametrize("seed", range(8))
def test_no_flipped_bit_goes_unnoticed(seed: int, tmp_path: Path) -> None:
    """Every bit of a file of tensors, and of a JSON file, in 8 × 60 places."""
    rng = np.random.default_rng(seed)
    whole = write_tensors(tmp_path / "t.safetensors", TENSORS, HEADER)
    plain = write_json(tmp_path / "r.json", {"value": [1.25, None, -3e-7], "n": {"σ": 1}})
    for path, read in ((whole, lambda p: read_tensors(p, "schmidt.Test")), (plain, read_json)):
        data = path.read_bytes()
        before = read(path)
        for place in rng.integers(8 * len(data), size=60):
            broken = bytearray(data)
            broken[place // 8] ^= 1 << (place % 8)
            path.write_bytes(bytes(broken))
            try:
                after = read(path)
            except (DamagedFileError, ValueError):
                continue
            # padding, white space: the content must be the same
            if path is plain:
                assert after == before, place
            else:
                assert after[1] == before[1], place
                assert all(torch.equal(after[0][k], v) for k, v in before[0].items()), place
        path.write_bytes(data)


def test_json_without_a_checksum_is_read_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "by_hand.json"
    path.write_text('{"a": 1}')
    assert read_json(path, by_hand=True) == {"a": 1}
    with pytest.raises(DamagedFileError, match="changed or damaged"):
        read_json(path)
    assert read_json(write_json(tmp_path / "list.json", [1, 2])) == [1, 2]


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "\xff", ""])
def test_damaged_json_names_the_file_and_tells_nobody_to_delete_it(
    text: str, tmp_path: Path
) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DamagedFileError, match=r"broken\.json is damaged") as caught:
        read_json(path)
    assert "delete" not in str(caught.value)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_bytes(tmp_path / "f", b"old")
    for name in ("fsync", "replace", "chmod"):
        with monkeypatch.context() as broken:
            broken.setattr(os, name, lambda *_: (_ for _ in ()).throw(OSError("disk full")))
            with pytest.raises(OSError, match="disk full"):
                write_bytes(path, b"new")
        assert path.read_bytes() == b"old"
        assert [p.name for p in tmp_path.iterdir()] == ["f"]


def _hold(folder: str, ready: str) -> None:
    with exclusive(folder):
        Path(ready).touch()
        time.sleep(60)


def test_a_folder_belongs_to_one_run_and_the_lock_dies_with_it(tmp_path: Path) -> None:
    folder, ready = tmp_path / "out", tmp_path / "ready"
    other = multiprocessing.get_context("spawn").Process(target=_hold, args=(folder, str(ready)))
    other.start()
    while not ready.exists():
        assert other.is_alive()
        time.sleep(0.02)
    with pytest.raises(FolderInUseError, match="another run is writing into"), exclusive(folder):
        pass
    assert other.pid is not None
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    (folder / (".f.x" + storage.PART)).write_bytes(b"half")  # what the killed run left
    with exclusive(folder):
        assert not list(folder.glob("*" + storage.PART))
    with exclusive(folder):
        pass


def test_another_thread_is_another_run_and_the_holder_may_ask_again(tmp_path: Path) -> None:
    refused = []

    def other() -> None:
        try:
            with exclusive(tmp_path):
                pass
        except FolderInUseError:
            refused.append(True)

    with exclusive(tmp_path):
        with exclusive(tmp_path):  # a command holds the folder that its run holds
            pass
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert refused == [True]
    other()
    assert refused == [True]
