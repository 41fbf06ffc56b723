"""Whether functions are the integrals of their derivatives: a jump escapes every residual."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from schmidt.operators.jet import Exact, Function
from schmidt.operators.measures import Points

SEGMENTS = 64
NODES = 64
TOLERANCE = 1e-2


@torch.no_grad()
def jumps(features: Function, mix: Tensor, points: Points) -> list[str]:
    """An alarm, if f(b) − f(a) is not ∫∇f along segments between given points.

    Derivatives at points know nothing of jumps in between, so neither do residuals: steps of height
    one solve Tf = 0 everywhere but on a set without measure. The solver's own features are smooth;
    this is for those that a user brings. Cost: 4096 evaluations of gradients.
    """
    mix = torch.cat([mix.real, mix.imag], 1) if mix.is_complex() else mix
    a, b = points.x[:SEGMENTS], points.x[SEGMENTS : 2 * SEGMENTS]
    node, weight = (torch.from_numpy(v) for v in np.polynomial.legendre.leggauss(NODES))
    t = ((1 + node) / 2)[:, None, None]
    path = (a + t * (b - a)).reshape(-1, a.shape[1])
    slope = Exact()(features, path, 1).mix(mix).gradient  # (NODES·SEGMENTS, L, d)
    along = torch.einsum(
        "nsld,sd,n->sl", slope.reshape(NODES, len(a), *slope.shape[1:]), b - a, weight / 2
    )
    ends = features(torch.cat([a, b])) @ mix
    difference = ends[len(a) :] - ends[: len(a)]
    off = (difference - along).norm(dim=0) / difference.norm(dim=0).clamp_min(1e-300)
    worst = float(off.max())
    if not math.isfinite(worst) or worst > TOLERANCE:
        bad = ", ".join(str(i + 1) for i in torch.nonzero(~(off < TOLERANCE)).flatten().tolist())
        return [
            f"functions {bad} are not the integrals of their gradients: the features have jumps, "
            "and neither values nor bounds mean anything; use features with continuous derivatives"
        ]
    return []
