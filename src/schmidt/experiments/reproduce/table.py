"""Numbers over seeds: mean, standard deviation, 20 % and 80 % quantiles; and markdown of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

LOW, HIGH = 0.2, 0.8
NOTHING = 1e-14
"""Below this a number is rounding."""
Record = Mapping[str, Any]

MEASURES = {
    "error": "relative eigenvalue error",
    "angle": "angle",
    "subspace": "subspace distance",
    "subspace_total": "subspace distance, all modes",
    "orthogonality": "orthogonality",
    "seconds": "seconds",
    "memory": "peak memory, MB",
}
"""What the tables show: key → heading."""


@dataclass(frozen=True)
class Statistics:
    """Of one number over seeds.

    Attributes:
        mean, sd: sd with n − 1, NaN for one seed.
        low, high: the 20 % and 80 % quantiles, interpolated linearly (Fig. 7).
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
        return Statistics(nothing, nothing, nothing, nothing, 0)
    low, high = np.quantile(v, (LOW, HIGH))
    sd = float(v.std(ddof=1)) if len(v) > 1 else float("nan")
    return Statistics(float(v.mean()), sd, float(low), float(high), len(v))


def measure(record: Record, key: str) -> float:
    """One number of a run: per-mode lists by their mean, memory in MB; NaN if the run failed."""
    if key == "error":
        key = "relative_error"
    value = record.get(key)
    if value is None:
        return float("nan")
    if key == "memory":
        return float(value) / 1e6
    return float(np.mean(value))


def over_seeds(records: Sequence[Record], key: str) -> np.ndarray:
    """One number per run."""
    return np.array([measure(r, key) for r in records])


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


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def results(
    runs: Mapping[str, Sequence[Record]],
    keys: Sequence[str] = tuple(MEASURES),
    published: Mapping[str, float] | None = None,
) -> str:
    """One row per label: every measure over its seeds, and the paper's error where it has one."""
    published = published or {}
    headings = ["", "seeds", *(MEASURES[k] for k in keys)] + ["the paper's error"] * bool(published)
    rows = []
    for label, records in runs.items():
        failed = sum("failed" in r for r in records)
        count = f"{len(records)}" + (f", {failed} failed" if failed else "")
        row = [label, count]
        for key in keys:
            style = {"seconds": ".0f", "memory": ".0f"}.get(key, ".1e")
            row.append(cell(statistics(over_seeds(records, key)), style))
        if published:
            row.append(f"{published[label]:.0e}" if label in published else "–")
        rows.append(row)
    return markdown(headings, rows)
