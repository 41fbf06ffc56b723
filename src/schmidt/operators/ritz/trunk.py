"""Random trunks as features, and training that improves them."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from schmidt.linalg import orthogonal, span
from schmidt.operators.form import Form
from schmidt.operators.jet import Jet, JetModule
from schmidt.operators.measures import Points
from schmidt.operators.networks.mlp import activate, named_activation
from schmidt.operators.ritz.collocation import (
    FEATURES,
    collocate,
    compress,
    relative_scale,
    residuals,
    ritz_pairs,
)
from schmidt.operators.training import OPTIMIZERS
from schmidt.parameters import SEED, Choice, Number, check

if TYPE_CHECKING:
    from schmidt.operators.ritz.spaces import Space


class TrunkFeatures(JetModule):
    """All hidden units of a perceptron, its inputs and a constant, times M envelopes.

    Drawn at random, a trunk of two tanh layers already spans eigenfunctions of smooth operators to
    many digits; its weights are parameters and can be trained. The order of the
    ``(units + inputs + 1)·M`` features is unit-major.

    Args:
        inputs: map of the coordinates; must have ``.features``.
        envelopes: M factors (B, d) → (B, M) that bring decay or boundary values; None for 1.
        width: units per hidden layer.
        depth: hidden layers.
        gain: scale of the weights: columns of length ``gain`` in the first layer, orthogonal ×
            ``gain`` after.
        seed: of the weights. Parameters are float64.
    """

    def __init__(
        self,
        inputs: JetModule,
        envelopes: JetModule | None,
        *,
        width: int,
        depth: int = 2,
        gain: float = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if width < 1 or depth < 1 or not gain > 0:
            raise ValueError(
                f"a trunk needs width ≥ 1, depth ≥ 1 and gain > 0, got {width}, {depth}, {gain}"
            )
        self.inputs: Any = inputs.double()
        self.envelopes: Any = envelopes
        entries = int(inputs.features)  # type: ignore[arg-type]
        if envelopes is not None:
            envelopes.double()
        self.activation = named_activation("tanh")
        generator = torch.Generator().manual_seed(seed)
        size = entries
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for layer in range(depth):
            draw = torch.randn(size, width, generator=generator, dtype=torch.float64)
            weight = nn.functional.normalize(draw, dim=0) if layer == 0 else orthogonal(draw)
            bias = torch.rand(1, width, generator=generator, dtype=torch.float64) * 2 - 1
            self.weights.append(nn.Parameter(gain * weight))
            self.biases.append(nn.Parameter(bias))
            size = width
        self.units = entries + depth * width + 1

    def _hidden(self, u: Jet) -> Tensor:
        """Streams (S, B, units)."""
        h = self.inputs.propagate(u).streams
        out = [h]
        for weight, bias in zip(self.weights, self.biases, strict=True):
            h = activate(h @ weight, bias, u.dim, u.order, self.activation)
            out.append(h)
        constant = torch.zeros_like(h[:, :, :1])
        constant[0] = 1
        return torch.cat([*out, constant], 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.jet(x, 0).value

    def jet(self, x: Tensor, order: int) -> Jet:
        u = Jet.coordinates(x, order)
        h = Jet(self._hidden(u), u.dim, order)
        if self.envelopes is None:
            return h
        e: Jet = self.envelopes.jet(x, order)
        product = Jet(h.streams[..., None], u.dim, order) * Jet(
            e.streams[:, :, None, :], u.dim, order
        )
        return Jet(product.streams.flatten(2), u.dim, order)

    def mixed(self, x: Tensor, order: int, mix: Tensor) -> Jet:
        """Linear combinations of the features, (K, L) → L functions, without forming all K."""
        u = Jet.coordinates(x, order)
        h = self._hidden(u)
        if self.envelopes is None:
            return Jet(h @ mix, u.dim, order)
        e: Jet = self.envelopes.jet(x, order)
        count = e.streams.shape[2]
        parts = mix.reshape(self.units, count, -1)
        out = None
        for m in range(count):
            envelope = Jet(e.streams[:, :, m : m + 1], u.dim, order)
            term = Jet(h @ parts[:, m], u.dim, order) * envelope
            out = term if out is None else out + term
        assert out is not None
        return out


CUT = 1e-9
JUDGED = 4096


TRAINING = {
    "steps": Number(1, whole=True),
    "batch": Number(2, whole=True),
    "optimizer": Choice(*OPTIMIZERS),
    "lr": Number(0, open="low"),
    "judge_every": Number(1, whole=True),
    "seed": SEED,
    "seconds": Number(0, open="low", none=True),
}


@dataclass(frozen=True)
class TrunkTraining:
    """How to train a trunk.

    Attributes:
        steps: how many.
        batch: fresh points per step.
        optimizer: "soap", "adam", …
        lr: largest learning rate; it falls to zero along a cosine.
        judge_every: steps between looks at the held-out residual, which decides what is kept.
        seed: of the points.
        seconds: also stop after this time, wherever the cosine is; None for never.
    """

    steps: int
    _: KW_ONLY
    batch: int = 2048
    optimizer: str = "soap"
    lr: float = 3e-3
    judge_every: int = 25
    seed: int = 0
    seconds: float | None = None

    def __post_init__(self) -> None:
        check(TRAINING, **{name: getattr(self, name) for name in TRAINING})


def train_trunk(
    form: Form,
    space: Space,
    features: TrunkFeatures,
    *,
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
        over = step == training.steps or (training.seconds is not None and spent > training.seconds)
        if step % training.judge_every == 0 or over:
            score = _score(form, trained, modes, space, held_out)
            history.append({"step": step, "seconds": spent, "residual": score})
            if score < best_score:
                best, best_score = copy.deepcopy(trained.state_dict()), score
        if over:
            break
        rate = training.lr * min(1.0, (step + 1) / 20) * _cosine(step / training.steps)
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
    basis = span(at.values, cut=CUT, what=FEATURES)
    if basis.mix.shape[1] < modes:
        raise ValueError(f"the features span fewer than {modes} functions; take a wider trunk")
    values, vectors = ritz_pairs(compress(basis, at.images), modes, self_adjoint=True)
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
