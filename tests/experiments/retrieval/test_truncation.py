"""What fewer modes are worth."""

import numpy as np
import pytest

from schmidt.experiments.retrieval import judge, truncation_curve
from schmidt.ranking import powers


def test_powers_of_two_and_all():
    assert powers(1) == [1]
    assert powers(8) == [1, 2, 4, 8]
    assert powers(12) == [1, 2, 4, 8, 12]


def test_first_modes_carry_what_was_put_there(rng):
    """Classes stand in the first four coordinates of eight, the others are noise."""
    classes = np.repeat(np.arange(4), 6)
    f, g = (
        np.concatenate([np.eye(4)[classes], 0.3 * rng.standard_normal((24, 4))], 1)
        for _ in range(2)
    )
    most = truncation_curve(f, g, classes, classes, k=6)
    least = truncation_curve(f, g, classes, classes, k=6, least=True)
    assert most.modes == least.modes == [1, 2, 4, 8]
    assert most.mean_average_precision[2] == pytest.approx(1)
    assert least.mean_average_precision[2] < 0.6
    full = judge(f, g, classes, classes, k=6)
    for curve in (most, least):
        assert curve.mean_average_precision[-1] == pytest.approx(full.mean_average_precision)
        assert curve.precision[-1] == pytest.approx(full.mean_precision)
        assert curve.at(8) == 1
    assert most.summary()["modes"] == [1, 2, 4, 8]


def test_more_modes_than_there_are():
    with pytest.raises(ValueError, match="embeddings have 2 modes"):
        truncation_curve(np.ones((2, 2)), np.ones((2, 2)), [0, 1], [0, 1], k=1, modes=[4])
