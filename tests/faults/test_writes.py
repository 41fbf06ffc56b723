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
kind, path = RESULTS["Factorization"], Path(sys.argv[1])
old, new = kind.make(0), kind.make(1)
def dying(real, n):
    def call(*given, **named):
        global count
        count += 1
        if count == n:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*given, **named)
    return call
for n in range(1, 7):
    old.save(path / f"{n}.safetensors")
    child = os.fork()
    if not child:
        count = 0
        for name in ("fsync", "replace", "chmod"):
            setattr(os, name, dying(getattr(os, name), n))
        new.save(path / f"{n}.safetensors")
        os._exit(0)
    print(n, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_killed_write_keeps_the_old_file_or_the_new(tmp_path: Path) -> None:
    """SIGKILL at every call of the operating system that a write makes."""
    kind = RESULTS["Factorization"]
    tests = str(Path(__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([tests, *sys.path])}
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    said = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert said == [(n, -signal.SIGKILL if n < 5 else 0) for n in range(1, 7)], done.stderr
    for n, _ in said:
        found = kind.content(kind.load(tmp_path / f"{n}.safetensors"))
        # fsync, chmod, replace: from then on it is the new one
        assert same(found, kind.content(kind.make(int(n >= 4))))
