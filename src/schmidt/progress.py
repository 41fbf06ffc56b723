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


SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
"""Ctrl-C, and what batch systems and closing terminals send."""


class Interruptible(AbstractContextManager["Interruptible"]):
    """Turns the first Ctrl-C, SIGTERM or SIGHUP into a flag, so that no step is cut in two.

    True once a signal came; a second one raises KeyboardInterrupt. A signal that the parent had
    ignored (nohup, background jobs) stays ignored. Outside the main thread, where signals cannot be
    caught, it does nothing.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._previous: dict[int, Any] = {}

    def __bool__(self) -> bool:
        return self.signal is not None

    def __enter__(self) -> Interruptible:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._catch)
        return self

    def _catch(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, previous in self._previous.items():
            signal.signal(number, previous)
