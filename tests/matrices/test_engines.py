"""Engines of other people – LOBPCG, dask – and matrices in blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from scipy.sparse.linalg import aslinearoperator, splu

from schmidt.matrices import NotConvergedError, svd
from schmidt.matrices.solvers import blocks as blocks_module
from schmidt.matrices.solvers.incremental import Incremental
from schmidt.matrices.sources.source import Dense, Sparse

from .conftest import Planted, values


class TestLobpcg:
    """The inverse Laplacian, with a preconditioner that is nearly it."""

    n = 400

    def operator(self) -> Any:
        laplacian = scipy.sparse.diags_array([-1.0, 2, -1], offsets=[-1, 0, 1], shape=(400, 400))
        factor = splu(laplacian.tocsc())
        return scipy.sparse.linalg.LinearOperator(
            (400, 400), matvec=factor.solve, rmatvec=factor.solve, matmat=factor.solve, dtype=float
        )

    def exact(self, k: int) -> np.ndarray:
        return 1 / (2 - 2 * np.cos(np.pi * np.arange(1, k + 1) / (self.n + 1)))

    @pytest.mark.parametrize("preconditioner", [None, lambda X: X, scipy.sparse.eye_array(400)])
    def test_finds_the_largest_eigenvalues(self, preconditioner: Any) -> None:
        found = svd(
            self.operator(), rank=4, solver="lobpcg", preconditioner=preconditioner, accuracy=1e-8
        )
        np.testing.assert_allclose(found.values, self.exact(4), rtol=1e-8)
        np.testing.assert_allclose(found.left, found.right, atol=1e-3)
        assert (
            found.certificate["spectral"].low
            <= self.exact(5)[4]
            <= found.certificate["spectral"].high
        )

    def test_a_preconditioner_means_lobpcg(self) -> None:
        found = svd(self.operator(), rank=2, preconditioner=lambda X: X)
        assert found.settings["solver"] == "lobpcg"
        with pytest.raises(ValueError, match="preconditioner is for lobpcg"):
            svd(self.operator(), rank=2, preconditioner=lambda X: X, solver="propack")

    def test_a_negative_eigenvalue_that_lobpcg_does_not_look_for_is_found(self) -> None:
        A = np.diag(np.r_[-500.0, np.arange(1.0, 120)])
        found = svd(A, rank=2, solver="lobpcg", strict=True)
        np.testing.assert_allclose(found.values, [500, 119], rtol=1e-6)

    def test_refusals(self, rng: np.random.Generator) -> None:
        with pytest.raises(ValueError, match="symmetric operators: "):
            svd(rng.standard_normal((60, 60)), rank=2, solver="lobpcg")
        with pytest.raises(ValueError, match="symmetric operators, got shape"):
            svd(rng.standard_normal((60, 50)), rank=2, solver="lobpcg")
        with pytest.raises(ValueError, match="at most n/5"):
            svd(np.eye(20), rank=10, solver="lobpcg")


class TestDask:
    da = pytest.importorskip("dask.array")

    @pytest.mark.parametrize("complex_", [False, True])
    @pytest.mark.parametrize("chunks", [(100, 90), (300, 200), (50, 200), (300, 20)])
    def test_same_answer_and_signs_for_all_chunks(
        self, chunks: tuple[int, int], complex_: bool, planted: Planted
    ) -> None:
        exact = 0.7 ** np.arange(200)
        A = planted(300, 200, exact, complex_=complex_)
        found = svd(self.da.from_array(A, chunks=chunks), rank=4)
        reference = svd(A, rank=4)
        np.testing.assert_allclose(found.values, exact[:4], rtol=1e-6)
        np.testing.assert_allclose(found.right, reference.right, atol=1e-4)
        assert isinstance(found.left, self.da.Array)
        left = found.left.compute()
        np.testing.assert_allclose(left, reference.left, atol=1e-4)
        E = A - (left * found.values) @ found.right.conj().T
        c = found.certificate
        assert c["spectral"].low <= np.linalg.norm(E, 2) <= c["spectral"].high
        assert np.linalg.norm(E) == pytest.approx(c["frobenius"].high, rel=1e-6)

    def test_tolerance(self, planted: Planted) -> None:
        A = planted(300, 200, values(200))
        found = svd(self.da.from_array(A, chunks=(100, 100)), tol=0.2)
        assert found.rank == svd(A, tol=0.2).rank
        assert found.certificate.met

    def test_a_flat_spectrum(self, planted: Planted) -> None:
        exact = np.linspace(1, 0.99, 200)
        found = svd(self.da.from_array(planted(300, 200, exact), chunks=100), rank=3)
        np.testing.assert_allclose(found.values, exact[:3], rtol=1e-6)

    def test_values_below_the_reach_of_the_gram_matrix_are_refused(self, planted: Planted) -> None:
        A = self.da.from_array(planted(300, 200, 10.0 ** -np.arange(200)), chunks=100)
        with pytest.raises(NotConvergedError, match="residuals up to"):
            svd(A, rank=12)

    def test_unknown_chunks(self) -> None:
        a = self.da.ones((10, 3), chunks=(5, 3))
        with pytest.raises(ValueError, match="compute_chunk_sizes"):
            svd(a[a[:, 0] > 0], rank=1)


class TestBlocks:
    @pytest.mark.parametrize("kind", ["dense", "sparse"])
    @pytest.mark.parametrize("wide", [False, True])
    def test_two_passes_are_enough(
        self, wide: bool, kind: str, planted: Planted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(blocks_module, "WIDE", 10 if wide else 2048)
        A = planted(400, 150, 0.9 ** np.arange(150))
        passes = []

        def blocks() -> Any:
            passes.append(0)
            for part in np.array_split(A, 8):
                passes[-1] += 1
                yield scipy.sparse.csr_array(part) if kind == "sparse" else part

        found = svd(blocks, rank=10)
        assert [count for count in passes if count > 1] == [8, 8]
        np.testing.assert_allclose(found.values, 0.9 ** np.arange(10), rtol=1e-5)
        E = A - found.reconstruct()
        assert np.linalg.norm(E) == pytest.approx(found.certificate["frobenius"].high, rel=1e-6)
        assert np.linalg.norm(E, 2) <= found.certificate["spectral"].high
        assert found.certificate.failure == 0

    def test_one_pass_knows_its_error_exactly(self, planted: Planted) -> None:
        """What was dropped is orthogonal to what was kept, so errors add up in squares."""
        A = planted(500, 300, values(300, 0.5))
        for size in (3, 40, 200):
            found = svd((A[i : i + size] for i in range(0, 500, size)), rank=10)
            E = A - found.reconstruct()
            assert np.linalg.norm(E) == pytest.approx(
                found.certificate["frobenius"].high, rel=1e-10
            )
            best = np.linalg.norm(values(300, 0.5)[10:])
            assert best <= np.linalg.norm(E) < 1.02 * best

    def test_incremental_is_exact_where_nothing_is_dropped(self, planted: Planted) -> None:
        A = planted(90, 30, values(30))
        state = Incremental(30)
        for part in np.split(A, [1, 5, 40]):
            state.update(Dense(part))
        assert state.values is not None
        np.testing.assert_allclose(state.values, values(30), rtol=1e-10)

    def test_incremental_takes_sparse_batches_of_any_size(self, rng: np.random.Generator) -> None:
        A = scipy.sparse.random_array((300, 900), density=0.02, rng=rng, format="csr")
        state = Incremental(40)
        for rows in (slice(0, 1), slice(1, 3), slice(3, 250), slice(250, 300)):
            state.update(Sparse(A[rows]))
        exact = np.linalg.svd(A.toarray(), compute_uv=False)
        assert state.values is not None
        s = state.values.numpy()
        assert s[0] == pytest.approx(exact[0], rel=0.05)
        assert (s <= exact[:40] * (1 + 1e-12)).all()


def test_operators_and_matrices_agree(planted: Planted) -> None:
    A = planted(500, 430, values(430))
    one, other = svd(aslinearoperator(A), rank=3), svd(scipy.sparse.csr_array(A), rank=3)
    np.testing.assert_allclose(one.left, other.left, atol=1e-12)
    assert "norm" not in one.certificate
    assert one.certificate["frobenius"].low < 0.9 * one.certificate["frobenius"].high
    assert "unknown for an operator" in " ".join(one.certificate.notes)
    with pytest.raises(ValueError, match="unknown for an operator"):
        svd(aslinearoperator(A), energy=0.9)
    assert svd(aslinearoperator(A), tol=0.3, norm="spectral").rank == 3
