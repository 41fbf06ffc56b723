"""Bounds and certificates: what is claimed survives scaling, truncation, files – and no more."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schmidt.certificate import FAILURE, Bound, Certificate

numbers = st.floats(-1e6, 1e6)


@given(numbers, st.floats(0, 1e6), numbers)
def test_a_scaled_bound_holds_the_scaled_quantity(value: float, radius: float, factor: float):
    bound = Bound.around(value, radius) * factor
    slack = 1e-9 * (1 + abs(value * factor))
    assert bound.low - slack <= value * factor <= bound.high + slack
    assert bound.low <= bound.high


def test_bounds_know_what_lies_in_them_and_refuse_nonsense() -> None:
    assert 1.0 in Bound(0, 2)
    assert 3.0 not in Bound(0, 2)
    assert np.array([1.0, 5.0]) in Bound(np.array([0.0, 4.0]), np.array([2.0, 6.0]))
    assert np.array([1.0, 7.0]) not in Bound(np.array([0.0, 4.0]), np.array([2.0, 6.0]))
    assert 1e300 in Bound()
    for low, high, failure in ((2, 1, 0), (math.nan, 1, 0), (0, 1, 1.5), (0, 1, -0.1)):
        with pytest.raises(ValueError, match=r"low ≤ high|probability"):
            Bound(low, high, failure)


def test_ends_belong_to_a_bound_and_the_radius_is_half_its_width() -> None:
    bound = Bound(1, 4)
    assert 1.0 in bound
    assert 4.0 in bound
    assert bound.radius == 1.5
    assert not bound.per_mode
    many = Bound(np.array([1.0, 2.0]), np.array([4.0, 2.0]))
    np.testing.assert_array_equal(many.radius, [1.5, 0])
    assert Bound(-1, np.array([0.0, 1.0])).per_mode


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        (Bound(2, 2), "2"),
        (Bound(0, 2), "≤ 2"),
        (Bound(high=2), "≤ 2"),
        (Bound(low=2), "≥ 2"),
        (Bound(1, 2), "[1, 2]"),
        (Bound(-1, 2), "[-1, 2]"),
        (Bound(9, 10), "[9, 10]"),
        (Bound(1, 1 + 1e-9), "1"),
        (Bound(0, 2, 1e-7), "≤ 2 (fails with probability 1e-07)"),
        (Bound(np.array([1.0, 2.0]), np.array([3.0, 5.0])), "each to within ± 1.5"),
        (Bound(np.zeros(2), np.array([3.0, 5.0])), "each ≤ 5"),
        (Bound(np.full(2, -np.inf), np.array([3.0, 5.0])), "each ≤ 5"),
        (Bound(np.array([1.0, 2.0]), np.full(2, np.inf)), "each ≥ 1"),
    ],
)
def test_bounds_say_what_they_know(bound: Bound, text: str) -> None:
    assert str(bound) == text


def test_without_a_word_nothing_is_known_and_nothing_fails() -> None:
    assert (Bound().low, Bound().high, Bound().failure) == (-math.inf, math.inf, 0.0)
    assert Bound.around(1, 2).failure == Bound.around(1, 2).truncate(1).failure == 0.0
    assert Certificate().failure == 0.0
    assert not Certificate().met
    plain = Bound(1, [2, 3])
    assert type(plain.low) is float
    assert plain.high.dtype == float
    assert Bound(np.zeros(2), 5.0).per_mode
    for frozen, name in ((Bound(), "high"), (Certificate(), "met")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(frozen, name, True)


@pytest.mark.parametrize("failure", [0.0, FAILURE / 2, FAILURE])
def test_what_is_proven_may_be_called_met(failure: float) -> None:
    assert Certificate({"spectral": Bound(0, 1, failure)}, met=True).met


@pytest.mark.parametrize("failure", [1.01 * FAILURE, 1e-3, 1.0])
def test_a_claim_that_may_fail_is_turned_down(failure: float) -> None:
    bounds = {"spectral": Bound(0, 1, failure), "norm": Bound(2, 2)}
    assert not Certificate(bounds, met=True).met
    assert Certificate(bounds, met=True, allowed=1.0).met
    assert not Certificate({}, met=True, failure=failure).met
    assert Certificate(bounds).failure == failure


def test_an_unknown_quantity_is_not_bounded() -> None:
    known = Certificate({"norm": Bound(1, 2)})
    assert "spectral" not in known
    assert known["spectral"].high == math.inf
    assert "norm" in known


def test_certificates_survive_json_with_everything() -> None:
    whole = Certificate(
        {"values": Bound(np.array([1.0, -math.inf]), np.array([math.inf, 2.0]), 1e-7)},
        met=True,
        alarms=["a jump"],
        asked="rank 2",
        notes=["operator: norm unknown"],
        estimates={"error": np.array([1e-3, 2e-3]), "points": 7},
    )
    back = Certificate.from_dict(json.loads(json.dumps(whole.as_dict(), allow_nan=False)))
    assert back.as_dict() == whole.as_dict()
    np.testing.assert_array_equal(back["values"].low, whole["values"].low)
    assert back.met
    assert back["values"].per_mode
    np.testing.assert_array_equal(back.estimates["error"], whole.estimates["error"])
    assert isinstance(back.estimates["error"], np.ndarray)
    assert back.estimates["points"] == 7
    alone = Bound.from_dict(Bound().as_dict())
    assert (alone.low, alone.high) == (-math.inf, math.inf)
    assert Bound.around(np.array([3.0, 2.0]), np.array([0.1, math.inf]))


def test_a_truncated_certificate_keeps_bounds_per_mode_and_no_others() -> None:
    whole = Certificate(
        {"values": Bound(np.zeros(3), np.arange(3.0)), "spectral": Bound(0, 1)},
        met=True,
        asked="rank 3",
        estimates={"error": np.arange(3.0), "points": 7},
    )
    cut = whole.truncate(2, {"frobenius": Bound(0, 5)}, "rank 2", False)
    assert set(cut.bounds) == {"values", "frobenius"}
    np.testing.assert_array_equal(cut["values"].high, [0, 1])
    assert not cut.met
    assert cut.asked == "rank 2"
    np.testing.assert_array_equal(cut.estimates["error"], [0, 1])
    assert cut.estimates["points"] == 7


def test_text_and_html_name_alarms_and_what_is_not_proven() -> None:
    known = Certificate({"frobenius": Bound(0, 2)}, asked="tol <0.1>", alarms=["a jump at x < 0"])
    assert "not proven" in str(known)
    assert "a jump" in str(known)
    page = known._repr_html_()
    assert "a jump at x &lt; 0" in page
    assert "not proven" in page
    assert "‖T − T_k‖_F" in page
    assert "<0.1>" not in page
