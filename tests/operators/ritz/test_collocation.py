"""Least squares have no variance; leading pairs are what they say, also of awkward matrices."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from schmidt.linalg import span
from schmidt.operators import Points, Schrodinger
from schmidt.operators.ritz.collocation import (
    collocate,
    compress,
    residuals,
    ritz_pairs,
)

Functions = Callable[[Tensor], Tensor]
Make = Callable[[int], Schrodinger]


def rotation(n: int) -> Tensor:
    return torch.linalg.qr(torch.randn(n, n, dtype=torch.float64))[0]


def eye(n: int) -> Tensor:
    return torch.eye(n, dtype=torch.float64)


def arbitrary_points(count: int = 40) -> Points:
    """Points and weights that integrate nothing."""
    x = torch.rand(count, 1, dtype=torch.float64) ** 2 * 3 - 1
    return Points(x, 10 ** (torch.rand(count, dtype=torch.float64) * 4 - 2))


def test_eigenvalues_are_exact_for_any_weights(hermite: Functions, oscillator: Make) -> None:
    """TΦ ∈ span Φ: no variance, where Galerkin on the same points is off by tens of percent."""
    turn = torch.randn(5, 5, dtype=torch.float64)
    form, points = oscillator(1), arbitrary_points()
    at = collocate(form, lambda x: hermite(x) @ turn, points)
    basis = span(at.values)
    matrix = compress(basis, at.images)
    values, _ = ritz_pairs(matrix, 5, self_adjoint=False)
    expected = torch.tensor([-1.0, -3, -5, -7, -9], dtype=torch.float64)
    torch.testing.assert_close(values.real, expected, rtol=1e-8, atol=1e-8)
    galerkin = basis.values.T @ (at.images @ basis.mix)
    wrong = torch.linalg.eigvalsh((galerkin + galerkin.T) / 2).flip(0)
    assert float((wrong - expected).abs().max()) > 0.1


def test_on_an_exact_quadrature_it_is_galerkin(hermite: Functions, oscillator: Make) -> None:
    form = oscillator(1)
    at = collocate(form, lambda x: hermite(x * 1.1), form.measure.rule(60))
    basis = span(at.values)
    matrix = compress(basis, at.images)
    torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=1e-11)
    found = ritz_pairs(matrix, 2, self_adjoint=True)[0]
    torch.testing.assert_close(found, torch.linalg.eigvalsh(matrix).flip(0)[:2])
    assert bool((found < torch.tensor([-1.0, -3.0]) + 1e-12).all())


def test_leading_blocks_belong_to_leading_parts_of_the_basis(
    hermite: Functions, oscillator: Make
) -> None:
    at = collocate(oscillator(1), lambda x: hermite(x * 1.1), arbitrary_points())
    basis = span(at.values)
    whole = compress(basis, at.images)
    few = torch.linalg.lstsq(basis.values[:, :3], at.images @ basis.mix[:, :3]).solution
    torch.testing.assert_close(whole[:3, :3], few)


@pytest.mark.parametrize("columns", [2, 5])
@pytest.mark.parametrize("kind", [torch.float64, torch.complex128])
def test_mixing_while_collocating_is_mixing_after(
    hermite: Functions, oscillator: Make, columns: int, kind: torch.dtype
) -> None:
    """Also for as many combinations as functions."""
    form, points = oscillator(1), arbitrary_points()
    mix = torch.randn(5, columns, dtype=kind)
    found = collocate(form, hermite, points, mix)
    wanted = collocate(form, hermite, points).mix(mix)
    torch.testing.assert_close(found.values, wanted.values)
    torch.testing.assert_close(found.images, wanted.images)


@pytest.mark.parametrize("columns", [3, 26])
@pytest.mark.parametrize("kind", [torch.float64, torch.complex128])
def test_trunks_mix_by_themselves(
    trunk: Callable[..., torch.nn.Module], oscillator: Make, columns: int, kind: torch.dtype
) -> None:
    form = oscillator(2)
    points = form.measure.sample(1500, torch.Generator().manual_seed(0))
    mix = torch.randn(26, columns, dtype=kind)
    found = collocate(form, trunk(), points, mix)
    wanted = collocate(form, trunk(), points).mix(mix)
    torch.testing.assert_close(found.values, wanted.values)
    torch.testing.assert_close(found.images, wanted.images)


def test_residuals_vanish_on_eigenfunctions_only(hermite: Functions, oscillator: Make) -> None:
    """And do not depend on the norms of the functions."""
    at = collocate(oscillator(1), lambda x: 7 * hermite(x), arbitrary_points())
    values = torch.tensor([-1.0, -3, -5, -7, -9.5], dtype=torch.float64)
    found = residuals(at, values)
    assert float(found[:4].max()) < 1e-12
    assert float(found[4]) == pytest.approx(0.5)


def check_invariant(matrix: Tensor, count: int, tolerance: float, between: float = 1e-12) -> Tensor:
    """Vectors of one level are orthonormal; those of two levels overlap less than ``between``."""
    values, vectors = ritz_pairs(matrix, count, self_adjoint=True)
    assert values.dtype == vectors.dtype == torch.float64
    assert values.shape == (count,)
    assert bool((values.diff() <= 0).all())
    overlap = (vectors.T @ vectors - eye(count)).abs()
    near = (values[:, None] - values).abs() < 1e-4
    assert float(overlap[near].max()) < 1e-12
    assert float(overlap.max()) < between
    assert float((matrix @ vectors - vectors * values).norm()) < tolerance
    return values


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_degenerate_symmetric_matrices(count: int) -> None:
    levels = torch.tensor([3.0, 3, 3, 1, 1, 0, -2, -2], dtype=torch.float64)
    q = rotation(8)
    values = check_invariant((q * levels) @ q.T, count, 1e-12)
    torch.testing.assert_close(values, levels[:count], rtol=1e-12, atol=1e-12)


SKEW = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
PLANTED = {
    "a complex pair": torch.block_diag(SKEW, torch.zeros(6, 6).double()),
    "two complex pairs": torch.block_diag(SKEW, 2 * SKEW, torch.zeros(4, 4).double()),
    "a pair below the cluster": torch.block_diag(torch.zeros(4, 4).double(), SKEW, SKEW),
    "a Jordan chain": torch.diag(torch.tensor([1.0, 1, 1, 0, 0, 0, 0]).double(), 1),
    "a triangle": torch.ones(8, 8, dtype=torch.float64).triu(1),
}


@pytest.mark.parametrize("size", [1e-14, 1e-11, 1e-8, 1e-5])
@pytest.mark.parametrize("name", PLANTED)
def test_nearly_symmetric_matrices_give_real_orthonormal_pairs(name: str, size: float) -> None:
    """Complex or defective pairs inside clusters, and on both sides of any count."""
    levels = torch.tensor([3.0, 3, 3, 3, 1, 1, 0.5, 0.5], dtype=torch.float64)
    for q in (eye(8), rotation(8)):
        matrix = q @ (torch.diag(levels) + size * PLANTED[name]) @ q.T
        for count in range(1, 9):
            much = size * float(PLANTED[name].norm())
            values = check_invariant(matrix, count, 4 * much + 1e-13, between=20 * much + 1e-12)
            assert float((values - levels[:count]).abs().max()) < 4 * size + 1e-13


def test_an_invariant_subspace_survives_what_lies_below() -> None:
    """Not A's symmetric part: a block above the diagonal of size one must not enter."""
    top = torch.diag(torch.tensor([3.0, 2.0], dtype=torch.float64))
    matrix = torch.cat([torch.cat([top, torch.ones(2, 3).double()], 1), torch.zeros(3, 5)], 0)
    values, vectors = ritz_pairs(matrix, 2, self_adjoint=True)
    torch.testing.assert_close(values, torch.tensor([3.0, 2.0]).double())
    assert float(vectors[2:].abs().max()) < 1e-13
    symmetric = torch.linalg.eigvalsh((matrix + matrix.T) / 2).flip(0)[:2]
    assert float((symmetric - values).abs().max()) > 0.1


def test_complex_eigenvalues_come_by_real_part_then_plus_before_minus() -> None:
    turn = torch.randn(7, 7, dtype=torch.float64) + 3 * eye(7)  # a basis that is not orthogonal
    blocks = [
        -1.0 * eye(2) + 2 * SKEW,
        torch.zeros(1, 1).double(),
        -0.5 * eye(2) + 3 * SKEW,
        -1.0 * eye(1),
        -9.0 * eye(1),
    ]
    matrix = turn @ torch.block_diag(*blocks) @ torch.linalg.inv(turn)
    values, vectors = ritz_pairs(matrix, 6, self_adjoint=False)
    expected = torch.tensor([0, -0.5 + 3j, -0.5 - 3j, -1 + 2j, -1, -1 - 2j]).to(torch.complex128)
    torch.testing.assert_close(values, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(vectors.norm(dim=0), torch.ones(6).double())
    error = matrix.to(vectors.dtype) @ vectors - vectors * values
    assert float(error.abs().max()) < 1e-10


@pytest.mark.parametrize("self_adjoint", [True, False])
def test_matrices_of_zeros_and_of_one_entry(self_adjoint: bool) -> None:
    values, vectors = ritz_pairs(torch.zeros(3, 3).double(), 2, self_adjoint=self_adjoint)
    assert float(values.abs().max()) == 0
    torch.testing.assert_close((vectors.mH @ vectors).real, eye(2))
    single = ritz_pairs(-4 * eye(1), 1, self_adjoint=self_adjoint)[0]
    assert complex(single[0]) == -4
