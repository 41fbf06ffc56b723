"""From values of a truncated kernel, which may be negative, to ratios of densities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.isotonic import isotonic_regression
from torch import Tensor

from schmidt.operators.pairs import ClassPairs, GivenPairs, PairSampler

Map = Callable[[Tensor], Tensor]
KEPT = 2048
"""Held-out pairs that are kept, over all parts."""
MATES = 32
"""Partners that each of them is put together with at random."""
SEED = 20240721


@dataclass(frozen=True)
class Ratios:
    """Embeddings of held-out pairs, and the increasing function 1 + fᵀg → log ratio they give.

    Attributes:
        f, g: (m, L) of pairs that belong together, of several parts one after the other.
        other: (q, L) g of items that f is put together with at random,
        mates: (m, MATES) and which of them.
    """

    f: Tensor
    g: Tensor
    other: Tensor
    mates: Tensor

    @classmethod
    def of(cls, parts: list[tuple[PairSampler, Map, Map]], whole: PairSampler) -> Ratios:
        """Of parts with the functions that were fitted on the others.

        Pairs at random are made of a part's own items, or, where classes were parted, of its x and
        all y: a part has too few classes for the law of y.
        """
        generator = torch.Generator().manual_seed(SEED)
        found = []
        before = 0
        for pairs, f, g in parts:
            count = max(KEPT // len(parts), 8)
            if isinstance(pairs, GivenPairs) and pairs.weight is None:
                chosen = torch.randperm(len(pairs), generator=generator)[:count]
                x, y = pairs.x[chosen], pairs.y[chosen]
            else:
                if isinstance(pairs, GivenPairs):
                    count = min(count, 4 * len(pairs))
                x, y, *_ = pairs(count, generator)
            left = g(y).double().cpu()
            n = len(x)
            if isinstance(pairs, GivenPairs):
                away = torch.randint(max(n - 1, 1), (n, MATES), generator=generator) + 1
                other, at = left, (torch.arange(n)[:, None] + away) % n
            else:
                source = whole if isinstance(whole, ClassPairs) else pairs
                other = g(source(min(KEPT, 4 * n), generator)[1]).double().cpu()
                at = torch.randint(len(other), (n, MATES), generator=generator)
            right = f(x).float().cpu()
            found.append((right, left.float(), other.float(), (at + before).int()))
            before += len(other)
        rights, lefts, others, mates = (torch.cat(s) for s in zip(*found, strict=True))
        return cls(rights, lefts, others, mates)

    def truncate(self, modes: int) -> Ratios:
        f, g, other = (side[:, :modes] for side in (self.f, self.g, self.other))
        return Ratios(f, g, other, self.mates)

    def curve(self, modes: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Knots in 1 + fᵀg and the logarithms of the ratio there, both increasing."""
        f, g, other = (a[:, :modes].double() for a in (self.f, self.g, self.other))
        joint = (1 + (f * g).sum(1)).numpy()
        apart = (1 + torch.einsum("ml,mkl->mk", f, other[self.mates.long()])).flatten().numpy()
        bins = int(np.clip(len(joint) // 25, 2, 64))
        weight = np.concatenate(
            [np.full(len(joint), 1 / len(joint)), np.full(len(apart), 1 / len(apart))]
        )
        every = np.concatenate([joint, apart])
        order = np.argsort(every, kind="stable")
        share = np.cumsum(weight[order])
        at = np.searchsorted(share, share[-1] * np.arange(1, bins) / bins)
        edges = np.unique(every[order][at])
        counts = [
            np.bincount(np.searchsorted(edges, k), minlength=len(edges) + 1) + 0.5
            for k in (joint, apart)
        ]
        sums = np.bincount(np.searchsorted(edges, every), weights=weight * every,
                           minlength=len(edges) + 1)  # fmt: skip
        total = np.bincount(np.searchsorted(edges, every), weights=weight,
                            minlength=len(edges) + 1)  # fmt: skip
        seen = total > 0
        knots = sums[seen] / total[seen]
        a, b = (c[seen] / c[seen].sum() for c in counts)
        rate = isotonic_regression(a / (a + b), sample_weight=a + b)
        logs = np.log(rate) - np.log1p(-rate)
        logs -= np.log(np.exp(np.interp(apart, knots, logs)).mean())
        return knots, logs

    def log_ratio(self, kernel: Any, modes: int | None = None) -> Any:
        """The calibrated logarithm; numpy in, numpy out; tensor in, tensor out."""
        knots, logs = self.curve(modes)
        if isinstance(kernel, Tensor):
            found = np.interp(kernel.detach().cpu().double().numpy(), knots, logs)
            return torch.from_numpy(np.asarray(found)).to(kernel)
        return np.interp(kernel, knots, logs).astype(np.asarray(kernel).dtype)

    def tensors(self) -> dict[str, Tensor]:
        """What a file keeps."""
        return {"f": self.f, "g": self.g, "other": self.other, "mates": self.mates}

    @classmethod
    def from_tensors(cls, kept: dict[str, Tensor]) -> Ratios:
        return cls(*(kept[name] for name in ("f", "g", "other", "mates")))
