"""The ranges of the optimizer's settings."""

from __future__ import annotations

from schmidt.adapters.rules import RULES
from schmidt.adapters.tangent import GAUGES


def check_settings(
    lr: float,
    mode: str,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    decay: str,
    gauge: str,
    damping: float,
    cap: float,
    clip_norm: float | None,
    rest_lr: float | None,
) -> None:
    """Raise ValueError where a setting is out of range."""
    if not lr > 0:
        raise ValueError(f"lr must be positive, got {lr}; full fine-tuning's 1e-5 to 1e-4 is usual")
    if mode not in RULES:
        raise ValueError(f"mode must be one of {tuple(RULES)}, got {mode!r}")
    if not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas must lie in [0, 1), got {betas}")
    if gauge not in GAUGES:
        raise ValueError(f"gauge must be one of {GAUGES}, got {gauge!r}")
    if decay not in ("product", "factors"):
        raise ValueError(f"decay must be 'product' or 'factors', got {decay!r}")
    if not 0 <= weight_decay * lr < 1:
        raise ValueError(f"weight_decay must lie in [0, 1/lr), got {weight_decay} with lr={lr}")
    if eps < 0 or damping < 0:
        raise ValueError(f"eps and damping must not be negative, got {eps} and {damping}")
    if not cap > 0:
        raise ValueError(f"cap must be positive, got {cap}; float('inf') turns it off")
    if clip_norm is not None and not clip_norm > 0:
        raise ValueError(f"clip_norm must be positive, got {clip_norm}; None turns it off")
    if rest_lr is not None and not rest_lr > 0:
        raise ValueError(f"rest_lr must be positive, got {rest_lr}; None takes lr")
