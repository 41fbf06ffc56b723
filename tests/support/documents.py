"""The Python blocks of the documents, run as they would be pasted.

A block stands alone: it is run in a process of its own that knows nothing but the names it imports.
What it prints stands in the fence right after it. ``python tests/support/documents.py README.md``
writes what is printed today into the page; read what changed before you commit it.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import re
import sys
import tempfile
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```python\n(.*?)```\n(?:\n?```text\n(.*?)```\n)?", re.DOTALL)
NUMBER = re.compile(r"(?<![\w.])[-−]?\d+(?:\.\d*)?(?:e[-+]?\d+)?")
LINKS = re.compile(r"\]\(([^)\s]+)\)")

SMALL = 1e-3
"""Numbers below are errors and bounds: what counts is their size."""
ALIKE = 0.02
"""Others agree to 2 %, or to one unit of the last decimal; counts below 100 exactly."""
SECONDS = 300


@dataclass(frozen=True)
class Block:
    """One block of Python and what the page says that it prints."""

    page: str
    number: int
    code: str
    printed: str

    def __str__(self) -> str:
        return f"{self.page}-{self.number}"


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path) -> list[Block]:
    found = BLOCK.findall(page.read_text())
    return [Block(page.stem, i + 1, code, out) for i, (code, out) in enumerate(found)]


def run(code: str) -> str:
    """What ``code`` prints in an interpreter of its own, in an empty folder.

    Raises:
        AssertionError: it failed; with its traceback.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["schmidt", "torch"])
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_child, args=(code, theirs))
    child.start()
    theirs.close()
    try:
        assert ours.poll(SECONDS), f"no answer in {SECONDS} seconds"
        fine, printed = ours.recv()
    except EOFError:
        raise AssertionError("the interpreter died") from None
    finally:
        child.kill()
        child.join()
    assert fine, printed
    return str(printed)


def _child(code: str, answer: Connection) -> None:
    out = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            with contextlib.redirect_stdout(out):
                exec(compile(code, "block", "exec"), {"__name__": "__main__"})
            answer.send((True, out.getvalue()))
        except BaseException:
            answer.send((False, traceback.format_exc()))
        os.chdir(ROOT)


def differences(expected: str, printed: str) -> list[str]:
    """In what two outputs differ: words exactly, numbers by tolerance; spaces do not count."""
    words = ["".join(NUMBER.sub("#", text).split()) for text in (expected, printed)]
    if words[0] != words[1]:
        return [f"the page says\n{expected}\nprinted was\n{printed}"]
    pairs = zip(NUMBER.findall(expected), NUMBER.findall(printed), strict=True)
    return [f"the page says {a}, printed was {b}" for a, b in pairs if not _alike(a, b)]


def _alike(a: str, b: str) -> bool:
    x, y = (float(t.replace("−", "-")) for t in (a, b))
    if max(abs(x), abs(y)) <= SMALL:
        return True
    if re.fullmatch(r"[-−]?\d{1,2}", a):
        return x == y
    decimals = a.partition(".")[2] if "e" not in a else ""
    unit = 10.0 ** -len(decimals) if decimals else 0.0
    return abs(x - y) <= max(ALIKE * abs(x), unit)


def write(page: Path) -> None:
    """Put what every block prints today after it."""

    def fresh(match: re.Match[str]) -> str:
        return f"```python\n{match[1]}```\n```text\n{run(match[1]).rstrip()}\n```\n"

    page.write_text(BLOCK.sub(fresh, page.read_text()))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        write(Path(name))
