"""What residuals at points cannot see: jumps of features and of coefficients, foreign weights."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from schmidt.operators.differential import SelfAdjointDifferential
from schmidt.operators.form import Form
from schmidt.operators.jet import Exact, Function
from schmidt.operators.measures import Points, Weighted
from schmidt.operators.measures.measure import Field, evaluate
from schmidt.operators.ritz.spaces import Space, TorusSpace

SEGMENTS = 64
NODES = 64
TOLERANCE = 1e-2


def _ends(points: Points) -> tuple[Tensor, Tensor]:
    """Of segments that cross the domain: points may be ordered such that neighbours are near."""
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))
    return points.x[order[:SEGMENTS]], points.x[order[SEGMENTS : 2 * SEGMENTS]]


def broken(coefficient: Callable[[Tensor], Tensor], points: Points) -> float:
    """The largest jump of a coefficient along segments between given points, relative to its size:
    what is left of a(x) − a(y) − ∫∇a where intervals are refined towards the worst, twice."""
    start, end = _ends(points)
    t = torch.linspace(0, 1, 257, dtype=start.dtype)[:, None, None]
    worst, size = 0.0, 1e-300
    for _ in range(3):
        with torch.enable_grad():
            x = (start + t * (end - start)).reshape(-1, start.shape[1]).requires_grad_()
            a = coefficient(x)
            slope = torch.zeros_like(x)
            if a.requires_grad:
                (slope,) = torch.autograd.grad(a.sum(), x)
        v = a.detach().reshape(257, len(start))
        g = torch.einsum("tsd,sd->ts", slope.reshape(257, len(start), -1), (end - start) / 256)
        off = (v[1:] - v[:-1] - (g[1:] + g[:-1]) / 2).abs()
        size = max(size, float(v.abs().max()))
        worst = float(off.max()) / size
        at = off.argmax(0).to(start)[:, None] / 256
        start, end = start + at * (end - start), start + (at + 1 / 256) * (end - start)
    return worst


@torch.no_grad()
def jumps(features: Function, mix: Tensor, points: Points) -> list[str]:
    """An alarm, if f(b) − f(a) is not ∫∇f along segments between given points.

    Derivatives at points know nothing of jumps in between, so neither do residuals: steps of height
    one solve Tf = 0 everywhere but on a set without measure. The solver's own features are smooth;
    this is for those that a user brings. Cost: 4096 evaluations of gradients.
    """
    mix = torch.cat([mix.real, mix.imag], 1) if mix.is_complex() else mix
    a, b = _ends(points)
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


def require_weight(form: SelfAdjointDifferential, space: Space) -> None:
    """T is self-adjoint in L²(ρ dx), and there errors must be measured."""
    x = space.fresh(256, torch.Generator().manual_seed(3)).x
    one = torch.ones(len(x), dtype=x.dtype)
    weight = form.measure.density(x) if isinstance(form.measure, Weighted) else one
    known = one if space.density is None else space.density(x)
    ratio = weight / known
    if not float(ratio.max() - ratio.min()) <= 1e-6 * float(ratio.abs().max()):
        raise ValueError(
            "the form's density and the space's are not alike: T is self-adjoint in L²(ρ dx), so "
            "give the space density=ρ, or the form a measure without weight"
        )


def breaks(form: Form, space: Space, points: Points) -> list[str]:
    """Alarms about coefficients before derivatives that jump, which images at points miss."""
    for part in parts(form):
        diffusion = getattr(part, "diffusion", None)
        if not isinstance(part, SelfAdjointDifferential) or diffusion is None:
            continue

        def at(x: Tensor, diffusion: Field = diffusion) -> Tensor:
            return evaluate(diffusion, x, "the diffusion")

        seam = 0.0
        if isinstance(space, TorusSpace):
            for axis in range(space.dim):
                ends = [points.x[:64].clone() for _ in range(2)]
                ends[0][:, axis], ends[1][:, axis] = 0.0, space.period
                a, b = (at(end) for end in ends)
                seam = max(seam, float(((a - b).abs() / a.abs().clamp_min(1e-300)).max()))
        if max(seam, broken(at, points)) > 1e-4:
            return [
                "the diffusion has jumps: functions of T have kinks there, which smooth features "
                "do not have and images at points do not see; the bounds mean nothing"
            ]
    return []


def parts(form: Form) -> list[Form]:
    """The forms that sums, multiples and shifts are made of."""
    inner = [getattr(form, name) for name in ("base", "second") if hasattr(form, name)]
    return [p for part in inner for p in parts(part)] if inner else [form]
