"""What held-out correlations prove: intervals, and whether they may be chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from scipy.special import stdtr
from torch import Tensor

from schmidt.dependence.canonical import falling
from schmidt.dependence.permutations import Arrangements, Covariances
from schmidt.dependence.ratios import Map
from schmidt.dependence.rows import WeightedPairs
from schmidt.operators.pairs import PairSampler

LEVEL = 0.01
"""Data that could come from independent variables with a larger probability show nothing."""
CONFIDENCE = 0.95
RESAMPLES = 400
BLOCKS = 400
CLEAR = 5e-4
"""Of held-out correlations: no permutations are needed any more."""
PERMUTATIONS = 399
MOST_ROWS, MOST_WORK = 2000, 2**24
"""Counted rows, and multiplications per permutation, up to which ``fit`` permutes by itself."""
DRAWS, MOST_DRAWN = 9999, 64


@dataclass(frozen=True)
class Findings:
    """Values as they may be reported.

    Attributes:
        values, low, high: (L,) correlations, 0 where independence is not ruled out, and intervals.
        estimates, alarms, notes: for the certificate.
    """

    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    estimates: dict[str, object]
    alarms: tuple[str, ...]
    notes: tuple[str, ...]


def weigh(
    measured: np.ndarray,
    errors: np.ndarray,
    rows: Sequence[float],
    kept: Sequence[tuple[PairSampler, Map, Map]],
    *,
    sizes: Sequence[Tensor] | None = None,
    permuted: Covariances | None = None,
    seed: int = 0,
) -> Findings:
    """Whether measured correlations can be told from chance, and their intervals.

    Two tests, of which the smaller p-value counts twice. The largest held-out correlation against
    normal ones of variance 2/n: parts of a cross-fit witness for one another, and the sum of K of
    them has a variance of at most 2/n where nothing depends. Of a series Student's test over the
    parts. And permutations, where ``permuted`` is given.

    Args:
        measured, errors: (L,) correlations on parts left out, and their likely errors.
        rows: independent rows of each part.
        kept: the parts with functions that the others have made.
        sizes: of each part, (L,) ‖f_l‖‖g_l‖ of these functions; None: they are the same.
        permuted: statistics to permute.
    """
    n = float(np.sum(rows))
    parts = [part for part, _, _ in kept]
    series = any(isinstance(part, WeightedPairs) and part.series for part in parts)
    spread = (
        bootstrap(kept, sizes, seed) if all(isinstance(p, WeightedPairs) for p in parts) else None
    )
    if spread is None:
        far = 2.78 * np.nan_to_num(errors, nan=1.0)
        spread = (measured - far).clip(0, 1), (measured + far).clip(0, 1)
    low, high = np.minimum(spread[0], measured), np.maximum(spread[1], measured)
    estimates: dict[str, object] = {}
    alarms, notes = [], [f"intervals of {CONFIDENCE:.0%} hold for the functions that were found"]
    values = measured
    if np.isfinite(n):
        if series:
            ratio = measured[0] / max(float(errors[0]), 1e-12)
            p = float(1 - stdtr(max(len(parts) - 1, 1), ratio)) if errors[0] > 0 else 1.0
        else:
            null = _prefix_means(min(len(measured), MOST_DRAWN)) * (2 / n) ** 0.5
            p = float((1 + (null >= measured[0]).sum()) / (len(null) + 1))
            estimates["null_level"] = min(float(np.quantile(null, CONFIDENCE)), 1.0)
        if permuted is not None and p > CLEAR:
            p = min(p, permuted.p_value(seed))
        p = min(1.0, 2 * p)
        estimates["p_value"] = p
        if p > LEVEL:
            error = "" if np.isnan(errors[0]) else f" ± {errors[0]:.2f}"
            alarms.append(
                f"independence is not ruled out (p = {p:.2g}): values are given as 0; the largest "
                f"measured was {measured[0]:.2f}{error} of {n:.0f} rows"
            )
            values = np.zeros_like(measured)
            low = np.zeros_like(low)
            estimates["measured"] = measured
    estimates |= {"low": low, "high": high}
    return Findings(values, low, high, estimates, tuple(alarms), tuple(notes))


@lru_cache(maxsize=32)
def _prefix_means(modes: int) -> np.ndarray:
    """Of normal numbers the first of the nearest descending sequence, which is the largest mean of
    the first few."""
    z = np.random.default_rng(20240721).standard_normal((DRAWS, modes))
    return (z.cumsum(1) / np.arange(1, modes + 1)).max(1)


def bootstrap(
    kept: Sequence[tuple[PairSampler, Map, Map]],
    sizes: Sequence[Tensor] | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray] | None:
    """(L,) ends of intervals by drawing blocks of held-out rows again: rows, groups, or stretches
    of √n rows of a series. None where there are fewer than 8 blocks."""
    rng = np.random.default_rng(seed)
    sums: list[np.ndarray] = []
    for k, (part, f, g) in enumerate(kept):
        assert isinstance(part, WeightedPairs)
        w = torch.ones(len(part)).double() if part.weight is None else part.weight.double()
        both = [side(items).double().cpu() for side, items in ((f, part.x), (g, part.y))]
        if sizes is not None:
            root = sizes[k].clamp_min(1e-300).sqrt()
            both = [u / root for u in both]
        u, v = (s - (w @ s) / w.sum() for s in both)
        products = torch.stack([u * v, u.square(), v.square()], 1)
        sums.append(_blocks(part, w, products, max(8, BLOCKS // len(kept)), rng))
    every = np.concatenate(sums)
    if len(every) < 8:
        return None
    drawn = rng.multinomial(len(every), np.full(len(every), 1 / len(every)), size=RESAMPLES)
    fg, ff, gg = np.moveaxis(np.einsum("rb,bsl->rsl", drawn, every, optimize=True), 1, 0)
    size = np.sqrt(ff * gg)
    r = np.where(size > 0, fg / np.where(size > 0, size, 1), 0)
    ends = (1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2
    low, high = np.quantile([falling(one) for one in r], ends, axis=0)
    return low, high


def _blocks(
    part: WeightedPairs, w: Tensor, products: Tensor, most: int, rng: np.random.Generator
) -> np.ndarray:
    """Sums of products over blocks (at most so many), of weighted or counted rows."""
    n = len(part)
    if part.series:
        code = torch.arange(n) // max(1, round(n**0.5))
    elif part.blocks is not None:
        code = torch.unique(part.blocks, return_inverse=True)[1]
    elif part.counts is not None and part.weight is not None:
        # counted rows are drawn one by one
        total = int(w.sum())
        if total <= 2**20:
            at = torch.arange(n).repeat_interleave(part.counts)
            products, w, code = products[at], torch.ones(total).double(), torch.arange(total)
        else:
            code = torch.arange(n)
    else:
        code = torch.arange(n)
    count = int(code.max()) + 1
    if count > most:
        code, count = torch.from_numpy(rng.permutation(count) % most)[code], most
    out = torch.zeros(count, *products.shape[1:], dtype=torch.float64)
    return out.index_add_(0, code, products * w[:, None, None]).numpy()


def linear_permutations(
    pairs: PairSampler, parts: Sequence[PairSampler], f: Map, g: Map
) -> Covariances | None:
    """What to permute to test linear dependence; None where rows cannot be, or are too many."""
    counts = pairs.counts if isinstance(pairs, WeightedPairs) else None
    if counts is None or int(counts.sum()) > MOST_ROWS:
        return None
    assert isinstance(pairs, WeightedPairs)
    some = [p for p in parts if isinstance(p, WeightedPairs)]
    series = any(p.series for p in some)
    if not series and any(p.blocks is not None for p in some):
        return None
    at = torch.arange(len(pairs)).repeat_interleave(counts)
    u, v = (side(items).double().cpu()[at] for side, items in ((f, pairs.x), (g, pairs.y)))
    found = Covariances(u, v, Arrangements(len(at), "series" if series else None))
    return found if found.work <= MOST_WORK else None
