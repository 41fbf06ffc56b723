"""Moments by rows and columns, from thin matrices, against the same from the dense matrix."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from schmidt.adapters.rules import quotient, square_means
from schmidt.adapters.tangent import Directions, Frames, coefficients, frames, project

M, N, R = 12, 8, 3


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


@pytest.fixture
def f() -> Frames:
    return frames(draw(2, R, N), draw(2, M, R))


def tangent(f: Frames) -> tuple[Directions, Tensor]:
    """A tangent pair, and the matrix that it stands for."""
    X = draw(2, M, N)
    return coefficients(f, f.B.mT @ X, X @ f.A.mT), project(f, X)


def test_means_of_squares_are_exact(f: Frames) -> None:
    X, dense = tangent(f)
    rows, columns = square_means(f, X)
    torch.testing.assert_close(rows, dense.square().mean(-1))
    torch.testing.assert_close(columns, dense.square().mean(-2))
    torch.testing.assert_close(rows.mean(-1), columns.mean(-1))


def test_means_are_never_negative(f: Frames) -> None:
    """B·X_A and X_B·A that cancel leave rounding, and no negative means of squares."""
    C = draw(2, R, R)
    rows, columns = square_means(f, Directions(C @ f.A, -f.B @ C))
    assert rows.min() >= 0
    assert columns.min() >= 0
    assert rows.max() < 1e-12


@pytest.mark.parametrize("eps", [0.0, 0.3])
def test_quotient_is_that_of_the_dense_matrices(f: Frames, eps: float) -> None:
    X, dense = tangent(f)
    rows, columns = (draw(2, size).square() + 0.1 for size in (M, N))
    r, c = rows + eps**2, columns + eps**2
    V = r[:, :, None] * c[:, None, :] / r.mean(-1)[:, None, None]
    D = quotient(f, X, rows, columns, eps, "zero")
    torch.testing.assert_close(f.B @ D.A + D.B @ f.A, project(f, dense / V.sqrt()))


def test_where_there_is_no_gradient_there_is_no_step(f: Frames) -> None:
    none = Directions(torch.zeros_like(f.A), torch.zeros_like(f.B))
    D = quotient(f, none, *square_means(f, none), 1e-8, "symmetric")
    assert D.A.abs().max() == D.B.abs().max() == 0
