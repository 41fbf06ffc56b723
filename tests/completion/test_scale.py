"""Completion knows no units."""

import numpy as np
import pytest

from schmidt import MatrixCompletion


@pytest.mark.parametrize("settings", [{}, {"method": "fixed-rank", "rank": 2}])
@pytest.mark.parametrize("exponent", [-1000, -332, -27, 60, 332, 1000])
def test_values_of_any_size_are_completed_alike(settings, exponent):
    rng = np.random.default_rng(2)
    full = rng.standard_normal((40, 2)) @ rng.standard_normal((2, 30))
    shown = rng.random(full.shape) < 0.5
    unit = 2.0**exponent
    predicted = [
        MatrixCompletion(**settings).fit(np.where(shown, full * u, np.nan)).predict(
            *np.nonzero(~shown)
        )
        / u
        for u in (1.0, unit)
    ]  # fmt: skip
    np.testing.assert_allclose(predicted[1], predicted[0], atol=1e-6)
