"""Weights of rows and columns: one law for every kind of matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy.sparse.linalg import LinearOperator

from schmidt import svd
from schmidt.matrices import kinds

M, N, K = 70, 24, 4


def problem(complex_: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    A = rng.standard_normal((M, N)) * 0.7 ** np.arange(N) + 3.0
    if complex_:
        A = A + 1j * rng.standard_normal((M, N)) * 0.7 ** np.arange(N)
    A = np.where(rng.random((M, N)) < 0.4, A, 0.0)
    return A, rng.uniform(0.2, 3.0, M), np.cos(np.linspace(-1.4, 1.4, N))


def given(kind: str, A: np.ndarray, folder: Path) -> Any:
    if kind in ("dense", "complex"):
        return A
    if kind == "sparse":
        return sp.csr_array(A)
    if kind == "tensor":
        return torch.from_numpy(A)
    if kind == "blocks":
        return [A[:20], A[20:20], A[20:]]
    if kind == "sparse blocks":
        return [sp.csr_array(A[:33]), sp.csr_array(A[33:])]
    if kind == "function":
        return lambda: (A[i : i + 16] for i in range(0, M, 16))
    if kind == "iterator":
        return iter([A[:30], A[30:]])
    if kind == "dask":
        return da.from_array(A, chunks=(25, 10))
    if kind == "operator":
        return LinearOperator(A.shape, matvec=lambda x: A @ x, rmatvec=lambda y: A.T @ y)
    np.save(folder / "A.npy", A)
    return np.load(folder / "A.npy", mmap_mode="r")


KINDS = ("dense", "complex", "sparse", "tensor", "blocks", "sparse blocks", "function", "iterator")
KINDS += ("dask", "operator", "file")


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_weighted_norms_are_those_of_the_scaled_matrix(
    kind: str, center: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """U S Vᴴ in data units, orthonormal with weights, and the certificate in the weighted norm."""
    if kind == "iterator" and center:
        pytest.skip("refused: one pass")
    monkeypatch.setattr(kinds, "READ", 0)
    A, w, v = problem(kind == "complex")
    scale = center and kind != "operator"
    found = svd(
        given(kind, A, tmp_path), rank=K, center=center, scale=scale, row_weights=w,
        column_weights=v,
    )  # fmt: skip
    mean = (w @ A) / w.sum() if center else np.zeros(N)
    spread = np.sqrt((w @ np.abs(A - mean) ** 2) / w.sum()) if scale else np.ones(N)
    C = (A - mean) / spread
    B = np.sqrt(w)[:, None] * C * np.sqrt(v)
    _, s, _ = np.linalg.svd(B)
    U, values, V = (np.asarray(x) for x in (found.left, found.values, found.right))
    np.testing.assert_allclose(values, s[:K], rtol=1e-6)
    np.testing.assert_allclose(U.conj().T @ (w[:, None] * U), np.eye(K), atol=1e-6)
    np.testing.assert_allclose(V.conj().T @ (v[:, None] * V), np.eye(K), atol=1e-8)
    rest = C - (U * values) @ V.conj().T
    error = np.sqrt(w @ np.abs(rest) ** 2 @ v)
    known = found.certificate
    assert known is not None
    assert error == pytest.approx(float(np.linalg.norm(s[K:])), rel=1e-6)
    assert error in known["frobenius"]
    assert s[K] <= known["spectral"].high * (1 + 1e-12)
    assert any("weighted" in note for note in known.notes)


def test_integer_weights_are_repeated_rows() -> None:
    A, _, _ = problem()
    w = np.arange(M) % 3 + 1
    once = svd(A, rank=3, center=True, scale=True, row_weights=w)
    again = svd(np.repeat(A, w, axis=0), rank=3, center=True, scale=True)
    np.testing.assert_allclose(once.values, again.values, rtol=1e-10)
    np.testing.assert_allclose(once.right, again.right, atol=1e-8)


@pytest.mark.parametrize("bad", [np.zeros(M), -np.ones(M), np.ones(M - 1), np.full(M, np.nan)])
def test_weights_that_make_no_sense_are_refused(bad: np.ndarray) -> None:
    A, _, _ = problem()
    for matrix in (A, sp.csr_array(A), [A], da.from_array(A, chunks=(30, 24)), iter([A])):
        with pytest.raises(ValueError, match="row_weights"):
            svd(matrix, rank=2, row_weights=bad)
    with pytest.raises(ValueError, match="column_weights"):
        svd(A, rank=2, column_weights=np.ones(N + 1))


def test_weights_stay_lazy_and_sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sparse matrix of 10¹⁰ entries is never made dense; a dask left side is not computed."""
    A = sp.random_array((100_000, 3_000), density=1e-5, rng=np.random.default_rng(0)).tocsr()
    found = svd(
        A, rank=2, center=True, row_weights=np.full(100_000, 2.0),
        column_weights=np.linspace(1, 2, 3_000),
    )  # fmt: skip
    assert found.left.shape == (100_000, 2)
    B, w, v = problem()
    lazy = svd(da.from_array(B, chunks=(20, 24)), rank=2, row_weights=w, column_weights=v)
    assert isinstance(lazy.left, da.Array)


def test_float32_stays_float32() -> None:
    A, w, v = problem()
    found = svd(A.astype(np.float32), rank=2, center=True, row_weights=w, column_weights=v)
    assert found.left.dtype == found.right.dtype == found.values.dtype == np.float32
