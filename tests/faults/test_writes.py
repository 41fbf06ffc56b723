"""A write that fails, or dies, anywhere leaves the old file or the new one – never half of one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faults.results import RESULTS, Saved

CALLS = ("fsync", "replace", "chmod", "fdopen")
"""Everything of the operating system that a write needs, apart from making the file."""


def same(first: Any, second: Any) -> bool:
    return np.array_equal(np.asarray(first), np.asarray(second))


@pytest.mark.parametrize("call", [*CALLS, "mkstemp"])
@pytest.mark.parametrize("name", RESULTS)
def test_a_write_that_fails_keeps_the_old_file(
    name: str, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The n-th call fails, for every n until the write goes through."""
    kind: Saved = RESULTS[name]
    old, new = kind.make(0), kind.make(1)
    path = tmp_path / "result.safetensors"
    old.save(path)
    module: Any = tempfile if call == "mkstemp" else os
    real = getattr(module, call)
    for n in range(1, 20):
        count = 0

        def broken(*given: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            if count == n:  # noqa: B023
                raise OSError(28, "No space left on device")
            return real(*given, **named)

        with monkeypatch.context() as patched:
            patched.setattr(module, call, broken)
            try:
                new.save(path)
            except OSError:
                failed = True
            else:
                failed = False
        found = kind.content(kind.load(path))
        assert same(found, kind.content(old)) or same(found, kind.content(new))
        assert [p.name for p in tmp_path.iterdir()] == [path.name]
        if not failed and count < n:
            assert same(found, kind.content(new))
            break
    else:
        pytest.fail("the write never went through")


KILLED = """
import os, signal, sys
from pathlib import Path
from faults.results import RESULTS
kind = RESULTS[sys.argv[1]]
new = kind.make(1)
calls, n = {"fsync", "replace", "chmod"}, int(sys.argv[3])
count = 0
def dying(real):
    def call(*given, **named):
        global count
        count += 1
        if count == n:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*given, **named)
    return call
for name in calls:
    setattr(os, name, dying(getattr(os, name)))
new.save(Path(sys.argv[2]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_a_killed_write_keeps_the_old_file_or_the_new(n: int, tmp_path: Path) -> None:
    kind = RESULTS["Factorization"]
    path = tmp_path / "result.safetensors"
    kind.make(0).save(path)
    command = [sys.executable, "-c", KILLED, "Factorization", str(path), str(n)]
    tests = str(Path(__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([tests, *sys.path])}
    done = subprocess.run(command, env=environment, timeout=120)
    assert done.returncode in (0, -signal.SIGKILL)
    found = kind.content(kind.load(path))
    new = n >= 4 or done.returncode == 0  # fsync, chmod, replace: from then on it is the new one
    assert same(found, kind.content(kind.make(int(new))))
