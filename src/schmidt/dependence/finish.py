"""From trained networks to embeddings: centred, balanced, and perhaps polished in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from schmidt.dependence.canonical import UNCHOSEN, canonical, choose_ridge
from schmidt.dependence.embedding import Embedding
from schmidt.dependence.laws import folds
from schmidt.dependence.moments import Moments, moments, pooled
from schmidt.operators.pairs import PairSampler

POLISHES = ("auto", "ritz", "span", None)
MOST_UNITS = 2048
"""For "auto": beyond, the closed form takes longer than training."""
FOLDS = 5
SPAN_RIDGE = 1e-6

Sides = tuple[Embedding, Embedding, np.ndarray]


def finish(
    pairs: PairSampler,
    right: nn.Module,
    left: nn.Module,
    polish: str | None,
    *,
    modes: int,
    tied: bool,
    seed: int,
) -> Sides:
    """Both embeddings, and the values ‖f_l‖‖g_l‖ on all of the data; see ``polish`` of the CDK."""
    if polish == "auto":
        units = getattr(right, "units", MOST_UNITS + 1), getattr(left, "units", 0)
        polish = "ritz" if max(units) <= MOST_UNITS else "span"
    if polish == "ritz":
        return _in_units(pairs, right, left, modes, tied, seed)
    m = moments(pairs, right, left, device=_device(right))
    if polish == "span":
        c = canonical(m, ridge=SPAN_RIDGE, tied=tied).padded(modes)
        return _sides(m, right, left, c.mix_f, c.mix_g)
    size_f, size_g = m.cov_f.diagonal().sqrt(), m.cov_g.diagonal().sqrt()
    alive = (size_f > 0) & (size_g > 0)
    factor = torch.where(alive, size_g / size_f.clamp_min(1e-300), 1 + 0 * size_f).sqrt()
    return _sides(m, right, left, torch.diag(factor), torch.diag(1 / factor))


def _in_units(
    pairs: PairSampler, right: Any, left: Any, modes: int, tied: bool, seed: int
) -> Sides:
    if not (hasattr(right, "features") and hasattr(left, "features")):
        raise ValueError("polish='ritz' needs hidden units, which networks of your own do not show")

    def of(some: PairSampler) -> Moments:
        return moments(some, right.features, left.features, device=_device(right))

    parts = [(of(part), mass) for part, mass in folds(pairs, FOLDS, seed)]
    whole = pooled(parts) if parts else of(pairs)
    ridge = choose_ridge(parts, modes=modes, tied=tied) if parts else UNCHOSEN
    c = canonical(whole, ridge=ridge, tied=tied).padded(modes)
    return _sides(whole, right, left, c.mix_f, c.mix_g, units=True)


def _device(network: nn.Module) -> torch.device | None:
    return next((p.device for p in network.parameters()), None)


def _sides(
    m: Moments,
    right: nn.Module,
    left: nn.Module,
    mix_f: Tensor,
    mix_g: Tensor,
    *,
    units: bool = False,
) -> Sides:
    squares = [
        ((cov @ mix) * mix).sum(0).clamp_min(0) for cov, mix in ((m.cov_f, mix_f), (m.cov_g, mix_g))
    ]
    values = (squares[0] * squares[1]).sqrt().numpy()
    return (
        Embedding(right, m.mean_f, mix_f, units=units).eval(),
        Embedding(left, m.mean_g, mix_g, units=units).eval(),
        values,
    )
