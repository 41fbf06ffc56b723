"""The settings of ``MatrixCompletion``, checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from schmidt.completion.observed import Observed

CHOICES = {
    "method": ("soft-impute", "fixed-rank"),
    "solver": ("auto", "als", "svd"),
    "unknown": ("bias", "error"),
}


def check(settings: Any, x: Observed) -> None:
    """Raise ValueError for the first setting that makes no sense for these entries."""
    for name, allowed in CHOICES.items():
        given = getattr(settings, name)
        if given not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {given!r}")
    rank, most = settings.rank, min(x.shape)
    if rank is None and settings.method == "fixed-rank":
        raise ValueError("method='fixed-rank' needs rank=…")
    if rank is not None and not 1 <= rank <= most:
        raise ValueError(f"rank must lie between 1 and {most}, got {rank}")
    for name in ("penalty", "bias_penalty"):
        value = getattr(settings, name)
        if value is not None and not (np.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be a number ≥ 0, got {value!r}")
    if settings.penalty == 0 and settings.method == "soft-impute":
        raise ValueError(
            "penalty=0 leaves the holes undetermined; give a small one, or method='fixed-rank'"
        )
    if not 0 < settings.validation < 1:
        raise ValueError(f"validation must lie between 0 and 1, got {settings.validation}")
    if not settings.tol >= 0 or settings.max_iter < 1:
        raise ValueError("tol must be at least 0, and max_iter at least 1")


def clip_range(clip: Any, values: np.ndarray) -> tuple[float, float] | None:
    """The range that predictions are clipped to, or None."""
    if clip is None:
        return None
    if isinstance(clip, str):
        if clip != "auto":
            raise ValueError(f"clip must be 'auto', a pair (low, high) or None; got {clip!r}")
        if 2 * len(np.unique(values)) > len(values):
            return None
        return float(values.min()), float(values.max())
    low, high = (float(v) for v in clip)
    if not low < high:
        raise ValueError(f"clip must be (low, high) with low < high, got {clip!r}")
    return low, high
