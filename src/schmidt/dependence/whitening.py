"""Maps of raw items to the inputs of networks: principal components, centred and scaled."""

from __future__ import annotations

import torch
from torch import Tensor

from schmidt.dependence.networks import flat
from schmidt.operators.pairs import ClassPairs, GivenPairs, PairSampler

KINDS = ("whiten", "standard", "none")
ROWS = 2**14
"""Items that are looked at, of each domain,"""

NUMBERS = 2**27
"""and numbers in them that are drawn from a loader."""

Map = tuple[Tensor, Tensor]
"""Centre (d,) and matrix (d, k), float32."""


def input_maps(
    pairs: PairSampler, kind: str, components: int, damping: float, *, shared: bool
) -> tuple[Map, Map]:
    """The maps for x and for y; one matrix, with centres of their own, if ``shared``.

    Args:
        kind: "whiten": v·(λ + damping·mean λ)^−½ for the leading ``components`` eigenvectors v of
            the covariance, mean λ over those kept; "standard": centred, one scale per coordinate;
            "none": as they are.
    """
    if kind not in KINDS:
        raise ValueError(f"inputs must be one of {', '.join(KINDS)}, got {kind!r}")
    if components < 1 or not damping >= 0:
        raise ValueError(f"need components ≥ 1 and damping ≥ 0, got {components} and {damping}")
    rows = [flat(side).float().double() for side in _rows(pairs)]
    if shared and rows[0].shape[1] != rows[1].shape[1]:
        raise ValueError(
            f"a shared network needs items of one size: x has {rows[0].shape[1]} numbers, y has "
            f"{rows[1].shape[1]}"
        )
    centres = [r.mean(0) for r in rows]
    if kind == "none":
        return tuple((torch.zeros_like(c).float(), torch.eye(len(c))) for c in centres)  # type: ignore[return-value]
    centred = [r - c for r, c in zip(rows, centres, strict=True)]
    sets = (
        [torch.cat([r / len(r) ** 0.5 for r in centred]) / 2**0.5]
        if shared
        else [r / len(r) ** 0.5 for r in centred]
    )
    if kind == "standard":
        matrices = [_scales(r) for r in sets]
    else:
        matrices = [_principal(r, components, damping) for r in sets]
    matrices = matrices * (2 if shared else 1)
    found = [(c.float(), m.float()) for c, m in zip(centres, matrices, strict=True)]
    return found[0], found[1]


def _rows(pairs: PairSampler) -> tuple[Tensor, Tensor]:
    """Some items of each domain, under their law."""
    if isinstance(pairs, ClassPairs | GivenPairs) and getattr(pairs, "weight", None) is None:
        return _some(pairs.x), _some(pairs.y)
    generator = torch.Generator().manual_seed(0)
    x, y, *_ = pairs(64, generator)
    rows = min(ROWS, NUMBERS // max(flat(x).shape[1], flat(y).shape[1]))
    if rows > 64:
        x, y, *_ = pairs(rows, generator)
    return x, y


def _some(items: Tensor) -> Tensor:
    if len(items) <= ROWS:
        return items
    generator = torch.Generator().manual_seed(0)
    return items[torch.randperm(len(items), generator=generator)[:ROWS]]


def _scales(rows: Tensor) -> Tensor:
    size = rows.square().sum(0).sqrt()
    known = size > 1e-12 * size.max()
    return torch.diag(torch.where(known, size.clamp_min(1e-300).reciprocal(), 0 * size))


def _principal(rows: Tensor, components: int, damping: float) -> Tensor:
    n, d = rows.shape
    if d <= n:
        values, vectors = torch.linalg.eigh(rows.T @ rows)
    else:
        values, dual = torch.linalg.eigh(rows @ rows.T)
        vectors = rows.T @ dual / values.clamp_min(1e-300).sqrt()
    values, vectors = values.flip(0)[:components], vectors.flip(1)[:, :components]
    keep = values > 1e-10 * values[0]
    if not bool(keep.any()):
        raise ValueError("all items of one domain are equal: nothing depends on them")
    values, vectors = values[keep], vectors[:, keep]
    return vectors * (values + damping * values.mean()).rsqrt()
