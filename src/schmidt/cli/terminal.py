"""What the commands share: flags whose default is explained, and tables without lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import tyro
from rich.table import Table


def optional(kind: str, default: str = "none") -> Any:
    """A flag that may be left out: what it takes, and in words what happens without it."""
    return tyro.conf.arg(metavar=kind, help_behavior_hint=f"(default: {default})")


def plain_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]] = (),
    *,
    labels: bool = True,
    wrap: bool = False,
) -> Table:
    """Columns of numbers, to the right; the first one, if it holds ``labels``, to the left."""
    out = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for i, heading in enumerate(headings):
        left = labels and i == 0
        out.add_column(heading, justify="left" if left else "right", no_wrap=not wrap)
    for row in rows:
        out.add_row(*row)
    return out
