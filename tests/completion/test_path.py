"""The λ path: what a parabola finds, and what more entries ask for."""

from __future__ import annotations

import numpy as np
import pytest

from schmidt.completion.model import Biases
from schmidt.completion.observed import Observed
from schmidt.completion.path import RATIO, PathStep, _interpolated, scaled
from schmidt.completion.soft_impute import gradient_norm


def steps(errors: list[float]) -> list[PathStep]:
    return [PathStep(RATIO**i, 1, np.array([9.0, e])) for i, e in enumerate(errors)]


@pytest.mark.parametrize("least", [0.6, 0.9, 1.0, 1.25, 1.4])
def test_a_parabola_in_log_lambda_gives_its_own_minimum(least: float) -> None:
    path = steps([2 + (i - least) ** 2 for i in range(3)])
    assert _interpolated(path, 1, 1) == pytest.approx(RATIO**least)


def test_what_is_no_parabola_stays_between_the_neighbours() -> None:
    assert _interpolated(steps([3.0, 2.0]), 1, 1) == pytest.approx(RATIO)  # the last one
    assert _interpolated(steps([2.0, 2.0, 2.0]), 1, 1) == pytest.approx(RATIO)  # flat
    assert _interpolated(steps([4.0, 2.0, 0.5]), 1, 1) == pytest.approx(RATIO**2)
    assert _interpolated(steps([0.5, 2.0, 4.0]), 1, 1) == pytest.approx(1.0)
    # the error at the rank that was chosen, and not another
    path = [PathStep(RATIO**i, 2, np.array([9.0, 2 + (i - 1.3) ** 2, -i])) for i in range(3)]
    assert _interpolated(path, 1, 1) == pytest.approx(RATIO**1.3)


def test_lambda_grows_as_noise_does_with_the_number_of_entries(rng: np.random.Generator) -> None:
    """‖P_Ω(noise)‖₂ of a half of the entries, brought to all of them."""
    noise = rng.standard_normal((300, 250))
    norms = {}
    for share in (0.2, 0.8):
        rows, columns = np.nonzero(rng.random(noise.shape) < share)
        x = Observed.of(rows, columns, noise[rows, columns], noise.shape)
        norms[share] = gradient_norm(x, Biases.none(x.shape)), len(x)
    (few, kept), (many, total) = norms[0.2], norms[0.8]
    assert scaled(few, kept, total) == pytest.approx(many, rel=0.08)
    assert scaled(3.0, 7, 7) == 3.0
    assert scaled(scaled(2.0, 5, 20), 20, 80) == pytest.approx(8.0)
