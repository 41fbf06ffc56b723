"""One way to check parameters: what is allowed passes, everything else is told what to do."""

from __future__ import annotations

import math

import numpy as np
import pytest

from schmidt.parameters import FLAG, SEED, Choice, Kind, Number, check

RANK = Number(1, whole=True, none=True, advice="leave it out to choose it")
SHARE = Number(0, 1, open="low")


@pytest.mark.parametrize("value", [1, np.int64(7), None, np.uint8(3)])
def test_whole_numbers_of_any_kind_pass(value: object) -> None:
    check({"rank": RANK}, rank=value)


@pytest.mark.parametrize("value", [0, -3, True, np.True_, 2.0, np.float64(2), "3", [3], math.inf])
def test_what_is_no_rank_is_refused_with_advice(value: object) -> None:
    with pytest.raises((TypeError, ValueError), match=r"^rank must be a whole number of at l"):
        check({"rank": RANK}, rank=value)
    with pytest.raises((TypeError, ValueError), match=r"leave it out to choose it$"):
        check({"rank": RANK}, rank=value)


@pytest.mark.parametrize(("value", "fine"), [(1, True), (0.5, True), (0, False), (1.01, False)])
def test_open_ends_do_not_belong(value: float, fine: bool) -> None:
    assert SHARE.accepts(value) is fine


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan"), 1j])
def test_only_finite_real_numbers_are_numbers(value: object) -> None:
    assert not Number().accepts(value)


def test_a_misspelt_choice_gets_a_suggestion() -> None:
    solver = Choice("auto", "krylov", "lapack")
    with pytest.raises(ValueError, match=r"one of auto, krylov, lapack, got 'krilov' – did you"):
        check({"solver": solver}, solver="krilov")
    with pytest.raises(ValueError, match="got 0"):
        check({"flag": FLAG}, flag=0)  # not the same as False
    with pytest.raises(ValueError, match=r"got an array of shape \(2,\)"):
        check({"solver": solver}, solver=np.zeros(2))


def test_types_and_seeds() -> None:
    with pytest.raises(TypeError, match="potential must be a function"):
        check({"potential": Kind((type(print),), "a function")}, potential="x**2")
    check({"seed": SEED}, seed=2**63 - 1)
    for bad in (0.5, -1, 2**63, None):
        with pytest.raises((TypeError, ValueError), match="seed must be"):
            check({"seed": SEED}, seed=bad)
