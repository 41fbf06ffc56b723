"""What fresh points say: overlaps, shifts, gaps, alarms, each on numbers whose answer is known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from schmidt.operators.measures import Points
from schmidt.operators.ritz import certify as module
from schmidt.operators.ritz.breaks import jumps
from schmidt.operators.ritz.certify import (
    NOISE,
    Evidence,
    _entangled,
    _growth,
    _overlap,
    _rayleigh_shift,
    _unresolved,
)

N = 16


def scattered(mean: np.ndarray, rng: np.random.Generator, size: float = 0.1) -> np.ndarray:
    """Replicates with exactly this mean."""
    noise = size * rng.standard_normal((N, *mean.shape))
    return mean + noise - noise.mean(0)


def student(values: np.ndarray) -> np.ndarray:
    """t s/√n, entry by entry, at the level of alarms about overlaps."""
    return stats.t.ppf(1 - NOISE / 2, N - 1) * values.std(0, ddof=1) / np.sqrt(N)


def test_an_overlap_is_what_exceeds_its_noise(rng: np.random.Generator) -> None:
    off = np.zeros((4, 4))
    off[0, 1], off[2, 2], off[1, 3] = -0.4, 0.3, 5.0  # the last beyond the wanted ones
    exact = np.broadcast_to(np.eye(4) + off, (N, 4, 4))
    assert _overlap(exact, 3) == pytest.approx(0.4)
    assert _overlap(exact, 1) == 0
    gram = scattered(np.eye(4) + off, rng)
    wanted = (np.abs(off) - student(gram))[:3, :3].max()
    assert _overlap(gram, 3) == pytest.approx(wanted)
    assert _overlap(scattered(np.eye(4), rng), 4) == 0  # only noise


def test_a_shift_is_the_size_of_its_hermitian_part_and_its_noise(rng: np.random.Generator) -> None:
    cross = rng.standard_normal((4, 4)) + 1j * rng.standard_normal((4, 4))
    groups = [slice(0, 1), slice(1, 4)]
    exact = np.broadcast_to(cross, (N, 4, 4))
    block = (cross + cross.conj().T)[1:, 1:] / 2
    sizes = [abs(cross[0, 0].real), *[np.linalg.norm(block)] * 3]
    np.testing.assert_allclose(_rayleigh_shift(exact, groups), sizes)
    drawn = scattered(cross, rng)
    halves = (drawn + drawn.conj().swapaxes(1, 2)) / 2
    noise = [np.linalg.norm(student(halves)[g, g]) for g in groups]
    wanted = np.array(sizes) + np.array([noise[0], *[noise[1]] * 3])
    np.testing.assert_allclose(_rayleigh_shift(drawn, groups), wanted)


def test_residuals_may_grow_threefold() -> None:
    values = np.array([4.0, -2.0, 1.0])
    before = torch.tensor([1e-3, 1e-3, 0.0], dtype=torch.float64)
    assert _growth(values, np.array([2.9e-3, 2.9e-3, 3.9e-9]), before, 3) == []
    (alarm,) = _growth(values, np.array([1e-3, 3.1e-3, 4.1e-9]), before, 3)
    assert "modes 2, 3" in alarm
    assert _growth(values, np.array([1e-3, 1e-3, 1.0]), before, 2) == []
    assert _growth(values, np.array([9.0, 9.0, 9.0]), None, 3) == []


@pytest.mark.parametrize("offset", [0.0, 100.0, -100.0])
def test_a_fifth_of_a_value_is_an_alarm(offset: float) -> None:
    """Of the value without the shift; where it vanishes, of a hundredth of the range."""
    values = np.array([10.0, -5.0, 0.0, -50.0]) + offset
    range_ = 0.2 * 0.01 * 60
    fine = np.array([1.99, 0.99, 0.99 * range_])
    assert _unresolved(values, fine, 3, offset) == []
    for i in range(3):
        bad = fine.copy()
        bad[i] *= 1.02
        (alarm,) = _unresolved(values, bad, 3, offset)
        assert f"modes {i + 1} are not resolved" in alarm
    assert _unresolved(values, np.r_[fine, 99.0], 3, offset) == []


def test_levels_that_bounds_do_not_tell_apart_are_named() -> None:
    values = np.array([9.0, 6.0, 5.0, 1.0])
    small = np.full(4, 1e-3)
    assert _entangled(values, small, 3, 1e-12) == []
    # two that overlap: √2 together, at 1.5 less the neighbour's radius from the next
    for values in (np.array([9.0, 6.0, 5.9, 4.4]), np.array([7.5, 6.0, 5.9, 0.0])):
        for near, wide in ((0.05, False), (0.1, True)):
            beside = np.array([near, 1.0, 1.0, near])
            found = _entangled(values, beside, 3, 1e-12)
            assert [("modes 2, 3 are not smaller" in alarm) for alarm in found] == [True] * wide
    assert len(_entangled(values, np.array([0.1, 1.0, 1.0, 0.1]), 2, 1e-12)) == 1
    assert _entangled(np.array([9.0]), np.array([50.0]), 1, 1e-12) == []  # nothing beside it


def test_a_splitting_below_the_bounds_is_named_unless_it_is_their_own_size() -> None:
    def level(width: float, radius: float, rounding: float = 1e-14) -> list[str]:
        values = np.array([4.0 + width, 4.0, 0.0])
        return _entangled(values, np.array([radius, radius, 1e-9]), 2, rounding)

    # two together: √2·1e-2; gap 4: 10·2·2e-4/4 = 1e-3
    assert level(0.9e-3, 1e-2) == []
    (alarm,) = level(1.1e-3, 1e-2)
    assert "modes 1, 2 lie closer together" in alarm
    # where that is smaller: a thousandth of what they are together, √2·1e-6
    assert level(1.3e-9, 1e-6) == []
    assert len(level(1.5e-9, 1e-6)) == 1
    # and ten times rounding
    assert level(1.5e-9, 1e-6, 1.6e-10) == []
    assert len(level(1.5e-9, 1e-6, 1.4e-10)) == 1


def evidence(
    values: list[float], radius: list[float], modes: int, groups: list[slice] | None = None
) -> Evidence:
    mu, r = np.array(values), np.array(radius)
    some = slice(0, modes)
    return Evidence(
        mu[some], r[some] / 2, r[some], r[some] / 4, r[some] * 0 + 1.0,
        groups or [slice(i, i + 1) for i in range(modes)], np.ones(modes), 0.0, 100,
        every=(mu, r),
    )  # fmt: skip


def test_a_gap_behind_the_values_is_proven_by_levels_that_are_apart() -> None:
    small = [0.1] * 5
    values = [9.0, 7.0, 5.0, 3.0, 1.0]
    assert evidence(values, small, 2).gap_behind() == pytest.approx((2, 6.9, 5.1))
    assert evidence(values, small, 4).gap_behind() == pytest.approx((4, 2.9, 1.1))
    assert evidence(values, small, 5).gap_behind() is None  # nothing is behind the last
    # a level that goes on beyond the wanted values is counted whole
    assert evidence([9.0, 7.0, 7.0, 3.0], [0.1] * 4, 2).gap_behind() == pytest.approx((3, 6.9, 3.1))
    assert evidence([9.0, 7.0, 7.0], [0.1] * 3, 2).gap_behind() is None
    # two that overlap: √2 together, at 1.5 less the neighbour's radius from the next
    two = [9.0, 6.0, 5.9, 4.4, 1.0]
    found = evidence(two, [0.1, 1.0, 1.0, 0.05, 0.1], 2).gap_behind()
    assert found == pytest.approx((3, 4.9, 4.45))
    assert evidence(two, [0.1, 1.0, 1.0, 0.1, 0.1], 2).gap_behind() is None
    assert evidence([7.5, 6.0, 5.9, 1.0], [0.1, 1.0, 1.0, 0.1], 2).gap_behind() is None
    assert evidence([7.5, 6.0, 5.9, 1.0], [0.05, 1.0, 1.0, 0.1], 2).gap_behind() is not None
    # one that is wide reaches across others
    assert evidence(values, [0.1, 0.1, 0.1, 4.5, 0.1], 2).gap_behind() is None
    assert evidence(values, [0.1, 2.2, 0.1, 0.1, 0.1], 2).gap_behind() is None
    unknown = evidence(values, small, 2)
    assert Evidence(*[getattr(unknown, k) for k in (
        "values", "residual", "radius", "estimate", "gap", "groups", "condition", "overlap",
        "points")]).gap_behind() is None  # fmt: skip


def test_functions_of_a_level_must_be_orthogonal_enough_to_be_counted() -> None:
    def of(overlap: float, *sizes: int) -> bool:
        ends = np.cumsum([0, *sizes])
        groups = [slice(*ends[i : i + 2]) for i in range(len(sizes))]
        found = evidence([1.0] * sum(sizes), [0.1] * sum(sizes), sum(sizes), groups)
        object.__setattr__(found, "overlap", overlap)
        return found.orthonormal

    assert of(0.9, 1, 1)
    assert of(0.0049, 1, 2)
    assert not of(0.0051, 1, 2)
    assert not of(0.0049, 1, 3)


def test_the_certificate_is_met_where_the_index_is_proven_and_nothing_looks_wrong() -> None:
    found = evidence([9.0, 5.0, 5.0], [0.1, 0.2, 0.2], 3, [slice(0, 1), slice(1, 3)])
    c = found.certificate("3 modes", index=True, notes=["so"], alarms=[])
    assert c.met
    assert c.asked == "3 modes"
    np.testing.assert_allclose(c["values"].low, [8.9, 4.8, 4.8])
    np.testing.assert_allclose(c["values"].high, [9.1, 5.2, 5.2])
    np.testing.assert_array_equal(c["residuals"].low, 0)
    np.testing.assert_array_equal(c["residuals"].high, found.radius)
    assert c["values"].failure == c["residuals"].failure == found.failure
    np.testing.assert_array_equal(c.estimates["level"], [1, 2, 2])
    assert not found.certificate("", index=False, notes=[], alarms=[]).met
    assert not found.certificate("", index=True, notes=[], alarms=["a"]).met
    object.__setattr__(found, "alarms", ["first"])
    loud = found.certificate("", index=True, notes=[], alarms=["second"])
    assert loud.alarms == ("first", "second")
    assert not loud.met
    found = evidence([9.0, 5.0], [0.1, np.nan], 2)
    c = found.certificate("", index=True, notes=[], alarms=[])
    assert not c.met
    assert "values" not in c
    assert c["residuals"].high[1] == np.inf


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("height", [0.0, 1e-4, 0.1, 1.0])
def test_functions_that_are_not_the_integrals_of_their_gradients(
    height: float, complex_: bool
) -> None:
    """sin x with a step of the given height: an alarm from a hundredth on."""
    torch.manual_seed(0)
    x = 2 * torch.randn(128, 1, dtype=torch.float64)

    def features(x: Tensor) -> Tensor:
        z = x[:, 0]
        return torch.stack([z.sin(), z, (z > 0.1).to(z)], 1)

    mix = torch.tensor([[1.0, 0.0], [0.0, 1.0], [height, 0.0]], dtype=torch.float64)
    given = mix * (1j if complex_ else 1)
    points = Points(x, torch.ones(128).double())
    found = jumps(features, given, points)
    assert bool(found) == (height > 0.01)
    if found:
        assert found[0].startswith("functions 3 are" if complex_ else "functions 1 are")


class Replicates:
    """In place of collocation: values and images of functions at points, as they are wanted."""

    def __init__(self, patch: pytest.MonkeyPatch, values: Tensor, images: Tensor) -> None:
        self.at = SimpleNamespace(values=values, images=images)
        patch.setattr(module, "collocate", lambda *_: self.at)
        self.space = SimpleNamespace(independent=lambda n, generator: torch.randn(n))

    def __call__(
        self, mu: list[float], modes: int, self_adjoint: bool = True, **more: object
    ) -> Evidence:
        form = SimpleNamespace(self_adjoint=self_adjoint, offset=more.pop("offset", 0.0))
        eye = torch.eye(len(mu), dtype=torch.float64)
        settings = {"points": 20, "seed": 0} | more
        return module.certify(
            form, self.space, None, torch.tensor(mu, dtype=torch.float64), eye, modes, **settings
        )  # type: ignore


def planted(residuals: list[float]) -> tuple[Tensor, Tensor]:
    """Orthonormal functions, and directions beside them of given sizes."""
    q = torch.linalg.qr(torch.randn(20, 2 * len(residuals), dtype=torch.float64))[0]
    half = len(residuals)
    return q[:, :half], q[:, half:] * torch.tensor(residuals, dtype=torch.float64)


@pytest.mark.parametrize("offset", [0.0, 5.0])
@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_evidence_is_what_points_say(
    scale: float, offset: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    mu, size = [9.0, 5.0, 5.0 - 1e-9, 1.0], [1e-3, 2e-3, 2e-3, 1e-1]
    values, error = planted(size)
    images = values * torch.tensor(mu, dtype=torch.float64) + error
    found = Replicates(monkeypatch, scale * values, scale * images)(mu, 3, offset=offset)
    rounding = module.ROUNDING * (9 + offset)
    np.testing.assert_allclose(found.residual, size[:3], rtol=1e-9)
    np.testing.assert_allclose(found.radius, np.array(size[:3]) + rounding, rtol=1e-9)
    assert found.groups == [slice(0, 1), slice(1, 3)]
    np.testing.assert_allclose(found.gap, [4 - 2e-3, 3.9 - 1e-9 - 0, 3.9], atol=2e-3)
    quadratic = [1e-6 / found.gap[0], *[8e-6 / found.gap[1]] * 2]
    np.testing.assert_allclose(found.estimate, np.array(quadratic) + rounding, rtol=1e-3)
    assert found.overlap < 1e-12
    assert found.points == 16 * 20
    assert found.alarms == []
    assert found.every is not None
    assert len(found.every[0]) == 4


def test_a_rayleigh_quotient_that_is_off_moves_the_estimate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values, _ = planted([1.0, 1.0])
    mu = torch.tensor([9.0, 5.0], dtype=torch.float64)
    images = values * (mu + torch.tensor([1e-4, 0.0]))
    found = Replicates(monkeypatch, values, images)([9.0, 5.0], 1)
    assert found.residual[0] == pytest.approx(1e-4)
    assert found.estimate[0] == pytest.approx(1e-4)  # linear: quadratic and shift would be more
    mixed = values.clone()
    mixed[:, 1] = 0.6 * values[:, 0] + 0.8 * values[:, 1]
    loud = Replicates(monkeypatch, 7 * mixed, 7 * mixed * mu)([9.0, 5.0], 2)
    assert loud.overlap == pytest.approx(0.6)
    assert "overlap by 60.0%" in loud.alarms[0]


def test_only_functions_that_have_vanished_may_meet_an_infinite_potential(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values, error = planted([1e-3, 1e-3])
    mu = [9.0, 5.0]
    values[3, 0], values[4, 0], error[3, 0], error[4, 0] = 0.0, 0.0, 0.0, 0.25
    images = values * torch.tensor(mu, dtype=torch.float64) + error
    exact = float(error[:, 0].norm() / values[:, 0].norm())
    plain = Replicates(monkeypatch, values, images)(mu, 1)
    assert plain.residual[0] == pytest.approx(exact)  # an image where the function is zero counts
    for bad in (np.inf, np.nan):
        images[3, 0] = bad
        assert Replicates(monkeypatch, values, images)(mu, 1).residual[0] == pytest.approx(exact)
    for value in (0.2, -0.2):
        values[5, 0], images[5, 0] = value, np.inf
        with pytest.raises(ValueError, match="NaN or infinite"):
            Replicates(monkeypatch, values, images)(mu, 1)


def test_the_edge_of_a_continuous_spectrum_is_a_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    values, error = planted([1e-3, 1e-3])
    mu = [9.0, 5.0]
    make = Replicates(monkeypatch, values, values * torch.tensor(mu, dtype=torch.float64) + error)
    assert np.isnan(make(mu, 2).gap[1])
    assert make(mu, 2, edge=3.0).gap[1] == pytest.approx(2.0)
    found = make(mu, 2, edge=3.0).every
    assert found is not None
    np.testing.assert_allclose(found[0], [9.0, 5.0, 3.0])
    assert found[1][2] == pytest.approx(module.ROUNDING * 9)


def test_without_self_adjointness_a_residual_times_its_condition_is_an_alarm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values, error = planted([0.1, 0.1])
    mu = [9.0, 5.0]
    make = Replicates(monkeypatch, values, values * torch.tensor(mu, dtype=torch.float64) + error)
    assert make(mu, 2, False).alarms == []
    loud = make(mu, 2, False, condition=np.array([1.0, 11.0, 3.0]))
    assert len(loud.alarms) == 1
    assert "modes 2 are not resolved" in loud.alarms[0]
    assert np.isnan(loud.gap).all()
    assert loud.groups == [slice(0, 1), slice(1, 2)]
    np.testing.assert_array_equal(loud.condition, [1.0, 11.0])
    grown = make(mu, 2, False, expected=torch.tensor([0.1, 1e-3], dtype=torch.float64))
    assert "residuals of modes 2 are more than three" in grown.alarms[0]
    assert make(mu, 2, expected=torch.tensor([0.1, 1e-3], dtype=torch.float64)).alarms
