"""The smallest singular values: right, all of them, and no digits of rounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import LinearOperator

from schmidt import svd

from .conftest import Planted


@pytest.mark.parametrize("shape", [(60, 25), (25, 60), (40, 40)])
@pytest.mark.parametrize("kind", ["dense", "complex", "sparse", "blocks", "operator", "tensor"])
def test_they_are_those_of_lapack(kind: str, shape: tuple[int, int], planted: Planted) -> None:
    """Two copies of the smallest, ascending; A v = s u and Aᴴu = s v."""
    s = np.r_[np.linspace(5, 1, min(shape) - 3), 0.5, 0.25, 0.25]
    A = planted(*shape, s, complex_=kind == "complex")
    given: Any = A
    if kind == "sparse":
        given = sp.csr_array(A)
    elif kind == "blocks":
        given = [A[:10], A[10:]]
    elif kind == "operator":
        given = LinearOperator(shape, matvec=lambda x: A @ x, rmatvec=lambda y: A.T @ y)
    elif kind == "tensor":
        given = torch.from_numpy(A)
    found = svd(given, rank=4, which="smallest", strict=True)
    left, values, right = (np.asarray(x) for x in (found.left, found.values, found.right))
    np.testing.assert_allclose(values, [0.25, 0.25, 0.5, 1.0], atol=1e-9)
    np.testing.assert_allclose(A @ right, left * values, atol=1e-9)
    np.testing.assert_allclose(A.conj().T @ left, right * values, atol=1e-9)
    assert found.certificate is not None
    assert np.all(found.certificate["values"].low <= [0.25, 0.25, 0.5, 1.0])
    assert np.all(found.certificate["values"].high >= [0.25, 0.25, 0.5, 1.0])


def test_rounding_has_no_digits(planted: Planted) -> None:
    A = planted(50, 30, np.r_[np.linspace(4, 1, 28), 1e-18, 1e-19])
    found = svd(A, rank=3, which="smallest")
    assert found.values[0] == found.values[1] == 0
    assert found.values[2] == pytest.approx(1)
    known = found.certificate
    assert known is not None
    assert 0 < known["values"].high[0] < 1e-11
    assert "≤" in str(found).splitlines()[1]
    assert "at most" in " ".join(known.notes)


@pytest.mark.parametrize("complex_", [False, True])
def test_sparse_ends_are_counted(complex_: bool) -> None:
    """Differences on a path of 1,500 nodes: σ_j = 2 sin(π j/2n), and 0 once."""
    n = 1500
    phase = 1j if complex_ else 1.0
    D = sp.diags_array([-np.ones(n - 1), np.ones(n - 1)], offsets=[0, 1], shape=(n - 1, n)) * phase
    truth = 2 * np.sin(np.pi * np.arange(1, n) / (2 * n))
    found = svd(D, rank=5, which="smallest", strict=True)  # (n − 1, n): full row rank
    np.testing.assert_allclose(found.values, truth[:5], rtol=1e-7)
    assert found.settings["completeness"] == "inertia"
    square = sp.vstack([D, sp.csr_array((1, n))])
    again = svd(square, rank=4, which="smallest")
    assert again.values[0] == 0
    np.testing.assert_allclose(again.values[1:], truth[:3], rtol=1e-7)
    assert again.certificate is not None
    assert again.certificate["values"].high[0] < 1e-10


def test_repeated_values_come_as_often_as_they_are() -> None:
    A = sp.block_diag([sp.diags_array(np.linspace(0.01, 1, 60))] * 20, format="csr")
    found = svd(A, rank=18, which="smallest")
    np.testing.assert_allclose(found.values, 0.01, rtol=1e-8)
    assert found.certificate is not None
    assert found.certificate.met


def test_what_cannot_be_done_is_said() -> None:
    A = np.eye(20)
    with pytest.raises(ValueError, match="takes rank="):
        svd(A, tol=0.1, which="smallest")
    with pytest.raises(ValueError, match="solvers of its own"):
        svd(A, rank=2, which="smallest", solver="krylov")
    with pytest.raises(ValueError, match="read once"):
        svd(iter([np.random.default_rng(0).standard_normal((300, 200))]), rank=2, which="smallest")
    big = LinearOperator((20_000, 20_000), matvec=lambda x: x, rmatvec=lambda x: x)
    with pytest.raises(ValueError, match="LinearOperator has no entries"):
        svd(big, rank=2, which="smallest")
