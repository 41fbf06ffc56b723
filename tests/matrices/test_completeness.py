"""Nothing is missed: repeated values, every solver, tiny shapes, streams, rounding."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from scipy.sparse.linalg import aslinearoperator

from schmidt.matrices import NotConvergedError, ToleranceError, svd
from schmidt.matrices.completeness import Deflation
from schmidt.matrices.inertia import count_above

from .conftest import Planted


def ring(n: int) -> scipy.sparse.csr_array:
    ones = np.ones(n - 1)
    return scipy.sparse.diags_array(
        [ones, ones, [1.0], [1.0]], offsets=[1, -1, n - 1, 1 - n], shape=(n, n)
    ).tocsr()


def right(found: Any, exact: np.ndarray) -> None:
    """The values, and what the certificate says of them."""
    k = found.rank
    np.testing.assert_allclose(np.asarray(found.values), exact[:k], rtol=2e-6)
    c = found.certificate
    assert c.met
    assert c.failure <= 1e-6
    slack = 1e-13 * exact[0]
    assert (c["values"].low <= exact[:k] + slack).all()
    assert (exact[:k] <= c["values"].high + slack).all()
    assert c["missed"].high <= 0.1 * exact[k - 1]
    if k < len(exact):
        assert c["spectral"].low - slack <= exact[k] <= c["spectral"].high + slack


class TestRepeatedValues:
    exact = np.r_[np.ones(60), np.full(340, 0.5)]

    @pytest.mark.parametrize("complex_", [False, True])
    @pytest.mark.parametrize("kind", ["dense", "sparse", "operator", "dask", "wide"])
    def test_more_copies_than_a_block_holds(
        self, kind: str, complex_: bool, planted: Planted
    ) -> None:
        A = planted(450, 400, self.exact, complex_=complex_)
        given, solver = A, "krylov"
        if kind == "sparse":
            given = scipy.sparse.csr_array(A)
        elif kind == "operator":
            given = aslinearoperator(A)
        elif kind == "wide":
            given = A.conj().T
        elif kind == "dask":
            given, solver = pytest.importorskip("dask.array").from_array(A, chunks=150), "auto"
        right(svd(given, rank=50, solver=solver, strict=True), self.exact)

    @pytest.mark.parametrize("solver", ["auto", "krylov", "propack", "arpack"])
    def test_a_ring(self, solver: str) -> None:
        n = 500
        exact = np.sort(np.abs(2 * np.cos(2 * np.pi * np.arange(n) / n)))[::-1]
        right(svd(ring(n), rank=20, solver=solver, strict=True), exact)

    def test_a_diagonal(self, rng: np.random.Generator) -> None:
        d = np.ones(2000)
        d[rng.permutation(2000)[:120]] = 3
        right(svd(scipy.sparse.diags_array(d).tocsr(), rank=10, strict=True), np.sort(d)[::-1])

    def test_single_precision(self, planted: Planted) -> None:
        A = planted(450, 400, self.exact).astype(np.float32)
        found = svd(A, rank=50, solver="krylov", strict=True)
        np.testing.assert_allclose(found.values, 1, rtol=1e-4)

    def test_rules_mean_the_smallest_rank(self, planted: Planted) -> None:
        A = planted(450, 400, self.exact)
        for rule in ({"tol": 0.6, "norm": "spectral"}, {"tol": 0.6, "norm": "sigma"}):
            found = svd(A, solver="krylov", strict=True, **rule)  # type: ignore[arg-type]
            assert found.rank == 60


@pytest.mark.parametrize("solver", ["lapack", "krylov", "propack", "arpack", "auto"])
def test_every_shape_and_rank(solver: str, rng: np.random.Generator) -> None:
    """1 × 1 to 12 × 12, every rank: the right answer, or none. LOBPCG is for larger, symmetric
    matrices and refuses these."""
    for m in range(1, 13):
        for n in range(1, 13):
            A = rng.standard_normal((m, n))
            exact = np.linalg.svd(A, compute_uv=False)
            for k in range(1, min(m, n) + 1):
                try:
                    found = svd(scipy.sparse.csr_array(A), rank=k, solver=solver)
                except NotConvergedError:
                    assert solver in ("propack", "arpack")
                    continue
                right(found, exact)
                E = np.linalg.norm(A - found.reconstruct(), 2)
                assert found.certificate["spectral"].high * (1 + 1e-12) >= E


@pytest.mark.parametrize("solver", ["propack", "arpack", "krylov"])
@pytest.mark.parametrize("A", [np.zeros((9, 7)), np.eye(60), np.diag([1.0, 0, 0, 0, 0, 0])])
def test_breakdown_says_nothing_on_the_terminal(
    A: np.ndarray, solver: str, capfd: pytest.CaptureFixture[str]
) -> None:
    try:
        found = svd(scipy.sparse.csr_array(A), rank=2, solver=solver)
        np.testing.assert_allclose(found.values, np.sort(A.diagonal())[::-1][:2], atol=1e-12)
    except NotConvergedError:
        assert solver != "krylov"
    said = capfd.readouterr()
    assert not said.out
    assert not said.err


class TestRounding:
    def test_tall_matrices_in_single_precision(self, rng: np.random.Generator) -> None:
        A = rng.random((300_000, 6), dtype=np.float32)
        found = svd(A, rank=2)
        exact = np.sqrt(np.linalg.eigvalsh(A.astype(float).T @ A.astype(float)))[::-1]
        right(found, exact)
        left = found.left.astype(float)
        np.testing.assert_allclose(left.T @ left, np.eye(2), atol=1e-6)
        constant = svd(np.ones((300_000, 3), np.float32), rank=2)
        assert constant.values[1] < 1e-6 * constant.values[0]

    def test_below_rounding_nothing_is_met(self, rng: np.random.Generator) -> None:
        A = rng.standard_normal((300, 300)).astype(np.float32)
        assert not svd(A, tol=1e-9).certificate.met

    @pytest.mark.parametrize("kind", [np.float64, np.float32])
    def test_all_of_the_energy_of_a_low_rank(self, kind: Any, rng: np.random.Generator) -> None:
        A = (rng.standard_normal((500, 3)) @ rng.standard_normal((3, 450))).astype(kind)
        for given in (A, scipy.sparse.csr_array(A), A[:90]):
            assert svd(given, energy=1.0).rank == 3


class TestStreams:
    def blocks(self, rng: np.random.Generator, n: int = 20) -> list[np.ndarray]:
        return list(np.array_split(rng.standard_normal((300, n)), 3))

    def test_blocks_that_change_between_passes_are_refused(self, rng: np.random.Generator) -> None:
        parts = self.blocks(rng)

        def shuffled() -> Iterator[np.ndarray]:
            yield from (parts[i] for i in rng.permutation(3))
            parts[0] = parts[0][::-1].copy()

        with pytest.raises(ValueError, match="not what it was in the first pass"):
            svd(shuffled, tol=0.1, strict=True)

    def test_empty_blocks_and_blocks_of_another_scale(self, rng: np.random.Generator) -> None:
        first, second, third = self.blocks(rng)
        parts = [first[:0], first * 1e-140, second, third[:0], third]
        exact = np.linalg.svd(np.concatenate(parts), compute_uv=False)
        for given in (parts, iter(parts), iter([second * 1e-140, first, third])):
            found = svd(given, rank=2)
            assert found.left.shape == (300, 2)
            if isinstance(given, list):
                np.testing.assert_allclose(found.values, exact[:2], rtol=1e-10)
        with pytest.raises(ValueError, match="no blocks with rows"):
            svd([first[:0]], rank=1)

    def test_wide_blocks_iterate_until_they_are_accurate(
        self, planted: Planted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from schmidt.matrices.solvers import blocks

        monkeypatch.setattr(blocks, "WIDE", 10)
        exact = np.arange(1, 451) ** -0.3
        A = planted(500, 450, exact)
        right(svd(list(np.array_split(A, 4)), rank=8, strict=True), exact)
        once = svd(iter(np.array_split(A, 4)), rank=8)
        assert (exact[:8] <= once.certificate["values"].high).all()
        assert not once.certificate.met
        assert "could not be established" in " ".join(once.certificate.notes)

    def test_passes_over_wide_blocks_are_bounded(
        self, planted: Planted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What they have not settled is not met, and said."""
        from schmidt.matrices.solvers import blocks, krylov

        monkeypatch.setattr(blocks, "WIDE", 10)
        monkeypatch.setattr(krylov, "PASSES", 4)
        exact, passes = np.linspace(1, 0.8, 410), 0
        parts = np.array_split(planted(500, 410, exact), 4)

        def read() -> Iterator[np.ndarray]:
            nonlocal passes
            passes += 1
            return iter(parts)

        found = svd(read, rank=8)
        assert passes < 40  # those of the solver, and those of the proof
        c = found.certificate
        assert not c.met
        assert "the solver stopped at a Krylov space of dimension" in c.notes[0]
        assert (c["values"].low <= exact[:8]).all()
        assert (exact[:8] <= c["values"].high).all()
        with pytest.raises(ToleranceError):
            svd(read, rank=8, strict=True)


def test_spaces_of_large_matrices_are_bounded_by_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from schmidt.matrices.solvers import choice

    monkeypatch.setattr(choice, "ENTRIES", 0)
    monkeypatch.setattr(choice, "MEMORY", 0)
    with pytest.raises(NotConvergedError, match="dimension 4"):
        svd(ring(1200), rank=2)


class TestAccuracy:
    """What is asked for is proven; what is aimed at is called so."""

    flat = np.linspace(1, 0.5, 450)

    def test_asked_for(self, planted: Planted) -> None:
        A = planted(500, 450, self.flat)
        found = svd(A, rank=6, solver="krylov", accuracy=1e-7, strict=True)
        c = found.certificate
        assert (c["values"].high <= found.values * (1 + 1e-7) + 1e-11).all()
        assert (self.flat[:6] <= c["values"].high).all()
        assert c.asked == "rank 6, σ to 1e-07"
        assert not c.notes

    def test_spaces_that_become_everything(self, rng: np.random.Generator) -> None:
        for n in (13, 17, 30):
            A = rng.standard_normal((40, n)) + 1j * rng.standard_normal((40, n))
            found = svd(A, rank=3, solver="krylov", accuracy=1e-9, strict=True)
            exact = np.linalg.svd(A, compute_uv=False)[:3]
            np.testing.assert_allclose(found.values, exact, rtol=1e-9)

    def test_aimed_at(self, planted: Planted) -> None:
        A = planted(500, 450, self.flat)
        c = svd(A, rank=6, solver="krylov").certificate
        assert c.met
        assert "aimed at by estimates" in c.notes[0]
        assert c["missed"].high > 1e-5

    def test_what_is_not_proven_is_not_met(
        self, planted: Planted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        module = importlib.import_module("schmidt.matrices.svd")
        A = planted(450, 400, TestRepeatedValues.exact)
        monkeypatch.setattr(module, "SHARPER", 0)
        with pytest.raises(ToleranceError, match="accuracy 1e-07 could not be established"):
            svd(A, rank=6, solver="propack", accuracy=1e-7, strict=True)


@pytest.mark.parametrize("index", [100, -1])
@pytest.mark.parametrize("kind", ["csr", "csc", "coo"])
def test_indices_that_leave_a_sparse_matrix_are_refused(kind: str, index: int) -> None:
    A = scipy.sparse.eye_array(5, format=kind)
    if kind == "coo":
        A.coords[0][2] = index
    else:
        A.indices[2] = index
    with pytest.raises(ValueError, match="damaged"):
        svd(A, rank=2)


@pytest.mark.parametrize("complex_", [False, True])
def test_counting_by_inertia(complex_: bool, rng: np.random.Generator) -> None:
    A = scipy.sparse.random_array((60, 40), density=0.1, rng=rng, format="csr")
    A = A * (1 + 1j) if complex_ else A
    exact = np.linalg.svd(A.toarray(), compute_uv=False)
    for cut in (0.1, 0.7, 1.3):
        counted = count_above(A, cut)
        if counted is not None:
            number, error = counted
            assert (exact > cut + error).sum() <= number <= (exact > cut - error).sum()
    assert count_above(ring(400), 1.9) == pytest.approx(
        (int((np.abs(2 * np.cos(2 * np.pi * np.arange(400) / 400)) > 1.9).sum()), 0), abs=1e-10
    )


@pytest.mark.parametrize("seed", range(20))
def test_brackets_hold_for_any_norm_of_the_rest(seed: int) -> None:
    """Equation (1) of the module, with the true norm of the complement."""
    rng = np.random.default_rng(seed)
    n, d, k = 12, int(rng.integers(3, 8)), 3
    X = rng.standard_normal((n, n)) * rng.choice([0.05, 1.0], (n, 1))
    H = X.T @ X
    G, C, B = H[:d, :d], H[d:, :d], H[d:, d:]
    lam, x = np.linalg.eigh(G)
    way = Deflation(None, lam[::-1], (C @ x)[:, ::-1], 0.0)  # type: ignore[arg-type]
    top = float(np.linalg.eigvalsh(B)[-1])
    exact = np.sqrt(np.linalg.eigvalsh(H)[::-1])
    highs = way.highs(top, k)
    assert (exact[:k] <= highs[:k] * (1 + 1e-9)).all()
    V = np.zeros((n, k))
    V[:d] = x[:, ::-1][:, :k]
    P = np.eye(n) - V @ V.T
    assert np.sqrt(np.linalg.norm(P @ H @ P, 2)) <= highs[k] * (1 + 1e-9)
    goal = np.square(highs[:k] * 1.01)
    assert way.allowed(goal, None) >= top * (1 - 1e-9)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.complex128])
@pytest.mark.parametrize("solver", ["lapack", "krylov", "once"])
def test_truncated_certificates_bracket_the_true_errors(
    solver: str, kind: Any, planted: Planted
) -> None:
    A = planted(150, 120, np.arange(1, 121) ** -0.7, complex_=kind is np.complex128).astype(kind)
    given = iter(np.array_split(A, 3)) if solver == "once" else A
    whole = svd(given, rank=20, solver="auto" if solver == "once" else solver)
    wide = A.astype(complex if kind is np.complex128 else float)
    exact = np.linalg.svd(wide, compute_uv=False)
    for k in (1, 7, 19, 20):
        part = whole.truncate(k)
        c = part.certificate
        assert c is not None
        E = wide - (part.left.astype(wide.dtype) * part.values.astype(float)) @ (
            part.right.astype(wide.dtype).conj().T
        )
        slack = 1e-13
        assert c["spectral"].low - slack <= np.linalg.norm(E, 2) <= c["spectral"].high + slack
        assert c["frobenius"].low - slack <= np.linalg.norm(E) <= c["frobenius"].high + slack
        assert (exact[:k] <= c["values"].high + slack).all()
        assert (c["values"].low - slack <= exact[:k]).all()
        share = 1 - (np.linalg.norm(E) / np.linalg.norm(wide)) ** 2
        assert c["energy"].low - 1e-12 <= share <= c["energy"].high + 1e-12
        assert c["missed"].high >= (exact[:k] - part.values).max() - slack
        assert c.met == whole.certificate.met
