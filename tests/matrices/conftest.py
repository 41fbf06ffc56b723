"""Matrices with planted singular values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

Planted = Callable[..., np.ndarray]


@pytest.fixture
def planted(rng: np.random.Generator) -> Planted:
    """planted(m, n, values) has exactly these singular values and random singular vectors."""

    def make(m: int, n: int, values: np.ndarray, *, complex_: bool = False) -> np.ndarray:
        k = len(values)

        def frame(size: int) -> np.ndarray:
            a = rng.standard_normal((size, k))
            return np.linalg.qr(a + 1j * rng.standard_normal((size, k)) if complex_ else a)[0]

        return (frame(m) * values) @ frame(n).conj().T

    return make


def values(n: int, power: float = 1.0) -> np.ndarray:
    return np.arange(1.0, n + 1) ** -power
