"""Eigenfunctions in the span of one's own features: any module, hidden units, trained trunks."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from schmidt.operators import (
    Ansatz,
    GaussianEnvelope,
    Lebesgue,
    Radial,
    Ritz,
    ScaledInputs,
    Schrodinger,
    SharedMLP,
    Training,
    eigenfunctions,
    fit,
)
from schmidt.operators.form import Form
from schmidt.operators.jet import Function
from schmidt.operators.networks import Hidden
from schmidt.operators.ritz import (
    AlarmWarning,
    CoulombSpace,
    EuclideanSpace,
    FeatureChoice,
    TrunkTraining,
    train_trunk,
)

Make = Callable[[int], Form]


class Bumps(nn.Module):
    """Gaussians around a grid of centres."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.linspace(-5, 5, count, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return (-((x - self.centres) ** 2)).exp()


def on_the_line(form: Form, features: Function, modes: int = 3) -> Ritz:
    return eigenfunctions(form, modes, EuclideanSpace(1), features=features, progress=False)


def enclosed(found: Ritz, exact: list[float], tolerance: float) -> None:
    """Values are near the exact ones, which lie in their intervals."""
    np.testing.assert_allclose(found.values, exact, atol=tolerance)
    off = np.abs(found.values - exact)
    assert (off <= found.radius + 1e-11).all()
    assert (found.values <= np.array(exact) + 1e-9).all()


def test_any_module_will_do(oscillator: Make) -> None:
    features = Bumps(24)
    found = on_the_line(oscillator(1), features, 4)
    enclosed(found, [-1, -3, -5, -7], 1e-6)
    assert found.certificate.alarms == ()
    assert len(found.trials) == 1
    assert found.functions.network is features
    assert found.functions.mix.shape == (24, 4)
    x = np.linspace(-2, 2, 9)[:, None]
    exact = np.pi**-0.25 * np.exp(-(x[:, 0] ** 2) / 2)
    np.testing.assert_allclose(found.functions(x)[:, 0], exact, atol=1e-4)
    json.dumps(found.report(), allow_nan=False)


def test_more_features_are_never_worse(oscillator: Make) -> None:
    """Every eigenvalue rises with the span."""
    bumps = Bumps(24)

    def inner(x: Tensor) -> Tensor:
        return bumps(x)[:, 7:17]

    few, more = (on_the_line(oscillator(1), f) for f in (inner, bumps))
    assert (few.values < more.values).all()
    assert (few.residual > more.residual).all()


def test_eigenfunctions_in_the_span_are_found_in_any_basis(
    hermite: Function, oscillator: Make
) -> None:
    """Hermite functions, and five combinations of them."""
    turn = torch.randn(5, 5, dtype=torch.float64)
    plain, mixed = (on_the_line(oscillator(1), f) for f in (hermite, lambda x: hermite(x) @ turn))
    for found in (plain, mixed):
        enclosed(found, [-1, -3, -5], 1e-10)
        assert found.residual.max() < 1e-8
    x = np.linspace(-3, 3, 7)[:, None]
    np.testing.assert_allclose(plain.functions(x), mixed.functions(x), atol=1e-8)


def test_states_with_a_cusp() -> None:
    """Hydrogen in the plane: e^{−r}, and (1 − 2r/3, x, y)·e^{−r/3}, in a larger span."""

    def shells(x: Tensor) -> Tensor:
        r = x.norm(dim=1, keepdim=True)
        inner = torch.cat([torch.ones_like(r), r], 1) * (-r).exp()
        outer = torch.cat([torch.ones_like(r), r, r**2, x, r * x], 1) * (-r / 3).exp()
        return torch.cat([inner, outer], 1)

    space = CoulombSpace(2, radius=20.0)
    form = Schrodinger(lambda x: -1 / x.norm(dim=1), space.measure(), form="strong")
    found = eigenfunctions(form, 4, space, features=shells, progress=False)
    np.testing.assert_allclose(found.values, [1, 1 / 9, 1 / 9, 1 / 9], atol=1e-8)
    assert found.residual.max() < 1e-5


def test_the_features_of_a_choice_are_those_of_the_choice(oscillator: Make) -> None:
    """Given as functions or by their name: the same result."""
    space, choice = EuclideanSpace(1), FeatureChoice(width=12, points=2000, envelopes=2)
    named = eigenfunctions(oscillator(1), 3, space, choice=choice, progress=False)
    given = on_the_line(oscillator(1), space.features(choice))
    np.testing.assert_array_equal(given.values, named.values)
    assert torch.equal(given.functions.mix, named.functions.mix)
    np.testing.assert_array_equal(given.radius, named.radius)


@pytest.mark.parametrize(("dim", "width"), [(2, 4), (3, 12)])
def test_a_trained_trunk_is_better_than_an_untrained_one(
    dim: int, width: int, oscillator: Make
) -> None:
    form, space, modes = oscillator(dim), EuclideanSpace(dim), dim + 1
    features = space.features(FeatureChoice(width=width, points=1000, gain=0.5, envelopes=2))
    trained, _ = train_trunk(
        form, space, features, modes=modes, training=TrunkTraining(40, batch=512)
    )
    before, after = (
        eigenfunctions(form, modes, space, features=f, progress=False) for f in (features, trained)
    )
    exact = -np.array([dim] + [dim + 2] * dim)
    errors = [np.abs(found.values - exact) for found in (before, after)]
    assert errors[1].mean() < errors[0].mean()
    assert (errors[1] <= after.radius + 1e-11).all()
    assert after.residual.mean() < 0.9 * before.residual.mean()


def test_hidden_units_of_a_trained_network() -> None:
    """Their span holds better functions than the network's outputs."""
    measure = Lebesgue(Radial(2, scale=0.7, outer=6.0, inner=1e-3))
    form = Schrodinger(lambda x: x.pow(2).sum(1), measure) + 5.0
    network = Ansatz(
        SharedMLP(2, 3, (24, 24), gain=0.5),
        GaussianEnvelope([0.9]),
        inputs=ScaledInputs(2, 1.0),
        amplitude=1.7,
    )
    learned = fit(form, network, training=Training(steps=100, batch=256), progress=False)
    hidden = Hidden(learned.right).double()
    found = eigenfunctions(form, 3, EuclideanSpace(2), features=hidden, progress=False)
    errors = [np.abs(v - [3, 1, 1]) for v in (learned.spectrum.rayleigh, found.values)]
    assert errors[1].max() < 0.1 * errors[0].max()
    assert (errors[1] <= found.radius).all()
    assert found.settings["width"] == 24
    x = torch.randn(5, 2, dtype=torch.float64)
    torch.testing.assert_close(found.functions(x), hidden(x) @ found.functions.mix)


def test_features_and_a_choice_are_one_too_many(hermite: Function, oscillator: Make) -> None:
    with pytest.raises(ValueError, match="either features or the choice of some, not both"):
        eigenfunctions(
            oscillator(1), 3, EuclideanSpace(1), features=hermite, choice=FeatureChoice(9, 100)
        )


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (4, "these 4 features span fewer than 5 functions, two more than the 3 wanted"),
        (1, "these 1 features span fewer than 5 functions"),
    ],
)
def test_two_more_functions_than_modes_are_needed(
    count: int, message: str, hermite: Function, oscillator: Make
) -> None:
    with pytest.raises(ValueError, match=message):
        on_the_line(oscillator(1), lambda x: hermite(x)[:, :count])


def test_what_counts_is_the_span(hermite: Function, oscillator: Make) -> None:
    """Fifty copies of two functions are two, and zeros are none."""
    with pytest.raises(ValueError, match="these 100 features span fewer than 5"):
        on_the_line(oscillator(1), lambda x: hermite(x)[:, :2].repeat(1, 50))
    with pytest.raises(ValueError, match="all features on these points are zero"):
        on_the_line(oscillator(1), lambda x: 0 * hermite(x))


def test_jumps_raise_an_alarm(oscillator: Make) -> None:
    """Steps × e^{−x²/2} are eigenfunctions at every point, to the same value −1."""

    def steps(x: Tensor) -> Tensor:
        cuts = torch.linspace(-2, 2, 9, dtype=torch.float64)
        return (x > cuts).double() * (-(x**2) / 2).exp()

    with pytest.warns(AlarmWarning, match="jumps"):
        found = on_the_line(oscillator(1), steps)
    np.testing.assert_allclose(found.values, -1, atol=1e-9)
    assert found.radius.max() < 1e-6
    assert any("jumps" in alarm for alarm in found.certificate.alarms)
    assert not on_the_line(oscillator(1), Bumps(24)).certificate.alarms


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (lambda x: x.float().repeat(1, 9), "in float64"),
        (lambda x: x[:, 0], "to \\(B, K\\)"),
        (lambda x: (x * torch.nan).repeat(1, 9), "NaN"),
    ],
)
def test_unfit_features_are_refused(oscillator: Make, features: Function, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        on_the_line(oscillator(1), features)
