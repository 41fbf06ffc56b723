"""Certificates where rounding is what matters: large norms, many updates, far units or means."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from scipy.sparse.linalg import LinearOperator, aslinearoperator

from schmidt.matrices import NotConvergedError, svd
from schmidt.matrices.kinds import source_of
from schmidt.matrices.sources.centred import column_means
from schmidt.matrices.sources.entries import squared_norm

from .conftest import Planted


def error_of(found: Any, A: Any) -> np.ndarray:
    """A − U S Vᴴ in double precision."""
    left, s, right = (np.asarray(part) for part in (found.left, found.values, found.right))
    wide = complex if np.iscomplexobj(A) else float
    return np.asarray(A, wide) - (left.astype(wide) * s) @ right.astype(wide).conj().T


class TestSquaredNorm:
    @pytest.mark.parametrize("kind", [np.float32, np.float64, np.complex128])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_is_accurate_to_a_few_roundings(
        self, order: Any, kind: Any, rng: np.random.Generator
    ) -> None:
        for A in (np.full((1500, 1500), 0.7), rng.random((1500, 1500))):
            given = np.asarray(A.astype(kind), order=order)
            exact = math.fsum(np.square(np.abs(given).astype(float)).ravel())
            assert squared_norm(torch.from_numpy(given)) == pytest.approx(exact, rel=2e-15)

    def test_an_error_near_rounding_is_what_the_certificate_says(
        self, rng: np.random.Generator
    ) -> None:
        A = np.full((1500, 1500), 0.3)
        A[:3, :50] += 5e-4 * rng.standard_normal((3, 50))
        found = svd(A, rank=1)
        assert found.certificate["frobenius"].low > 0.99 * found.certificate["frobenius"].high
        assert np.linalg.norm(error_of(found, A)) == pytest.approx(
            found.certificate["frobenius"].high, rel=1e-3
        )

    def test_a_tolerance_below_rounding_is_not_called_met(self, rng: np.random.Generator) -> None:
        A = rng.random((1200, 6)) @ rng.random((6, 700)) + 1e-8 * rng.standard_normal((1200, 700))
        found = svd(scipy.sparse.csr_array(A), tol=1e-9, solver="krylov")
        missing = float(np.linalg.norm(error_of(found, A)))
        assert missing <= found.certificate["frobenius"].high
        assert not found.certificate.met or missing <= 1e-9 * np.linalg.norm(A)

    def test_brackets_of_the_mass_are_not_inverted(self, rng: np.random.Generator) -> None:
        def gauss(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)

        for _ in range(3):
            mass = svd(gauss(500, 5) @ gauss(5, 450), rank=7).certificate["mass"]
            assert mass.low <= mass.high <= 1


def bounds_hold(found: Any, A: np.ndarray) -> None:
    E, c = error_of(found, A), found.certificate
    assert np.linalg.norm(E) <= 1.001 * c["frobenius"].high
    assert c["spectral"].low <= np.linalg.norm(E, 2) <= 1.001 * c["spectral"].high


class TestRowBlocks:
    def low_rank(self, m: int, n: int, noise: float, rng: np.random.Generator) -> np.ndarray:
        exact = rng.standard_normal((m, 5)) @ rng.standard_normal((5, n))
        return (exact + noise * rng.standard_normal((m, n))).astype(np.float32)

    @pytest.mark.parametrize(
        ("shape", "noise", "size"), [((1000, 150), 1e-3, 5), ((2000, 60), 1e-4, 2)]
    )
    def test_many_updates_in_single_precision_do_not_add_up(
        self, shape: tuple[int, int], noise: float, size: int, rng: np.random.Generator
    ) -> None:
        A = self.low_rank(*shape, noise, rng)

        def blocks() -> Any:
            return iter([A[i : i + size] for i in range(0, len(A), size)])

        for given in (blocks(), blocks):
            found = svd(given, rank=5)
            bounds_hold(found, A)
            best = np.linalg.norm(np.linalg.svd(A.astype(float), compute_uv=False)[5:])
            assert np.linalg.norm(error_of(found, A)) <= 1.05 * best
            assert found.left.dtype == found.right.dtype == np.float32
        close = svd(blocks(), tol=1e-5)
        missing = np.linalg.norm(error_of(close, A)) / np.linalg.norm(A.astype(float))
        assert not close.certificate.met or missing <= 1e-5

    @pytest.mark.parametrize("scale", [1e30, 1e-30])
    @pytest.mark.parametrize("once", [True, False])
    def test_far_from_one(self, once: bool, scale: float, rng: np.random.Generator) -> None:
        A = self.low_rank(400, 80, 0.1, rng)
        blocks = np.array_split(A * np.float32(scale), 4)
        found = svd(iter(blocks) if once else blocks, rank=5)
        plain = svd(A, rank=5)
        np.testing.assert_allclose(found.values / np.float32(scale), plain.values, rtol=1e-5)
        np.testing.assert_allclose(found.left, plain.left, atol=1e-3)
        assert np.isfinite(found.certificate["residuals"].high).all()
        assert found.certificate["frobenius"].high / scale == pytest.approx(
            plain.certificate["frobenius"].high, rel=1e-3
        )


class TestDask:
    da = pytest.importorskip("dask.array")

    @pytest.mark.parametrize(
        ("kind", "scale"),
        [
            (np.float32, 1e-30),
            (np.float32, 1e36),
            (np.float64, 1e-300),
            (np.float64, 1e-160),
            (np.float64, 1e300),
            (np.complex128, 1e-300),
        ],
    )
    def test_far_from_one(self, kind: Any, scale: float, planted: Planted) -> None:
        A = planted(120, 60, 0.6 ** np.arange(60), complex_=kind is np.complex128).astype(kind)
        plain = svd(A, rank=3)
        found = svd(self.da.from_array(A * A.dtype.type(scale), chunks=(50, 40)), rank=3)
        np.testing.assert_allclose(found.values / scale, plain.values, rtol=1e-5)
        np.testing.assert_allclose(found.left.compute(), plain.left, atol=1e-3)
        assert found.certificate["frobenius"].high / scale == pytest.approx(
            plain.certificate["frobenius"].high, rel=1e-3
        )
        assert found.certificate["norm"].high / scale == pytest.approx(
            plain.certificate["norm"].high, rel=1e-6
        )

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_not_finite(self, bad: float) -> None:
        A = np.ones((30, 20))
        A[25, 3] = bad
        with pytest.raises(ValueError, match="NaN or Inf"):
            svd(self.da.from_array(A, chunks=10), rank=2)

    @pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
    @pytest.mark.parametrize("own_mean", [True, False])
    def test_centred_at_every_scale(
        self, own_mean: bool, scale: float, rng: np.random.Generator
    ) -> None:
        A = rng.standard_normal((450, 6)) @ rng.standard_normal((6, 420)) + rng.random(420)
        mean = A.mean(0)
        plain = svd(A, rank=3, center=True)
        center = mean * scale if own_mean else True
        found = svd(self.da.from_array(A * scale, chunks=200), rank=3, center=center)
        np.testing.assert_allclose(found.values / scale, plain.values, rtol=1e-6)
        np.testing.assert_allclose(np.asarray(found.left), plain.left, atol=1e-4)
        rest = np.linalg.svd(A - mean, compute_uv=False)[3]
        assert (
            found.certificate["spectral"].low / scale
            <= rest
            <= found.certificate["spectral"].high / scale
        )

    def test_left_columns_that_are_zero_are_in_the_bounds(self, planted: Planted) -> None:
        A = planted(90, 60, 10.0 ** (-np.arange(60) / 4)).astype(np.float32)
        found = svd(self.da.from_array(A, chunks=30), rank=60)
        left = found.left.compute().astype(float)
        assert not left[:, -1].any()
        bounds_hold(found, A)
        right, s = found.right.astype(float), found.values.astype(float)
        there = np.linalg.norm(A.astype(float) @ right - left * s, axis=0)
        back = np.linalg.norm(A.astype(float).T @ left - right * s, axis=0)
        assert (np.hypot(there, back) <= found.certificate["residuals"].high).all()

    def test_a_tolerance_needs_no_more_triplets_than_satisfy_it(self) -> None:
        A = np.zeros((500, 60))
        np.fill_diagonal(A, 10.0 ** (-np.arange(60) / 4))
        found = svd(self.da.from_array(A, chunks=(100, 60)), tol=0.015)
        assert found.rank == svd(A, tol=0.015).rank
        assert found.certificate.met
        np.testing.assert_allclose(found.values, A.diagonal()[: found.rank], rtol=1e-6)
        with pytest.raises(NotConvergedError, match="residuals up to"):
            svd(self.da.from_array(A, chunks=(100, 60)), tol=1e-14)


class TestCentring:
    def test_large_means_are_in_the_bounds(self, rng: np.random.Generator) -> None:
        A = rng.standard_normal((500, 6)) @ rng.standard_normal((6, 420)) + 1e10
        A += 1e-6 * rng.standard_normal(A.shape)
        found = svd(scipy.sparse.csr_array(A), center=True, rank=6)
        bounds_hold(found, A - A.mean(0))

    @pytest.mark.parametrize("seed", range(3))
    def test_rounding_of_the_means_is_in_the_bounds(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        A = 1e3 + rng.standard_normal((600, 5)) @ rng.standard_normal((5, 420))
        exact = np.asarray(A, np.longdouble)
        bounds_hold(svd(A, center=True, rank=6), (exact - exact.mean(0)).astype(float))

    @pytest.mark.parametrize("kind", [np.float32, np.complex64])
    def test_means_of_many_rows_in_single_precision(
        self, kind: Any, rng: np.random.Generator
    ) -> None:
        A = (1 + rng.random((200_000, 3))).astype(kind)
        wide = complex if kind is np.complex64 else float
        if wide is complex:
            A *= 1 + 0.5j
        for given in (A, scipy.sparse.csr_array(A)):
            means = column_means(source_of(given)).numpy()
            np.testing.assert_allclose(means, A.astype(wide).mean(0), rtol=1e-12)

    def test_dense_data_are_rounded_once(self, rng: np.random.Generator) -> None:
        A = (1e4 + rng.standard_normal((300, 40))).astype(np.float32)
        exact = A.astype(float) - A.astype(float).mean(0)
        found = svd(A, center=True, rank=40)
        left, s, right = (part.astype(float) for part in (found.left, found.values, found.right))
        np.testing.assert_allclose((left * s) @ right.T, exact, atol=1e-5)


class TestOperators:
    @pytest.mark.parametrize("scale", [1e-300, 1e-100, 1e80, 1e300])
    def test_far_from_one(self, scale: float, rng: np.random.Generator) -> None:
        A = rng.standard_normal((430, 410))
        plain = svd(aslinearoperator(A), rank=5)
        found = svd(aslinearoperator(A * scale), rank=5)
        np.testing.assert_allclose(found.values / scale, plain.values, rtol=1e-10)
        assert found.certificate["spectral"].high / scale == pytest.approx(
            plain.certificate["spectral"].high, rel=1e-6
        )
        rest = np.linalg.svd(A, compute_uv=False)[5]
        assert (
            found.certificate["spectral"].low <= rest * scale <= found.certificate["spectral"].high
        )

    @pytest.mark.parametrize("scale", [1e-300, 1e300])
    def test_a_wrong_adjoint_is_found_at_every_scale(
        self, scale: float, rng: np.random.Generator
    ) -> None:
        A, B = scale * rng.standard_normal((2, 50, 50))
        wrong = LinearOperator((50, 50), matvec=A.dot, rmatvec=B.dot, dtype=float)
        with pytest.raises(ValueError, match="not the adjoint"):
            svd(wrong, rank=2)


@pytest.mark.parametrize("shape", [(500, 60), (900, 30)])
@pytest.mark.parametrize("seed", range(6))
def test_residuals_of_triplets_that_are_rounding(seed: int, shape: tuple[int, int]) -> None:
    """Two triplets more than the rank of A: their residuals are nothing but rounding."""
    rng = np.random.default_rng(seed)
    A = rng.random((shape[0], 8)) @ rng.random((8, shape[1]))
    found = svd(A, rank=10, solver="krylov")
    left, right, s, exact = (
        np.asarray(part, np.longdouble) for part in (found.left, found.right, found.values, A)
    )
    there = np.square(exact @ right - left * s).sum(0)
    back = np.square(exact.T @ left - right * s).sum(0)
    assert (np.sqrt(there + back) <= found.certificate["residuals"].high).all()
