"""The one rule for signs: the first entry of at least half the largest is real and positive."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from schmidt.linalg import fix_signs


@pytest.mark.parametrize("power", [-60, 0, 60])
def test_the_first_of_half_the_largest_decides_at_every_scale(power: int) -> None:
    columns = np.array([[0.4, -0.5, -0.4, 0.0], [-0.6, 0.9, 0.1, 0.0], [1.0, -1.0, -1.0, 0.0]])
    factors = fix_signs(columns * 2.0**power)
    np.testing.assert_array_equal(factors, [-1.0, -1.0, -1.0, 1.0])
    np.testing.assert_array_equal(fix_signs(columns * factors), 1.0)
    same = fix_signs(torch.from_numpy(columns))
    assert isinstance(same, torch.Tensor)
    np.testing.assert_array_equal(same, factors)


def test_phases_have_modulus_one_and_make_the_entry_real(rng: np.random.Generator) -> None:
    columns = rng.standard_normal((7, 5)) + 1j * rng.standard_normal((7, 5))
    columns[0, 0], columns[:, 1] = 9j, 0.0
    factors = fix_signs(columns)
    np.testing.assert_allclose(np.abs(factors), 1)
    assert factors[0] == pytest.approx(-1j)
    assert factors[1] == 1
    size = np.abs(columns)
    for column, sizes in zip((columns * factors).T, size.T, strict=True):
        entry = column[np.flatnonzero(sizes >= sizes.max() / 2)[0]]
        assert entry.imag == pytest.approx(0, abs=1e-12)
        assert entry.real >= 0
    assert fix_signs(columns.astype(np.complex64)).dtype == np.complex64
