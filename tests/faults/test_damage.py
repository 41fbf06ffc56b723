"""A damaged file is refused, or its content is what was written: no crash, no silent change."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from faults.results import RESULTS, Saved
from schmidt.storage import DamagedFileError

EACH = int(os.environ.get("SCHMIDT_FUZZ", "500"))
"""Mutations of each format; ``make fuzz`` asks for many more."""


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """One of the things that disks, networks and editors do to files."""
    broken = bytearray(data)
    place = int(rng.integers(len(data)))
    end = min(place + int(rng.integers(1, 64)), len(data))
    kind = int(rng.integers(7))
    if kind == 0:
        broken[place] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        broken[place:end] = rng.bytes(end - place)
    elif kind == 2:
        del broken[place:end]
    elif kind == 3:
        broken[place:place] = rng.bytes(end - place)
    elif kind == 4:
        del broken[place:]
    elif kind == 5:
        broken[place:end] = bytes(end - place)
    else:
        broken[place:end] = broken[place:end][::-1]
    return bytes(broken)


@pytest.mark.parametrize("name", RESULTS)
def test_no_damage_goes_unnoticed(name: str, tmp_path: Path) -> None:
    kind: Saved = RESULTS[name]
    path = tmp_path / "result.safetensors"
    kind.make(0).save(path)
    data, before = path.read_bytes(), kind.content(kind.load(path))
    rng = np.random.default_rng(5)
    for number in range(EACH):
        path.write_bytes(mutated(data, rng))
        refusal = ""
        try:
            found = kind.load(path)
        except (DamagedFileError, ValueError) as error:
            refusal = str(error)
        if refusal:
            assert "delete" not in refusal, number
            assert str(path) in refusal, number
        else:
            assert np.array_equal(np.asarray(kind.content(found)), np.asarray(before)), number
