"""Eigenpairs of Hermitian matrices: the values that belong there, as often as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import LinearOperator

import schmidt
from schmidt import eigh
from schmidt.factorization import Eigenpairs
from schmidt.matrices import eigh as module_eigh
from schmidt.matrices.beyond import upper_bounds
from schmidt.matrices.inertia import count_below, factorable


def ring(n: int) -> Any:
    off = -np.ones(n - 1)
    A = sp.diags_array([2 * np.ones(n), off, off], offsets=[0, 1, -1], format="lil")
    A[0, n - 1] = A[n - 1, 0] = -1
    return A.tocsr()


def torus(p: int, q: int) -> tuple[Any, np.ndarray]:
    """Its Laplacian, and the eigenvalues: most of them four or eight times."""
    A = sp.kron(ring(p), sp.eye_array(q)) + sp.kron(sp.eye_array(p), ring(q))
    ends = [2 - 2 * np.cos(2 * np.pi * np.arange(m) / m) for m in (p, q)]
    return sp.csr_array(A), np.sort(np.add.outer(*ends).ravel())


def planted(n: int, values: np.ndarray, seed: int = 0, complex_: bool = False) -> np.ndarray:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, n)) + (1j * rng.standard_normal((n, n)) if complex_ else 0)
    Q = np.linalg.qr(X)[0]
    A = (Q * values) @ Q.conj().T
    return (A + A.conj().T) / 2


def expected(values: np.ndarray, k: int, which: str, shift: float = 0.0) -> np.ndarray:
    key = {
        "largest": -values,
        "smallest": values,
        "magnitude": -np.abs(values),
        "nearest": np.abs(values - shift),
    }[which]
    return values[np.argsort(key, kind="stable")[:k]]


def check(found: Eigenpairs, A: Any, values: np.ndarray, k: int, which: str, tol: float) -> None:
    """The laws: values in their intervals, orthonormal vectors, residuals no larger than said."""
    right = np.asarray(found.right)
    lam = np.asarray(found.values).astype(float)
    truth = expected(values, k, which)
    known = found.certificate
    assert known is not None
    np.testing.assert_allclose(np.sort(lam), np.sort(truth), atol=tol)
    low, high = np.sort(known["values"].low), np.sort(known["values"].high)
    assert (low <= np.sort(truth) + 1e-14).all()
    assert (np.sort(truth) <= high + 1e-14).all()
    eps = np.finfo(right.dtype).eps
    np.testing.assert_allclose(right.conj().T @ right, np.eye(k), atol=200 * eps)
    rest = np.linalg.norm(A @ right - right * lam, axis=0)
    assert (rest <= known["residuals"].high + 100 * eps * np.abs(values).max()).all()


@pytest.mark.parametrize("which", ["largest", "smallest", "magnitude"])
@pytest.mark.parametrize("kind", ["dense", "float32", "complex", "sparse", "operator", "blocks"])
def test_signed_values_of_every_kind(kind: str, which: str) -> None:
    """Two copies of the ends, both signs."""
    n, k = 150, 7
    values = np.r_[5.0, 5.0, -4.5, -4.5, 3.0, -2.0, 1.5, 1.5, np.linspace(-1, 1, n - 8)]
    A = planted(n, values, complex_=kind == "complex")
    given: Any = A
    if kind == "float32":
        given = A.astype(np.float32)
    elif kind == "sparse":
        given = sp.csr_array(A)
    elif kind == "operator":
        given = LinearOperator((n, n), matvec=lambda x: A @ x, dtype=float)  # no rmatvec
    elif kind == "blocks":
        given = [A[:40], A[40:]]
    found = eigh(given, k, which=which)
    check(found, A, values, k, which, 1e-4 if kind == "float32" else 1e-8)
    assert found.certificate.met  # type: ignore[union-attr]
    assert found.right.dtype == (given.dtype if kind != "blocks" else float)


@pytest.mark.parametrize("which", ["largest", "smallest"])
@pytest.mark.parametrize("k", [5, 8])
def test_a_torus_has_every_copy(which: str, k: int) -> None:
    """Groups of four and eight; k cuts one of them."""
    A, values = torus(36, 40)
    found = eigh(A, k, which=which, strict=True)
    check(found, A, values, k, which, 1e-8)
    assert found.settings["completeness"] == "inertia"


def test_inside_of_the_spectrum() -> None:
    A, values = torus(36, 40)
    for shift in (3.1, 2.0):  # 2 is an eigenvalue
        found = eigh(A, 6, which="nearest", shift=shift)
        mine = np.sort(np.abs(np.asarray(found.values) - shift))
        np.testing.assert_allclose(mine, np.sort(np.abs(values - shift))[:6], atol=1e-9)
        assert found.certificate.met  # type: ignore[union-attr]


def test_an_operator_is_proven_by_random_columns_or_says_so() -> None:
    """The upper end of A = diag(…) with a value three times; no entries to count with."""
    d = np.r_[3.0, 3.0, 3.0, 2.0, np.linspace(-1, 1, 1996)]
    A = LinearOperator((2000, 2000), matvec=lambda x: d * x.ravel(), dtype=float)
    found = eigh(A, 4)
    np.testing.assert_allclose(found.values, [3, 3, 3, 2], atol=1e-8)
    assert found.certificate.met  # type: ignore[union-attr]
    assert 0 < found.certificate.failure <= 1e-6  # type: ignore[union-attr]


def test_many_copies_are_found_by_a_count() -> None:
    """16 components of a graph: zero 16 times; blocks hold 8 columns."""
    A = sp.block_diag([ring(70)] * 16, format="csr")
    found = eigh(A, 12, which="smallest", solver="inverse")
    assert np.abs(found.values).max() < 1e-10
    assert found.certificate.met  # type: ignore[union-attr]
    assert "rounding" in found.certificate.notes[0]  # type: ignore[union-attr]


def test_a_preconditioner_is_for_lobpcg() -> None:
    n = 400
    d = np.arange(1.0, n + 1) ** 2
    A = sp.diags_array(d, format="csr")
    found = eigh(A, 3, which="smallest", preconditioner=lambda X: X / d[:, None])
    np.testing.assert_allclose(found.values, [1, 4, 9], rtol=1e-6)
    assert found.settings["solver"] == "lobpcg"
    assert found.certificate.met  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="magnitude"):
        eigh(A, 3, which="magnitude", preconditioner=lambda X: X)


def test_files_dask_and_tensors(tmp_path: Path) -> None:
    n, values = 80, np.linspace(-3, 2, 80)
    A = planted(n, values)
    np.save(tmp_path / "A.npy", A)
    for given in (
        np.load(tmp_path / "A.npy", mmap_mode="r"),
        da.from_array(A, chunks=(30, 40)),
        torch.from_numpy(A),
        iter([A[:50], A[50:]]),
        A.tolist(),
    ):
        found = eigh(given, 3, which="smallest")
        check(found, A, values, 3, "smallest", 1e-10)
    assert isinstance(eigh(torch.from_numpy(A), 2).right, torch.Tensor)


@pytest.mark.parametrize("factor", [1e-200, 1e150])
def test_units_do_not_matter(factor: float) -> None:
    A = planted(40, np.linspace(-1, 2, 40))
    found = eigh(A * factor, 3)
    np.testing.assert_allclose(found.values / factor, eigh(A, 3).values, rtol=1e-12)


def test_what_makes_no_sense_is_refused() -> None:
    A = planted(30, np.arange(30.0))
    skewed = A.copy()
    skewed[0, 5] += 1e-3
    for wrong in (skewed, sp.csr_array(skewed), [skewed[:10], skewed[10:]]):
        with pytest.raises(ValueError, match=r"not Hermitian.*symmetrise"):
            eigh(wrong, 2)
    operator = LinearOperator((30, 30), matvec=lambda x: skewed @ x, dtype=float)
    with pytest.raises(ValueError, match="not Hermitian"):
        eigh(operator, 2)
    with pytest.raises(ValueError, match="square"):
        eigh(A[:, :20], 2)
    with pytest.raises(ValueError, match="at most n = 30"):
        eigh(A, 31)
    with pytest.raises(ValueError, match="shift="):
        eigh(A, 2, which="nearest")
    with pytest.raises(ValueError, match="which must be"):
        eigh(A, 2, which="LA")


def test_not_established_is_said() -> None:
    """A random graph is not factorized; a crowded end is out of reach of a few columns."""
    rng = np.random.default_rng(1)
    n = 9000
    i, j = rng.integers(n, size=(2, 4 * n))
    A = sp.coo_array((np.ones(4 * n), (i, j)), shape=(n, n)).tocsr()
    A = sp.csr_array(A + A.T)
    assert not factorable(A)
    found = eigh(A, 1)
    assert found.certificate.met  # type: ignore[union-attr]
    assert found.settings["completeness"] == "random columns"
    crowded = LinearOperator((n, n), matvec=lambda x: x.ravel(), dtype=float)
    again = eigh(crowded, 2)
    np.testing.assert_allclose(again.values, 1.0)


def test_results_are_saved_with_their_certificate(tmp_path: Path) -> None:
    found = eigh(planted(20, np.arange(20.0)), 3, which="magnitude")
    again = Eigenpairs.load(found.save(tmp_path / "pairs.safetensors"))
    assert str(again.certificate) == str(found.certificate)
    assert again.order == "magnitude"
    assert module_eigh is schmidt.eigh


@pytest.mark.parametrize("complex_", [False, True])
def test_counts_are_right(complex_: bool) -> None:
    values = np.r_[-2.0, -2.0, 0.0, 1.0, 1.0, 3.0]
    A = planted(6, values, complex_=complex_)
    for matrix in (A, sp.csc_array(A)):
        for cut, number in ((-3, 0), (-1, 2), (0.5, 3), (2, 5), (4, 6)):
            found = count_below(matrix, cut)
            assert found is None or (found[0] == number and found[1] < 1e-10)


def test_upper_bounds_hold_and_are_sharp(rng: np.random.Generator) -> None:
    """Any V, and β the truth behind it."""
    for seed in range(20):
        n, d, k = 30, 8, 4
        A = planted(n, np.r_[[4.0, 4.0, 3.9, 2.0], np.linspace(-3, 1, n - 4)], seed)
        V = np.linalg.qr(A @ (A @ np.random.default_rng(seed).standard_normal((n, d))))[0]
        theta, x = np.linalg.eigh(V.T @ A @ V)
        order = np.argsort(-theta)
        theta, x = theta[order], x[:, order]
        rest = np.eye(n) - V @ V.T
        y = rest @ A @ V @ x
        beta = np.linalg.eigvalsh(rest @ A @ rest)[-1]
        highs = upper_bounds(theta, y, beta, k)
        truth = np.linalg.eigvalsh(A)[::-1]
        assert (highs >= truth[: k + 1] - 1e-12).all()
