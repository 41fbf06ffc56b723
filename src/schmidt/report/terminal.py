"""What the commands share: flags whose default is explained, and an output folder of one's own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import tyro
from rich.markup import escape

from schmidt.parameters import Allowed, check
from schmidt.storage import LOCK, exclusive


class _Session(ExitStack):
    """What a command holds until it ends, and the folders among it, as they come."""

    def __init__(self) -> None:
        super().__init__()
        self.folders: list[Path] = []


_held: ContextVar[_Session | None] = ContextVar("held", default=None)


def optional(kind: str, default: str = "none") -> Any:
    """A flag that may be left out: what it takes, and in words what happens without it."""
    return tyro.conf.arg(metavar=kind, help_behavior_hint=f"(default: {default})")


def nothing_to_resume(folder: Path) -> str:
    """What ``--resume`` says where there is nothing to go on from, as markup."""
    return f"nothing to resume in {escape(str(folder))}: starting at the beginning"


def check_flags(table: Mapping[str, Allowed], options: Any) -> None:
    """Refuse values of flags that their table, by flag, does not allow: before the work begins.

    A flag left out is None, and several values of one flag are checked one by one.
    """
    for flag, allowed in table.items():
        value = getattr(options, flag.removeprefix("--").replace("-", "_"))
        for one in value if isinstance(value, tuple) else (value,):
            if one is not None:
                check({flag: allowed}, **{flag: one})


@contextmanager
def session() -> Iterator[list[Path]]:
    """One command: what it claims is its own until it ends; yields the folders, as they come."""
    with _Session() as held:
        token = _held.set(held)
        try:
            yield held.folders
        finally:
            _held.reset(token)


def claim(out: Path, *files: Path | None) -> Path:
    """Hold the output folder until the command ends, and see that everything can be written:
    before the work begins.

    Args:
        out: made if it is missing.
        files: further files that will be written; None where there is none.

    Raises:
        ValueError: a path that cannot be written to.
        FolderInUseError: another command is writing into the folder.
    """
    for path in (out, *out.parents):
        if path.exists() and not path.is_dir():
            raise ValueError(f"cannot write into {out}: {path} is a file, not a directory")
    for file in files:
        if file is not None and file.is_dir():
            raise ValueError(f"cannot write {file}: it is a directory; name a file")
        if file is not None and file.parent.exists() and not file.parent.is_dir():
            raise ValueError(f"cannot write {file}: {file.parent} is not a directory")
    held = _held.get()
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        if held is None:
            out.mkdir(parents=True, exist_ok=True)
        else:
            held.enter_context(exclusive(out))
            held.folders.append(out)
            held.callback(_tidy, out, made)
    except PermissionError:
        raise ValueError(f"cannot write into {out}: no permission; choose another --out") from None
    for folder in (out, *(f.parent for f in files if f is not None)):
        if folder.exists() and not os.access(folder, os.W_OK):
            raise ValueError(f"cannot write into {folder}: no permission")
    return out


def _tidy(out: Path, made: list[Path]) -> None:
    """A command that wrote nothing leaves nothing: neither its lock nor the folders it made."""
    if not made or any(file.name != LOCK for file in out.iterdir()):
        return
    (out / LOCK).unlink(missing_ok=True)
    for folder in made:
        try:
            folder.rmdir()
        except OSError:  # someone else's by now
            return
