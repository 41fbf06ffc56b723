"""Rules for ranks: the smallest k that does what was asked."""

from __future__ import annotations

import numpy as np
import pytest

from schmidt.rank import largest_tail, rank_rule

S = np.array([8.0, 4.0, 2.0, 1.0, 0.5])
TOTAL = float((S**2).sum())


@pytest.mark.parametrize("norm", ["fro", "spectral", "sigma"])
@pytest.mark.parametrize("tol", [0.9, 0.5, 0.3, 0.06, 0.05])
def test_a_tolerance_gives_the_smallest_rank_that_meets_it(norm: str, tol: float) -> None:
    k = rank_rule(tol=tol, norm=norm).choose(S, TOTAL, 0)
    assert k is not None

    def met(k: int) -> bool:
        if norm == "fro":
            return float((S[k:] ** 2).sum()) <= tol**2 * TOTAL
        return bool((S[k:] <= tol * S[0]).all())

    assert met(k)
    assert k == 1 or not met(k - 1)


@pytest.mark.parametrize("share", [0.5, 0.75, 0.9, 0.99, 1.0])
def test_energy_and_mass_count_different_powers(share: float) -> None:
    energy = rank_rule(energy=share).choose(S, TOTAL, 0)
    mass = rank_rule(mass=share).choose(S, TOTAL, 0)
    assert energy == 1 + np.argmax(np.cumsum(S**2) >= share * TOTAL)
    assert mass == 1 + np.argmax(np.cumsum(S) >= share * S.sum())
    assert energy <= mass


def test_energy_is_known_without_the_tail() -> None:
    assert rank_rule(energy=0.9).choose(S[:3], TOTAL, 2) == rank_rule(energy=0.9).choose(
        S, TOTAL, 0
    )
    assert rank_rule(energy=0.999).choose(S[:2], TOTAL, 3) is None


def test_mass_is_proven_whatever_the_tail_is(rng: np.random.Generator) -> None:
    """The chosen rank keeps the share for every tail of that energy."""
    for _ in range(50):
        s = np.sort(rng.exponential(size=12))[::-1] ** 3
        k = rank_rule(mass=0.6).choose(s[:8], float((s**2).sum()), 4)
        assert k is None or s[:k].sum() >= 0.6 * s.sum()
        assert largest_tail(s[:8], float((s**2).sum()), 4) >= s[8:].sum()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "none of them"),
        ({"rank": 2, "tol": 0.1}, "rank, tol"),
        ({"rank": 0}, "at least 1"),
        ({"rank": 2.5}, "whole number"),
        ({"rank": "2"}, "must be a number"),
        ({"tol": 1.5}, "between 0 and 1"),
        ({"tol": float("nan")}, "between 0 and 1"),
        ({"energy": 1.2}, "share"),
        ({"mass": 0}, "share"),
        ({"tol": 0.1, "norm": "max"}, "norm must be one of"),
    ],
)
def test_impossible_rules_are_refused(given: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rank_rule(**given)


def test_energy_of_an_operator_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown for an operator"):
        rank_rule(energy=0.9).choose(S, None, 1)
