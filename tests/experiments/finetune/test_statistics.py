"""Intervals: Wilson's where scores are 0 or 1, narrower where they vary less."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import binomtest

from schmidt.experiments.finetune import difference, mean_score


@pytest.mark.parametrize(("right", "n"), [(7, 10), (0, 12), (12, 12), (300, 450)])
def test_wilson(right: int, n: int) -> None:
    scores = torch.zeros(n)
    scores[:right] = 1
    exact = binomtest(right, n).proportion_ci(0.95, method="wilson")
    found = mean_score([scores])
    assert found.mean == pytest.approx(right / n)
    assert found.low == pytest.approx(exact.low, abs=1e-6)
    assert found.high == pytest.approx(exact.high, abs=1e-6)


def test_the_interval_covers_the_mean_of_shares(generator: torch.Generator) -> None:
    covered = 0
    for _ in range(400):
        scores = torch.rand(200, generator=generator) ** 2  # mean 1/3
        found = mean_score([scores])
        covered += found.low <= 1 / 3 <= found.high
        assert found.high - found.low < 0.1 < 0.131  # a share of 1/3 of 200 has 0.131
    assert 0.92 <= covered / 400 <= 0.98


def test_runs_on_the_same_examples_are_no_new_examples() -> None:
    scores = (torch.arange(50) % 3 == 0).double()
    assert mean_score([scores, scores]) == mean_score([scores])


def test_paired_differences_cancel_what_is_common() -> None:
    base = (torch.arange(100) % 2).double()
    better = base.clone()
    better[:10] = 1
    found = difference([better], [base])
    assert found.mean == pytest.approx(0.05)
    assert found.low > 0
    assert difference([base], [base]).high == 0


def test_diverged_runs_have_no_interval() -> None:
    assert math.isnan(mean_score([torch.zeros(0)]).mean)
    assert math.isnan(difference([torch.zeros(0)], [torch.zeros(3)]).low)
