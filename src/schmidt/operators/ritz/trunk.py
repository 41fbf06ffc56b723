"""Training a trunk so that the best functions in the span of its features become better.

The gradient of an eigenvalue in the features: with μ = ⟨f|Tf⟩/⟨f|f⟩ and T self-adjoint,
∂μ = 2⟨∂f|(T−μ)f⟩/⟨f|f⟩, where f = Σ_j c_j φ_j is a Ritz function and its coefficients stay fixed
(they are stationary). So a step needs T f without a graph, and a graph through values only.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from schmidt.operators.form import Form
from schmidt.operators.measures import Points
from schmidt.operators.ritz.collocation import collocate, compress, leading, residuals
from schmidt.operators.ritz.features import TrunkFeatures
from schmidt.operators.ritz.orthonormal import orthonormalise
from schmidt.operators.ritz.spaces import Space
from schmidt.operators.ritz.trial import relative_scale
from schmidt.operators.training import OPTIMIZERS

CUT = 1e-9
JUDGED = 4096


@dataclass(frozen=True)
class TrunkTraining:
    """How to train a trunk.

    Attributes:
        seconds: time to spend.
        batch: fresh points per step.
        optimizer: "soap", "adam", …
        lr: largest learning rate; it falls to zero along a cosine of time.
        judge_every: steps between looks at the held-out residual, which decides what is kept.
        seed: of the points.
    """

    seconds: float
    batch: int = 2048
    optimizer: str = "soap"
    lr: float = 3e-3
    judge_every: int = 25
    seed: int = 0

    def __post_init__(self) -> None:
        if not (self.seconds > 0 and self.lr > 0 and self.batch > 1 and self.judge_every > 0):
            raise ValueError(f"all settings of trunk training must be positive, got {self}")
        if self.optimizer not in OPTIMIZERS:
            known = ", ".join(OPTIMIZERS)
            raise ValueError(f"unknown optimizer {self.optimizer!r}; known: {known}")


def train_trunk(
    form: Form,
    space: Space,
    features: TrunkFeatures,
    modes: int,
    training: TrunkTraining,
) -> tuple[TrunkFeatures, list[dict[str, Any]]]:
    """Train a copy of the features on fresh points at every step; T must be self-adjoint.

    A fixed point set would be exploited: features learn its gaps. Even so, what is returned is the
    state with the smallest residual on held-out points, the untrained one included.

    Returns:
        (features, history of step, seconds, held-out residual).

    Cost per step: one jet of order 2 without a graph, values with one, 2NK² for the basis.
    """
    if form.self_adjoint is not True:
        raise ValueError("a trunk can be trained for self-adjoint operators only")
    trained = copy.deepcopy(features)
    parameters = [*trained.weights, *trained.biases]
    optimizer = OPTIMIZERS[training.optimizer](parameters, training.lr)
    generator = torch.Generator().manual_seed(training.seed)
    held_out = space.fresh(JUDGED, torch.Generator().manual_seed(77 + training.seed))
    begin = time.perf_counter()
    best, best_score = copy.deepcopy(trained.state_dict()), math.inf
    history: list[dict[str, Any]] = []
    step = 0
    while True:
        spent = time.perf_counter() - begin
        over = spent > training.seconds
        if step % training.judge_every == 0 or over:
            score = _score(form, trained, modes, space, held_out)
            history.append({"step": step, "seconds": spent, "residual": score})
            if score < best_score:
                best, best_score = copy.deepcopy(trained.state_dict()), score
        if over:
            break
        rate = training.lr * min(1.0, (step + 1) / 20) * _cosine(spent / training.seconds)
        for group in optimizer.param_groups:
            group["lr"] = rate
        points = space.fresh(training.batch, generator)
        optimizer.zero_grad(set_to_none=True)
        _surrogate(form, trained, modes, points).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
    trained.load_state_dict(best)
    return trained, history


def _cosine(share: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(share, 1.0))) + 1e-3


def _head(form: Form, features: TrunkFeatures, modes: int, points: Points) -> tuple[Tensor, Tensor]:
    """Values (L,) and mix (K, L) of least-squares Ritz on the points."""
    at = collocate(form, features, points)
    basis = orthonormalise(at.values, tolerance=CUT)
    if basis.mix.shape[1] < modes:
        raise ValueError(f"the features span fewer than {modes} functions; take a wider trunk")
    values, vectors = leading(compress(basis, at.images), modes, self_adjoint=True)
    return values, basis.mix @ vectors


def _surrogate(form: Form, features: TrunkFeatures, modes: int, points: Points) -> Tensor:
    """−2 Σ_l ⟨f_l|(T−μ_l)f_l⟩/(|μ_l|‖f_l‖²), only the left f_l carrying a gradient."""
    values, mix = _head(form, features, modes, points)
    at = collocate(form, features, points, mix)
    error = (at.images - at.values * values) / at.values.pow(2).sum(0)
    f = features.mixed(points.x, 0, mix).value * points.weight.sqrt()[:, None]
    return -2 * ((f * error).sum(0) / relative_scale(values, form.offset)).sum()


def _score(
    form: Form, features: TrunkFeatures, modes: int, space: Space, held_out: Points
) -> float:
    values, mix = _head(form, features, modes, space.rule(JUDGED))
    error = residuals(collocate(form, features, held_out, mix), values)
    return float((error / relative_scale(values, form.offset)).mean())
