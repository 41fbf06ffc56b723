"""How good a ranking is: precision at k, average precision, R-precision (Ryu et al. 2024, E.2).

Items with equal scores have no order of their own. All measures here are expectations over a
uniformly random order within each group of equal scores, in closed form, so they do not depend on
the order in which the gallery happens to be stored, and a constant score earns what chance earns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SIMILARITIES = ("cosine", "inner product")
BLOCK = 2**22
"""Scores held at once."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Measures per query, NaN where a query has no relevant item in the gallery.

    Attributes:
        precision: expected share of relevant items among the first k.
        average_precision: Σ_k P(k) (R(k) − R(k−1)).
        r_precision: precision at the number of relevant items.
        relevant: number of relevant items.
        k: how many items ``precision`` counts.
    """

    precision: np.ndarray
    average_precision: np.ndarray
    r_precision: np.ndarray
    relevant: np.ndarray
    k: int

    @property
    def judged(self) -> int:
        """Queries that have relevant items: those that the means are over."""
        return int((self.relevant > 0).sum())

    @property
    def mean_average_precision(self) -> float:
        return self._mean(self.average_precision)

    @property
    def mean_precision(self) -> float:
        return self._mean(self.precision)

    @property
    def mean_r_precision(self) -> float:
        return self._mean(self.r_precision)

    def _mean(self, values: np.ndarray) -> float:
        return float(values[self.relevant > 0].mean()) if self.judged else float("nan")

    def summary(self) -> dict[str, Any]:
        """Means as plain numbers, and how many queries they leave out."""
        return {
            f"P@{self.k}": self.mean_precision,
            "mAP": self.mean_average_precision,
            "R-precision": self.mean_r_precision,
            "queries": len(self.relevant),
            "without_relevant": len(self.relevant) - self.judged,
        }


def judge(
    queries: np.ndarray,
    gallery: np.ndarray,
    query_classes: np.ndarray,
    gallery_classes: np.ndarray,
    *,
    k: int = 10,
    similarity: str = "cosine",
    interpolated: bool = False,
) -> Judgement:
    """Rank the gallery for every query, and judge the rankings; relevant is what has its class.

    Args:
        queries: (q, d); gallery: (n, d).
        query_classes: (q,); gallery_classes: (n,).
        k: items that precision counts.
        similarity: "cosine" or "inner product".
        interpolated: see :func:`judge_scores`.
    """
    queries, gallery = np.asarray(queries), np.asarray(gallery)
    query_classes, gallery_classes = np.asarray(query_classes), np.asarray(gallery_classes)
    if queries.ndim != 2 or gallery.ndim != 2 or queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            "queries (q, d) and gallery (n, d) must have the same d, got shapes "
            f"{queries.shape} and {gallery.shape}"
        )
    for name, classes, items in (
        ("query_classes", query_classes, queries),
        ("gallery_classes", gallery_classes, gallery),
    ):
        if classes.shape != (len(items),):
            raise ValueError(f"{name} must have shape ({len(items)},), got {classes.shape}")
    parts = [
        judge_scores(
            scores,
            query_classes[rows][:, None] == gallery_classes[None],
            k=k,
            interpolated=interpolated,
        )
        for rows, scores in score_blocks(queries, gallery, similarity)
    ]
    if not parts:
        raise ValueError("there are no queries")
    return Judgement(
        precision=np.concatenate([part.precision for part in parts]),
        average_precision=np.concatenate([part.average_precision for part in parts]),
        r_precision=np.concatenate([part.r_precision for part in parts]),
        relevant=np.concatenate([part.relevant for part in parts]),
        k=k,
    )


def score_blocks(
    queries: np.ndarray, gallery: np.ndarray, similarity: str = "cosine"
) -> Iterator[tuple[slice, np.ndarray]]:
    """Scores of blocks of queries against the whole gallery: pairs (rows, scores).

    Computed in double and rounded to single precision, so that equal items get equal scores.
    """
    if similarity not in SIMILARITIES:
        raise ValueError(f"similarity must be one of {', '.join(SIMILARITIES)}, got {similarity!r}")
    left, right = np.asarray(queries, np.float64), np.asarray(gallery, np.float64)
    if similarity == "cosine":
        left, right = unit(left), unit(right)
    step = max(1, BLOCK // max(1, len(right)))
    for start in range(0, len(left), step):
        rows = slice(start, min(start + step, len(left)))
        yield rows, (left[rows] @ right.T).astype(np.float32)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length one; zero rows stay zero."""
    size = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(size > 0, size, 1.0)


def judge_scores(
    scores: np.ndarray, relevant: np.ndarray, *, k: int = 10, interpolated: bool = False
) -> Judgement:
    """Judge rankings by score, largest first.

    Args:
        scores: (q, n).
        relevant: (q, n) booleans.
        k: items that precision counts, at most n.
        interpolated: count, at every rank, the best precision at this or any later rank. Some
            published numbers are computed so, among them Table 1 of Ryu et al.; they are higher
            than those of the definition in E.2, which is the default.
    """
    if scores.shape != relevant.shape or scores.ndim != 2:
        raise ValueError(
            f"scores and relevant must have one shape (q, n), got {scores.shape} and "
            f"{relevant.shape}"
        )
    queries, n = scores.shape
    if not 1 <= k <= n:
        raise ValueError(f"k must lie between 1 and the size of the gallery, {n}, got {k}")
    if np.isnan(scores).any():
        raise ValueError("some scores are NaN")
    order = np.argsort(-scores, axis=1)
    ranked = np.take_along_axis(scores, order, 1)
    hits = np.take_along_axis(relevant, order, 1)
    share, gain = _expected(ranked, hits)
    total = hits.sum(1)
    some = np.maximum(total, 1)
    found = np.cumsum(share, 1)
    if interpolated:
        precision = found / np.arange(1, n + 1)
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        average = (best * share).sum(1) / some
    else:
        average = gain.sum(1) / some
    exact = found[np.arange(queries), some - 1] / some
    missing = np.where(total > 0, 1.0, np.nan)
    return Judgement(
        precision=found[:, k - 1] / k * missing,
        average_precision=average * missing,
        r_precision=exact * missing,
        relevant=total,
        k=k,
    )


def _expected(ranked: np.ndarray, hits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What to expect at every rank over random orders within groups of equal scores.

    A group of t items, r of them relevant, comes after s items with c relevant ones. Its place j,
    counted from zero, holds a relevant item with probability r/t; given that, the j places before
    it hold j (r − 1)/(t − 1) of the others. So it adds to Σ P(k)

        r/t · (c + 1 + j (r − 1)/(t − 1)) / (s + j + 1).

    Returns:
        the expected relevance, and the expected relevance × precision, at every rank.
    """
    share = hits.astype(float)
    before = np.cumsum(share, 1) - share
    gain = share * (before + 1) / np.arange(1, ranked.shape[1] + 1)
    equal = ranked[:, 1:] == ranked[:, :-1]
    if not equal.any():
        return share, gain
    none = np.zeros((len(ranked), 1), bool)
    above, below = np.concatenate([none, equal], 1), np.concatenate([equal, none], 1)
    row, place = np.nonzero(above | below)
    first = ~above[row, place]
    group = np.cumsum(first) - 1
    start, c = place[first], before[row[first], place[first]]
    size, r = np.bincount(group), np.bincount(group, weights=share[row, place])
    inside = (place - start[group]) * ((r - 1) / (size - 1))[group]
    expected = (r / size)[group]
    share[row, place] = expected
    gain[row, place] = expected * (c[group] + 1 + inside) / (place + 1)
    return share, gain


@dataclass(frozen=True)
class TruncationCurve:
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
) -> TruncationCurve:
    """Judge the first d coordinates of embeddings (the most significant modes), for d = 1, 2, 4, …

    Args:
        queries, gallery, query_classes, gallery_classes, k, similarity: as in
            :func:`~schmidt.ranking.judge`.
        least: judge the last d coordinates instead, the least significant modes.
        modes: the d, ascending; default powers of two and all.
    """
    total = queries.shape[1]
    chosen = list(modes) if modes is not None else powers(total)
    curve = TruncationCurve(chosen, [], [], k)
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
