"""Trunk training: its gradient is that of the eigenvalues, and nothing worse is returned."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from schmidt.operators import (
    ConvectionDiffusion,
    Distribution,
    Gaussian,
    GaussianEnvelope,
    ScaledInputs,
)
from schmidt.operators.form import Form
from schmidt.operators.measures import Points
from schmidt.operators.ritz import (
    EuclideanSpace,
    FeatureChoice,
    TrunkFeatures,
    TrunkTraining,
    relative_scale,
    train_trunk,
)
from schmidt.operators.ritz.collocation import collocate
from schmidt.operators.ritz.trunk import JUDGED, _head, _score, _surrogate

Make = Callable[[int], Form]
Trunk = Callable[..., TrunkFeatures]
QUADRATURE = EuclideanSpace(1).rule(300)
MODES = 3
SHORT = TrunkTraining(60, batch=256)


def gradient(form: Form, features: TrunkFeatures, modes: int = MODES) -> list[Tensor]:
    parameters = [*features.weights, *features.biases]
    return list(torch.autograd.grad(_surrogate(form, features, modes, QUADRATURE), parameters))


def quotients(form: Form, features: TrunkFeatures, mix: Tensor) -> Tensor:
    """Rayleigh quotients of features @ mix on the quadrature."""
    at = collocate(form, features, QUADRATURE, mix)
    return (at.values * at.images).sum(0) / at.values.pow(2).sum(0)


def held_out(space: EuclideanSpace, seed: int) -> Points:
    return space.fresh(JUDGED, torch.Generator().manual_seed(seed))


def coarse(trunk: Trunk) -> TrunkFeatures:
    """A few well-conditioned features on the line."""
    return trunk(1, 1, 3, gain=2.0)


def small(dim: int) -> tuple[EuclideanSpace, TrunkFeatures]:
    """R^d and few features on it."""
    space = EuclideanSpace(dim)
    many = dim > 3
    choice = FeatureChoice(
        12, 1000, scale=3.0 if many else 1.0, gain=0.5, envelopes=1 if many else 2
    )
    return space, space.features(choice)


def test_the_gradient_is_that_of_rayleigh_quotients_with_fixed_coefficients(
    trunk: Trunk, oscillator: Make
) -> None:
    """−∂ Σ μ_l/scale_l by central differences, one direction per parameter."""
    form, features, step = oscillator(1), coarse(trunk), 1e-5
    values, mix = _head(form, features, MODES, QUADRATURE)
    torch.testing.assert_close(quotients(form, features, mix), values)
    scale = relative_scale(values)
    parameters = [*features.weights, *features.biases]
    for p, slope in zip(parameters, gradient(form, features), strict=True):
        direction = torch.randn_like(p)
        sums = []
        for sign in (1, -1):
            with torch.no_grad():
                p.add_(direction, alpha=sign * step)
            sums.append(float((quotients(form, features, mix) / scale).sum()))
            with torch.no_grad():
                p.sub_(direction, alpha=sign * step)
        change = (sums[0] - sums[1]) / (2 * step)
        assert float((slope * direction).sum()) == pytest.approx(-change, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("change", [lambda t: t + 7.0, lambda t: t - 300.0, lambda t: 4 * t])
def test_multiples_of_the_operator_and_of_the_identity_do_not_matter(
    change: Callable[[Form], Form], trunk: Trunk, oscillator: Make
) -> None:
    form, features = oscillator(1), coarse(trunk)
    for a, b in zip(gradient(form, features), gradient(change(form), features), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-9)


def test_a_step_along_the_gradient_raises_the_eigenvalues(trunk: Trunk, oscillator: Make) -> None:
    """Solved anew they lie above the quotients of the old coefficients: the Ritz principle."""
    form, features = oscillator(1), coarse(trunk)
    before, slopes = _head(form, features, 1, QUADRATURE)[0], gradient(form, features, 1)
    step = 1e-3 / math.sqrt(size := float(sum(s.pow(2).sum() for s in slopes)))
    with torch.no_grad():
        for p, s in zip([*features.weights, *features.biases], slopes, strict=True):
            p.sub_(s, alpha=step)
    after = _head(form, features, 1, QUADRATURE)[0]
    gain = float((after - before) / before.abs())
    assert 0.5 * step * size < gain < 2 * step * size


def test_eigenfunctions_in_the_span_are_stationary(oscillator: Make) -> None:
    """The constant and x, times e^{−x²/2}, are features, and the two lowest states."""
    features = TrunkFeatures(ScaledInputs(1, 1.5), GaussianEnvelope([1.0]), width=5)
    for slope in gradient(oscillator(1), features, 2):
        torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("optimizer", "lr"), [("soap", 3e-3), ("adam", 3e-3), ("sgd", 30.0)])
def test_the_best_state_seen_is_returned_the_untrained_one_included(
    optimizer: str, lr: float, oscillator: Make
) -> None:
    """Also where the steps are far too long."""
    form, (space, features) = oscillator(2), small(2)
    training = TrunkTraining(40, batch=256, optimizer=optimizer, lr=lr, judge_every=10, seed=3)
    trained, history = train_trunk(form, space, features, modes=MODES, training=training)
    points = held_out(space, 77 + 3)
    seen = [h["residual"] for h in history]
    assert seen[0] == pytest.approx(_score(form, features, MODES, space, points))
    assert _score(form, trained, MODES, space, points) == pytest.approx(min(seen))
    steps = [h["step"] for h in history]
    assert steps == [*range(0, 40, 10), 40]


def test_what_is_given_stays_and_only_weights_and_biases_are_trained(
    trunk: Trunk, oscillator: Make
) -> None:
    features = trunk(2, 2)
    before = copy.deepcopy(features.state_dict())
    trained, history = train_trunk(
        oscillator(2), EuclideanSpace(2), features, modes=MODES, training=SHORT
    )
    assert min(h["residual"] for h in history) < history[0]["residual"]
    assert trained is not features
    for name, value in features.state_dict().items():
        assert torch.equal(value, before[name])
        learned = name.startswith(("weights", "biases"))
        assert torch.equal(value, trained.state_dict()[name]) != learned
    assert all(p.grad is None for p in features.parameters())
    assert all(p.requires_grad for p in features.parameters())


def test_the_seed_is_of_the_points(oscillator: Make) -> None:
    space, features = small(2)
    first, same, other = (
        train_trunk(
            oscillator(2),
            space,
            features,
            modes=MODES,
            training=TrunkTraining(20, batch=256, seed=seed),
        )[0]
        for seed in (0, 0, 1)
    )
    assert all(torch.equal(a, b) for a, b in zip(first.weights, same.weights, strict=True))
    assert not torch.equal(first.weights[1], other.weights[1])


@pytest.mark.parametrize("dim", [3, 5])
def test_a_short_real_run_lowers_residuals_on_points_of_any_kind(
    dim: int, oscillator: Make
) -> None:
    form, (space, features), modes = oscillator(dim), small(dim), dim + 1
    trained, history = train_trunk(
        form, space, features, modes=modes, training=TrunkTraining(60, batch=512)
    )
    assert min(h["residual"] for h in history) < 0.9 * history[0]["residual"]
    unseen = held_out(space, 999)
    before, after = (_score(form, f, modes, space, unseen) for f in (features, trained))
    assert after < 0.9 * before


def test_operators_that_are_not_known_to_be_self_adjoint_are_refused() -> None:
    space, features = small(1)
    for known in (False, None):
        law = Distribution(Gaussian(1.0, 1))
        form = ConvectionDiffusion(law, lambda x: -x, self_adjoint=known)
        with pytest.raises(ValueError, match="self-adjoint operators only"):
            train_trunk(form, space, features, modes=MODES, training=SHORT)


def test_more_modes_than_features_are_refused(trunk: Trunk, oscillator: Make) -> None:
    with pytest.raises(ValueError, match="span fewer than 30 functions; take a wider trunk"):
        train_trunk(oscillator(2), EuclideanSpace(2), trunk(2, 1), modes=30, training=SHORT)


@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_bad_settings_are_refused(value: float) -> None:
    for name in ("seconds", "lr", "batch", "judge_every", "steps"):
        with pytest.raises((ValueError, TypeError), match=f"{name} must be"):
            TrunkTraining(**{"steps": 1, name: value})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="optimizer must be one of soap, adam"):
        TrunkTraining(1, optimizer="lion")
