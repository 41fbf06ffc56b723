"""Reversed and read-only numpy views, which torch refuses, are taken wherever arrays are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from schmidt.operators import Data, Gaussian, Matrix, Mixture
from schmidt.operators.spectrum import Functions


def reversed_view(a: np.ndarray) -> np.ndarray:
    return a[::-1].copy()[::-1]


def read_only(a: np.ndarray) -> np.ndarray:
    return np.broadcast_to(a, a.shape)


VIEWS = [reversed_view, read_only]
View = Callable[[np.ndarray], np.ndarray]


@pytest.mark.parametrize("view", VIEWS)
def test_data(view: View, rng: np.random.Generator) -> None:
    x, mass = rng.standard_normal((5, 2)), rng.uniform(size=5)
    points = Data(view(x), view(mass)).evaluation()
    np.testing.assert_array_equal(points.x, x)
    np.testing.assert_array_equal(points.weight, mass)


def test_data_are_a_copy(rng: np.random.Generator) -> None:
    x = rng.standard_normal((5, 2))
    measure = Data(x)
    x[:] = 0
    assert bool((measure.evaluation().x != 0).all())


@pytest.mark.parametrize("view", VIEWS)
def test_matrices(view: View, rng: np.random.Generator) -> None:
    a = rng.standard_normal((4, 3))
    np.testing.assert_array_equal(Matrix(view(a)).a, a)


@pytest.mark.parametrize("view", VIEWS)
def test_points_of_functions(view: View, rng: np.random.Generator) -> None:
    functions = Functions(nn.Linear(2, 3).double(), torch.eye(3))
    x = rng.standard_normal((5, 2))
    np.testing.assert_array_equal(functions(view(x)), functions(x))


@pytest.mark.parametrize("view", VIEWS)
def test_mixture_weights(view: View) -> None:
    components = [Gaussian(1.0, 1), Gaussian(2.0, 1)]
    x = torch.randn(4, 1, dtype=torch.float64)
    given = Mixture(components, view(np.array([1.0, 3.0])))
    assert torch.equal(given.density(x), Mixture(components, [1, 3]).density(x))
