"""Joint laws whose kernels are known exactly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

Pairs = tuple[np.ndarray, np.ndarray]
Classes = tuple[Pairs, Pairs]
Svd = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture
def gaussian() -> Callable[..., Pairs]:
    """(n, rho, seed) → x, y (n, 1) of a bivariate normal law: σ_k = ρ^k, Hermite functions."""

    def draw(n: int, rho: float = 0.8, seed: int = 0) -> Pairs:
        rng = np.random.default_rng(seed)
        x, noise = rng.normal(size=(2, n, 1))
        return x, rho * x + np.sqrt(1 - rho**2) * noise

    return draw


@pytest.fixture
def table() -> np.ndarray:
    """A joint law of 5 × 4 values."""
    p = np.random.default_rng(7).gamma(0.4, size=(5, 4)) + 0.02
    return p / p.sum()


@pytest.fixture
def correspondence() -> Callable[[np.ndarray], Svd]:
    """table → the SVD of D_x^{-1/2}(P − p qᵀ)D_y^{-1/2}, as functions of row and of column."""

    def decompose(p: np.ndarray) -> Svd:
        a, b = p.sum(1), p.sum(0)
        u, s, vh = np.linalg.svd((p - np.outer(a, b)) / np.sqrt(np.outer(a, b)))
        return u / np.sqrt(a)[:, None], s, vh.T / np.sqrt(b)[:, None]

    return decompose


@pytest.fixture
def views() -> Callable[..., Classes]:
    """(count, each, dim, noise, seed) → two domains of noisy views of the same class centres."""

    def draw(
        count: int = 12, each: int = 20, dim: int = 6, noise: float = 0.5, seed: int = 0
    ) -> Classes:
        rng = np.random.default_rng(seed)
        centres = rng.normal(size=(count, dim))
        code = np.repeat(np.arange(count), each)
        sides = []
        for _ in range(2):
            view = rng.normal(size=(dim, dim)) / np.sqrt(dim)
            items = centres[code] @ view + noise * rng.normal(size=(len(code), dim))
            sides.append((items, code))
        return sides[0], sides[1]

    return draw
