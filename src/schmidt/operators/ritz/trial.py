"""One attempt: features of one choice, all cuts of their basis, judged on held-out points."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from schmidt.operators.form import Form, Sample
from schmidt.operators.jet import Exact, Function
from schmidt.operators.measures import Points
from schmidt.operators.ritz.bounds import bounds
from schmidt.operators.ritz.collocation import (
    Collocation,
    collocate,
    leading,
    residuals,
)
from schmidt.operators.ritz.orthonormal import orthonormalise
from schmidt.operators.ritz.spaces import Choice, Space

CUTS = (1e-4, 1e-6, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12)


@dataclass(frozen=True)
class Trial:
    """The best cut of one choice.

    Attributes:
        choice: what was tried.
        features: the functions φ.
        values: (m,) μ, descending by real part; m ≥ modes.
        mix: (K, m).
        residual: (m,) ‖(T − μ)f‖/‖f‖ on held-out points.
        score: mean relative residual of the wanted modes; what the search minimises.
        estimate: mean relative quadratic error estimate (self-adjoint; NaN otherwise).
        cut, rank: where the basis was cut, and what was left.
        seconds: what the trial took.
    """

    choice: Choice
    features: Function
    values: Tensor
    mix: Tensor
    residual: Tensor
    score: float
    estimate: float
    cut: float
    rank: int
    seconds: float

    @property
    def estimate_or_score(self) -> float:
        """The error that a target refers to."""
        return self.score if math.isnan(self.estimate) else self.estimate


def relative_scale(values: Tensor, shift: float = 0.0) -> Tensor:
    """What errors of values are compared with: |value|, or if that is tiny a level spacing."""
    size = (values - shift).abs()
    spread = float(values.real.max() - values.real.min()) / (4 * max(1, len(values)))
    return size.clamp_min(max(spread, 1e-300))


def attempt(
    form: Form,
    space: Space,
    choice: Choice,
    modes: int,
    *,
    held_out: Points,
    extra: int,
    features: Function | None = None,
) -> Trial | None:
    """Solve with the features of one choice; None where they span fewer than ``modes`` functions.

    The equation is imposed on ``space.rule``; every cut is judged on ``held_out``.
    """
    begin = time.perf_counter()
    features = features or space.features(choice)
    at = collocate(form, features, space.rule(choice.points))
    basis = orthonormalise(at.values, constraints=cusps(form, space, features))
    images = at.images @ basis.mix
    matrix = basis.values.T @ images
    if not bool(matrix.isfinite().all()):
        return None
    judge = collocate(form, features, held_out).mix(basis.mix)
    ranks = {basis.rank(cut): cut for cut in reversed(CUTS)}
    ranks = {k: cut for k, cut in sorted(ranks.items()) if k >= modes + min(2, extra)}
    if not ranks:
        return None

    def judged(rank: int, values: Tensor, vectors: Tensor) -> Trial:
        part = Collocation(judge.values[:, :rank], judge.images[:, :rank])
        error = residuals(part.mix(vectors), values)
        scale = relative_scale(values[:modes], form.offset)
        score = float((error[:modes] / scale).mean())
        estimate = float("nan")
        if form.self_adjoint is True:
            found = bounds(values.numpy(), error.numpy(), modes)
            estimate = float((torch.from_numpy(found.quadratic) / scale).mean())
        mix = basis.mix[:, :rank].to(vectors.dtype) @ vectors
        return Trial(choice, features, values, mix, error, score, estimate, ranks[rank], rank, 0.0)

    def galerkin(rank: int) -> tuple[Tensor, Tensor]:
        count = min(modes + extra, rank)
        return leading(matrix[:rank, :rank], count, self_adjoint=form.self_adjoint is True)

    best = min((judged(rank, *galerkin(rank)) for rank in ranks), key=_score)
    if not math.isfinite(best.score):
        return None
    return replace(best, seconds=time.perf_counter() - begin)


def _score(trial: Trial) -> float:
    return trial.score if math.isfinite(trial.score) else math.inf


@torch.no_grad()
def cusps(form: Form, space: Space, features: Function) -> Tensor | None:
    """Rows ℓ(φ) = lim r·Tφ, averaged over directions, at the space's singular points.

    Tφ is square-integrable only where ℓ(φ) = 0: Kato's cusp condition.
    """
    centres = space.singularities()
    if not len(centres):
        return None
    small = 1e-7 * float(space.rule(64).x.norm(dim=1).median())
    u = torch.randn(16, space.dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    u = torch.nn.functional.normalize(u, dim=1) * small
    rows = []
    for centre in centres:
        x = torch.cat([centre + u, centre - u])
        points = Points(x, torch.ones(len(x), dtype=torch.float64))
        image = form.action(Exact()(features, x, 2), Sample(points, points))
        rows.append(small * image.mean(0))
    return torch.stack(rows)
