"""Tables on a screen and in markdown, and numbers over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rich.table import Table

LOW, HIGH = 0.2, 0.8
NOTHING = 1e-14
"""Below this a number is rounding."""


def console_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]] = (),
    *,
    labels: bool = True,
    wrap: bool = False,
) -> Table:
    """Columns of numbers, to the right; the first one, if it holds ``labels``, to the left."""
    from rich.table import Table

    out = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for i, heading in enumerate(headings):
        left = labels and i == 0
        out.add_column(heading, justify="left" if left else "right", no_wrap=not wrap)
    for row in rows:
        out.add_row(*row)
    return out


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The same in markdown: labels to the left, numbers to the right."""
    lines = [headings, ["---"] + ["---:"] * (len(headings) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Of one number over seeds.

    Attributes:
        mean, sd: sd with n − 1, NaN for one seed.
        low, high: the 20 % and 80 % quantiles, interpolated linearly.
        count: seeds.
    """

    mean: float
    sd: float
    low: float
    high: float
    count: int


def statistics(values: Sequence[float] | np.ndarray) -> Statistics:
    """Mean, standard deviation and quantiles; NaN throughout if there is nothing."""
    v = np.asarray([x for x in values if x is not None and np.isfinite(x)], dtype=float)
    if len(v) == 0:
        nothing = float("nan")
        return Statistics(mean=nothing, sd=nothing, low=nothing, high=nothing, count=0)
    low, high = np.quantile(v, (LOW, HIGH))
    sd = float(v.std(ddof=1)) if len(v) > 1 else float("nan")
    return Statistics(mean=float(v.mean()), sd=sd, low=float(low), high=float(high), count=len(v))


def cell(s: Statistics, style: str = ".1e") -> str:
    """mean ± s.d. [20 %, 80 %]; the mean alone for one seed."""
    if s.count == 0:
        return "–"
    if abs(s.mean) < NOTHING:
        return "0"
    if s.count == 1:
        return format(s.mean, style)
    spread = format(s.sd, style if style != ".1e" else ".0e")
    return f"{s.mean:{style}} ± {spread} [{s.low:{style}}, {s.high:{style}}]"
