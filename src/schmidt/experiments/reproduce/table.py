"""What was measured of each run, over seeds, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from schmidt.report import cell, markdown_table, statistics

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
    return markdown_table(headings, rows)
