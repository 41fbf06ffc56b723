"""Results as plain numbers, for JSON."""

from __future__ import annotations

import math
from typing import Any

from schmidt.experiments.finetune.experiment import Results
from schmidt.experiments.finetune.statistics import mean_score
from schmidt.experiments.finetune.training import Run


def ratios(results: Results) -> dict[str, list[float]]:
    """By method and seed, the cosine to full fine-tuning over LoRA's, at the same learning rate."""
    plain = [r.cosine for r in results.runs.get("lora", [])]
    found: dict[str, list[float]] = {}
    for name, runs in results.runs.items():
        pairs = list(zip((r.cosine for r in runs), plain, strict=False))
        both = [(a, b) for a, b in pairs if a is not None and b is not None and b > 0]
        if both and len(both) == len(pairs) and name not in ("full", "lora"):
            found[name] = [a / b for a, b in both]
    return found


def numbers(results: Results) -> dict[str, Any]:
    """Everything measured, for JSON."""
    return {
        "task": results.task.name,
        "title": results.task.title,
        "examples": results.task.examples,
        "seeds": results.seeds,
        "settings": vars(results.settings),
        "interrupted": results.interrupted,
        "cosine_over_lora": ratios(results),
        "runs": {name: [_run(r) for r in runs] for name, runs in results.runs.items()},
        "tuned": {
            name: {
                "validation_loss": {f"{lr:g}": _finite(v) for lr, v in t.grid.items()},
                "lr": t.lr,
                "runs": [_run(r) for r in t.runs],
            }
            for name, t in results.tuned.items()
        },
        "sizes": _nested(results.sizes),
        "weight_decay": _nested(results.decays),
    }


def _nested(by: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {f"{k:g}": [_run(r, brief=True) for r in runs] for k, runs in inner.items()}
        for name, inner in by.items()
    }


def _run(r: Run, brief: bool = False) -> dict[str, Any]:
    score = mean_score([r.scores])
    found = {
        "seed": r.seed,
        "lr": r.settings.sgd_lr if r.method.optimizer == "sgd" else r.settings.lr,
        "score": _finite(score.mean),
        "interval": [_finite(score.low), _finite(score.high)],
        "test_loss": _finite(r.test_loss),
        "validation_loss": _finite(r.validation_loss),
        "diverged": r.diverged,
    }
    if brief:
        return found
    return found | {
        "losses": [_finite(v) for v in r.losses],
        "alignment": {str(k): _finite(v) for k, v in r.alignment.items()},
        "cosine": _finite(r.cosine),
        "distance": _finite(r.distance),
        "path": _finite(r.path),
        "cpu_seconds_per_step": _finite(r.seconds),
        "state_bytes": r.state_bytes,
        "trained": r.trained,
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value
