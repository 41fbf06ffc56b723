"""Bases: orthonormal where a Gram matrix is singular to rounding, constrained, cut in order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from schmidt.linalg import span


def monomials(count: int = 25, points: int = 200) -> Tensor:
    """1, x, x², … on [0, 1]: condition number far beyond 1/ε."""
    x = torch.linspace(0, 1, points, dtype=torch.float64)
    return x[:, None] ** torch.arange(count)


def deviation(values: Tensor) -> float:
    """Largest entry of the Gram matrix minus 1."""
    return float((values.T @ values - torch.eye(values.shape[1]).double()).abs().max())


def test_columns_are_orthonormal_where_whitening_a_gram_matrix_fails() -> None:
    a = monomials()
    basis = span(a, cut=1e-12)
    assert 12 <= basis.mix.shape[1] < 25
    assert deviation(basis.values) < 1e-12
    scaled = a / a.norm(dim=0)
    values, vectors = torch.linalg.eigh(scaled.T @ scaled)
    kept = len(basis.size)
    whitened = scaled @ (vectors[:, -kept:] * values[-kept:].abs().rsqrt())
    assert deviation(whitened) > 1e-3


def test_the_mix_makes_the_values_as_well_as_rounding_allows() -> None:
    a = monomials()
    basis = span(a)
    error = (a @ basis.mix - basis.values).norm(dim=0)
    assert bool((error < 1e-14 / basis.size).all())


def test_directions_come_best_determined_first_and_cuts_are_leading_parts() -> None:
    a = monomials()
    whole = span(a, cut=1e-12)
    assert float(whole.size[0]) == 1
    assert bool((whole.size.diff() <= 0).all())
    for cut in (1e-3, 1e-6, 1e-9):
        part, rank = span(a, cut=cut), whole.rank(cut)
        assert len(part.size) == rank
        assert 0 < rank < len(whole.size)
        torch.testing.assert_close(part.mix, whole.mix[:, :rank])
    assert whole.rank(2.0) == 0


def test_a_full_basis_spans_the_functions() -> None:
    a = torch.randn(30, 6, dtype=torch.float64)
    q = span(a).values
    torch.testing.assert_close(q @ (q.T @ a), a, rtol=1e-12, atol=1e-12)


def test_more_functions_than_points() -> None:
    basis = span(torch.randn(5, 9, dtype=torch.float64))
    assert basis.mix.shape == (9, 5)
    assert deviation(basis.values) < 1e-12


@pytest.mark.parametrize("scale", [1e100, 1e-100, 1e-140])
def test_the_scale_of_a_column_is_immaterial(scale: float) -> None:
    a = torch.randn(40, 5, dtype=torch.float64)
    b = a.clone()
    b[:, 2] *= scale
    first, second = span(a), span(b)
    torch.testing.assert_close(first.size, second.size)
    torch.testing.assert_close(b @ second.mix, second.values)
    assert deviation(second.values) < 1e-12


def test_zero_and_repeated_columns_drop_out() -> None:
    a = torch.randn(40, 3, dtype=torch.float64)
    zero = torch.zeros(40, 1, dtype=torch.float64)
    basis = span(torch.cat([zero, a, zero, a[:, :1] + a[:, 1:2]], 1))
    assert len(basis.size) == 3
    assert float(basis.mix[[0, 4]].abs().max()) == 0
    assert bool(basis.mix.isfinite().all())


def test_nothing_but_zeros_is_an_error() -> None:
    with pytest.raises(ValueError, match="all functions are zero"):
        span(torch.zeros(10, 3, dtype=torch.float64), what="functions")


@pytest.mark.parametrize("count", [1, 2])
def test_constraints_hold_on_the_basis_and_cost_one_dimension_each(count: int) -> None:
    a = torch.randn(40, 7, dtype=torch.float64)
    rows = torch.randn(count, 7, dtype=torch.float64)
    basis = span(a, constraints=rows)
    assert basis.mix.shape == (7, 7 - count)
    assert float((rows @ basis.mix).abs().max()) < 1e-12
    torch.testing.assert_close(a @ basis.mix, basis.values, rtol=1e-12, atol=1e-12)
    assert deviation(basis.values) < 1e-12


def test_constraints_hold_on_ill_conditioned_functions() -> None:
    """A value at a point, 0 at x = 1/2, for monomials."""
    row = 0.5 ** torch.arange(25, dtype=torch.float64)[None]
    basis = span(monomials(), constraints=row)
    assert bool(((row @ basis.mix).abs()[0] < 1e-13 / basis.size).all())
    assert deviation(basis.values) < 1e-12


def test_constraints_that_say_nothing_change_nothing() -> None:
    a = torch.randn(20, 4, dtype=torch.float64)
    plain = span(a)
    for rows in (torch.zeros(0, 4).double(), torch.zeros(2, 4).double()):
        found = span(a, constraints=rows)
        torch.testing.assert_close(found.size, plain.size)
        torch.testing.assert_close(
            found.values @ found.values.T, plain.values @ plain.values.T, rtol=0, atol=1e-12
        )
