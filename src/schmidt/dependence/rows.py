"""Given pairs that know what their weights mean, and which of them belong together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from schmidt.operators.pairs import GivenPairs
from schmidt.parameters import Choice, check

WEIGHTS = {"weights": Choice("auto", "counts", "sample", "law")}


class WeightedPairs(GivenPairs):
    """Pairs with weights that are counts, weights of a sample, or a law that is known exactly.

    Args:
        x, y, weight: as for :class:`~schmidt.dependence.GivenPairs`.
        weights: what ``weight`` means. "auto": whole numbers are counts. Others are a law if the
            rows are the cells of a table – no pair (x, y) is there twice, and neither x nor y has
            more than half as many different values as there are rows –, and weights of a sample
            otherwise.

    Attributes:
        kind: "counts", "sample" or "law".
        blocks: (n,) numbers of what belongs together, where that is known.
        series: whether rows are in time.
    """

    blocks: Tensor | None = None
    series: bool = False

    def __init__(self, x: Any, y: Any, weight: Any | None = None, weights: str = "auto") -> None:
        super().__init__(x, y, weight)
        check(WEIGHTS, weights=weights)
        whole = self.counts is not None
        if weights == "counts" and not whole:
            raise ValueError("weights='counts' needs whole numbers as sample_weight")
        if weights != "auto":
            self.kind = weights if self.weight is not None else "counts"
        elif whole:
            self.kind = "counts"
        else:
            self.kind = "law" if _cells(self) else "sample"
        if self.kind == "sample" and self.weight is not None:
            w = self.weight
            self.independent = float(w.sum().square() / w.square().sum())

    @property
    def counts(self) -> Tensor | None:
        if getattr(self, "kind", "counts") != "counts":
            return None
        return super().counts

    def only(self, chosen: Tensor, weight: Tensor | None = None) -> WeightedPairs:
        if weight is None and self.weight is not None:
            weight = self.weight[chosen]
        kind = "auto" if self.kind == "counts" else self.kind
        out = WeightedPairs(self.x[chosen], self.y[chosen], weight, kind)
        out.kind, out.series = self.kind, self.series
        out.blocks = None if self.blocks is None else self.blocks[chosen]
        return out

    def with_items(self, x: Tensor, y: Tensor) -> WeightedPairs:
        """The same pairs of other items."""
        kind = "auto" if self.kind == "counts" else self.kind
        out = WeightedPairs(x, y, self.weight, kind)
        out.kind, out.series, out.blocks = self.kind, self.series, self.blocks
        out.independent = self.independent
        return out


def _cells(pairs: GivenPairs) -> bool:
    """Whether rows are the cells of a table, each of them once."""
    x, y = (same(side) for side in (pairs.x, pairs.y))
    kinds = max(int(x.max()), int(y.max())) + 1
    pair = x * (int(y.max()) + 1) + y
    return 2 * kinds <= len(x) and len(pair.unique()) == len(x)


def same(side: Tensor) -> Tensor:
    """(n,) numbers from 0, equal for equal rows, in order of first appearance."""
    rows = side.reshape(len(side), -1)
    if rows.is_floating_point():
        rows = rows + 0.0  # −0 is 0
    plain = rows.cpu().contiguous()
    flat = plain.numpy() if rows.dtype == torch.bool else plain.view(torch.uint8).numpy()
    seen: dict[bytes, int] = {}
    found = [seen.setdefault(row.tobytes(), len(seen)) for row in flat]
    return torch.tensor(found, dtype=torch.int64)
