"""Long work: a progress bar on a terminal, and Ctrl-C that waits for the end of a step."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import AbstractContextManager
from types import FrameType, TracebackType
from typing import Any


class Bar(AbstractContextManager["Bar"]):
    """A silent bar."""

    def update(self, done: int, note: str = "") -> None:
        """Say how far the work is."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


class _Terminal(Bar):
    def __init__(self, total: int, title: str) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bar: Any = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(title, total=total, note="")

    def __enter__(self) -> _Terminal:
        self._bar.start()
        return self

    def update(self, done: int, note: str = "") -> None:
        self._bar.update(self._task, completed=done, note=note)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()


def progress_bar(total: int, title: str, *, enabled: bool = True) -> Bar:
    """A bar for ``total`` units of work, silent unless standard error is a terminal."""
    if enabled and sys.stderr.isatty():
        return _Terminal(total, title)
    return Bar()


class Interruptible(AbstractContextManager["Interruptible"]):
    """Turns the first Ctrl-C into a flag, so that no step is cut in two; a second one raises.

    True once Ctrl-C was pressed. Outside the main thread, where signals cannot be caught, it does
    nothing.
    """

    def __init__(self) -> None:
        self._pressed = False
        self._previous: Any = None

    def __bool__(self) -> bool:
        return self._pressed

    def __enter__(self) -> Interruptible:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._catch)
        return self

    def _catch(self, number: int, frame: FrameType | None) -> None:
        if self._pressed:
            raise KeyboardInterrupt
        self._pressed = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
