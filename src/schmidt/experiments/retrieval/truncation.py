"""What retrieval is worth with a part of the modes only (Ryu et al. 2024, Fig. 5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from schmidt.experiments.retrieval.metrics import judge


@dataclass(frozen=True)
class Curve:
    """Means over queries against the number of modes used."""

    modes: list[int]
    precision: list[float]
    mean_average_precision: list[float]
    k: int

    def at(self, modes: int) -> float:
        """The mean average precision with so many modes, over that with all of them."""
        return (
            self.mean_average_precision[self.modes.index(modes)] / self.mean_average_precision[-1]
        )

    def summary(self) -> dict[str, Any]:
        return {
            "modes": self.modes,
            f"P@{self.k}": self.precision,
            "mAP": self.mean_average_precision,
        }


def powers(modes: int) -> list[int]:
    """1, 2, 4, … and the number of modes itself."""
    return [2**i for i in range(modes.bit_length()) if 2**i < modes] + [modes]


def truncation_curve(
    queries: np.ndarray,
    gallery: np.ndarray,
    query_classes: np.ndarray,
    gallery_classes: np.ndarray,
    *,
    least: bool = False,
    modes: Sequence[int] | None = None,
    k: int = 10,
    similarity: str = "cosine",
) -> Curve:
    """Judge the first d coordinates of embeddings (the most significant modes), for d = 1, 2, 4, …

    Args:
        queries, gallery, query_classes, gallery_classes, k, similarity: as in
            :func:`~schmidt.experiments.retrieval.metrics.judge`.
        least: judge the last d coordinates instead, the least significant modes.
        modes: the d, ascending; default powers of two and all.
    """
    total = queries.shape[1]
    chosen = list(modes) if modes is not None else powers(total)
    curve = Curve(chosen, [], [], k)
    for d in chosen:
        if not 1 <= d <= total:
            raise ValueError(f"embeddings have {total} modes, so there are no {d} of them")
        part = slice(total - d, total) if least else slice(0, d)
        judged = judge(
            queries[:, part],
            gallery[:, part],
            query_classes,
            gallery_classes,
            k=k,
            similarity=similarity,
        )
        curve.precision.append(judged.mean_precision)
        curve.mean_average_precision.append(judged.mean_average_precision)
    return curve
