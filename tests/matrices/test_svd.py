"""One call for every kind of matrix: numpy's answer, the least error, a certificate that holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from scipy.sparse.linalg import LinearOperator, aslinearoperator

import schmidt
from schmidt.matrices import ToleranceError, svd

from .conftest import Planted, values

KINDS: dict[str, Callable[[np.ndarray], Any]] = {
    "numpy": lambda a: a,
    "fortran": np.asfortranarray,
    "torch": torch.from_numpy,
    "csr": scipy.sparse.csr_array,
    "coo matrix": scipy.sparse.coo_matrix,
    "operator": aslinearoperator,
    "list of blocks": lambda a: np.array_split(a, 5),
    "function of blocks": lambda a: lambda: iter(np.array_split(a, 3)),
    "iterator of blocks": lambda a: iter(np.array_split(a, 4)),
}


def gap(found: Any, A: np.ndarray) -> float:
    left, s, right = (np.asarray(part) for part in (found.left, found.values, found.right))
    return float(np.linalg.norm(A - (left * s) @ right.conj().T))


def holds(found: Any, A: np.ndarray) -> None:
    """Every claim of the certificate."""
    c = found.certificate
    left, s, right = (np.asarray(part) for part in (found.left, found.values, found.right))
    E = A - (left * s) @ right.conj().T
    slack = 1e-13 * np.linalg.norm(A)
    norm = np.linalg.norm(E, 2)
    assert c["spectral"].low - slack <= norm <= c["spectral"].high + slack
    if c["frobenius"].low > 0.99 * c["frobenius"].high:
        assert np.linalg.norm(E) == pytest.approx(c["frobenius"].high, rel=2e-3)
    assert np.linalg.norm(E) <= c["frobenius"].high * 1.001 + slack
    exact = np.linalg.svd(A, compute_uv=False)
    assert (np.abs(exact[:, None] - s).min(0) <= c["residuals"].high + slack).all()
    measured = np.hypot(
        np.linalg.norm(A @ right - left * s, axis=0),
        np.linalg.norm(A.conj().T @ left - right * s, axis=0),
    )
    assert (measured <= c["residuals"].high * 1.01 + slack).all()
    mass = s.sum() / exact.sum() if exact[0] else 1
    assert c["mass"].low - 1e-9 <= mass <= c["mass"].high + 1e-9
    k = len(s)
    assert (c["values"].low <= exact[:k] + slack).all()
    assert (exact[:k] <= c["values"].high + slack).all()
    assert (exact[:k] - s).max() <= c["missed"].high + slack


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("shape", [(700, 450), (430, 620)])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_leading_triplets(
    kind: str, shape: tuple[int, int], complex_: bool, planted: Planted
) -> None:
    exact = 0.9 ** np.arange(min(shape))
    A = planted(*shape, exact, complex_=complex_)
    found = svd(KINDS[kind](A), rank=12)
    s = np.asarray(found.values)
    np.testing.assert_allclose(s, exact[:12], rtol=2e-6)
    assert gap(found, A) == pytest.approx(np.linalg.norm(exact[12:]), rel=1e-5)
    left, right = np.asarray(found.left), np.asarray(found.right)
    for side in (left, right):
        np.testing.assert_allclose(side.conj().T @ side, np.eye(12), atol=1e-12)
    holds(found, A)
    assert found.certificate.met
    assert isinstance(found.left, torch.Tensor) == (kind == "torch")


@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.int64, bool])
@pytest.mark.parametrize("solver", ["lapack", "krylov"])
def test_precision_is_kept(dtype: Any, solver: str, rng: np.random.Generator) -> None:
    A = (rng.standard_normal((60, 50)) * 3).round().clip(0).astype(dtype)
    found = svd(A, rank=3, solver=solver)
    wide = A.astype(np.result_type(dtype, np.float64))
    exact = np.linalg.svd(wide, compute_uv=False)
    tolerance = 1e-4 if A.dtype.itemsize <= 8 and A.dtype.kind in "fc" else 1e-6
    np.testing.assert_allclose(found.values, exact[:3], rtol=tolerance)
    assert found.left.dtype == (A.dtype if A.dtype.kind in "fc" else np.float64)
    assert found.values.dtype == np.abs(found.left[:1]).dtype
    holds(found, wide)


@pytest.mark.parametrize("solver", ["krylov", "propack", "arpack"])
def test_solvers_agree_and_signs_with_them(solver: str, planted: Planted) -> None:
    A = planted(300, 200, values(200))
    reference = svd(A, rank=6, solver="lapack")
    found = svd(scipy.sparse.csr_array(A), rank=6, solver=solver, accuracy=1e-12)
    np.testing.assert_allclose(found.left, reference.left, atol=1e-5)
    np.testing.assert_allclose(found.right, reference.right, atol=1e-5)
    assert found.settings["solver"] == solver


def test_signs_and_values_do_not_depend_on_blocks_or_seed(planted: Planted) -> None:
    A = planted(400, 120, 0.8 ** np.arange(120))
    one = svd([A], rank=5)
    for blocks in (np.array_split(A, 7), lambda: iter(np.array_split(A, 13)), [A[:1], A[1:]]):
        found = svd(blocks, rank=5, seed=3)
        np.testing.assert_allclose(found.left, one.left, atol=1e-9)
        np.testing.assert_allclose(found.right, one.right, atol=1e-9)
    again = [svd(A, rank=5, solver="krylov", seed=seed) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(again[0].left, again[1].left)
    np.testing.assert_allclose(again[0].left, again[2].left, atol=1e-3)


SPECTRA = {
    "flat": np.linspace(1, 0.97, 150),
    "algebraic": values(150, 0.5),
    "steep": 10.0 ** (-np.arange(150) / 3.0),
    "deficient": np.where(np.arange(150) < 7, values(150), 0),
    "clusters": np.repeat(2.0 ** -np.arange(15), 10),
    "zero": np.zeros(150),
}


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("solver", ["krylov", "auto"])
@pytest.mark.parametrize("name", SPECTRA)
def test_hard_spectra(name: str, solver: str, complex_: bool, planted: Planted) -> None:
    """Values to 1e-6 of themselves, or to rounding beside σ₁; orthonormal vectors all the same."""
    exact = SPECTRA[name]
    A = planted(260, 150, exact, complex_=complex_)
    found = svd(A, rank=20, solver=solver)
    np.testing.assert_allclose(found.values, exact[:20], rtol=2e-6, atol=1e-14)
    for side in (found.left, found.right):
        np.testing.assert_allclose(side.conj().T @ side, np.eye(20), atol=1e-12)
    holds(found, A)


@pytest.mark.parametrize(
    ("scale", "dtype"), [(1e-100, "f8"), (1e-30, "f8"), (1e100, "f8"), (1e-25, "f4"), (1e25, "f4")]
)
@pytest.mark.parametrize("kind", ["numpy", "csr"])
def test_units_do_not_matter(kind: str, scale: float, dtype: str, planted: Planted) -> None:
    A = planted(200, 160, values(160))
    solver = "krylov" if kind == "numpy" else "propack"
    plain, scaled = (
        svd(KINDS[kind](a.astype(dtype)), rank=5, solver=solver) for a in (A, A * scale)
    )
    rounding = 10 * np.finfo(dtype).eps
    np.testing.assert_allclose(scaled.values / scale, plain.values, rtol=3 * rounding)
    assert scaled.certificate["spectral"].high == pytest.approx(
        plain.certificate["spectral"].high * scale, rel=1e-2
    )


@pytest.mark.parametrize("size", [5e-324, 1e-310, 1e-200, 1e200, 1e300])
@pytest.mark.parametrize("kind", ["numpy", "csr", "list of blocks", "iterator of blocks"])
def test_squares_that_leave_float64(kind: str, size: float) -> None:
    A = np.full((4, 4), size)
    A[0, 0] *= 2
    found = svd(KINDS[kind](A), rank=1)
    exact = np.linalg.svd(A / size, compute_uv=False)
    assert found.values[0] / size == pytest.approx(exact[0], rel=1e-12 if size > 1e-300 else 0.1)
    c = found.certificate
    assert c["spectral"].high >= exact[1] * size * (1 - 1e-12) > 0
    assert c["frobenius"].high >= exact[1] * size * (1 - 1e-12)


@pytest.mark.parametrize("kind", ["numpy", "csr", "function of blocks"])
@pytest.mark.parametrize("tol", [0.5, 0.1, 0.02])
def test_the_smallest_rank_for_a_tolerance(kind: str, tol: float, planted: Planted) -> None:
    exact = values(420, 1.2)
    A = planted(500, 420, exact)
    tails = np.sqrt(np.append(np.cumsum(exact[::-1] ** 2)[::-1], 0))
    found = svd(KINDS[kind](A), tol=tol)
    assert found.rank == np.argmax(tails <= tol * tails[0])
    assert gap(found, A) <= tol * np.linalg.norm(A)
    assert found.certificate.met
    for norm in ("spectral", "sigma"):
        found = svd(KINDS[kind](A), tol=tol, norm=norm)
        assert found.rank == (exact > tol).sum()
        assert found.certificate.met
        holds(found, A)


def test_energy_and_mass(planted: Planted) -> None:
    exact = values(450)
    A = planted(500, 450, exact)
    found = svd(A, energy=0.95)
    assert found.rank == 1 + np.argmax(np.cumsum(exact**2) >= 0.95 * (exact**2).sum())
    assert found.certificate["energy"].low >= 0.95
    found = svd(A, mass=0.8)
    assert found.rank == 1 + np.argmax(np.cumsum(exact) >= 0.8 * exact.sum())
    assert found.certificate.met
    mass = svd(A, rank=30, solver="krylov").certificate["mass"]
    assert mass.low < exact[:30].sum() / exact.sum() < mass.high < 1


def test_every_rank_up_to_the_smaller_side(planted: Planted) -> None:
    A = planted(30, 20, values(20))
    found = svd(A, rank=20)
    np.testing.assert_allclose(found.reconstruct(), A, atol=1e-14)
    assert found.certificate["frobenius"].low < 0.9 * found.certificate["frobenius"].high
    assert "rounding" in " ".join(found.certificate.notes)
    assert found.certificate["frobenius"].high < 1e-12


def test_cancellation_is_said_and_measured_where_it_can_be(planted: Planted) -> None:
    """An error of 1e-9 ‖A‖ is lost in ‖A‖_F² − Σσ², not in A − A_k."""
    exact = np.r_[values(10), np.full(290, 1e-10)]
    A = planted(400, 300, exact)
    found = svd(A, rank=10, solver="krylov")
    assert found.certificate["frobenius"].low > 0.99 * found.certificate["frobenius"].high
    assert found.certificate["frobenius"].high == pytest.approx(
        np.linalg.norm(exact[10:]), rel=1e-3
    )
    sparse = svd(scipy.sparse.csr_array(A), rank=10, solver="propack")
    assert sparse.certificate["frobenius"].low < 0.9 * sparse.certificate["frobenius"].high
    assert "rounding" in " ".join(sparse.certificate.notes)
    assert np.linalg.norm(exact[10:]) <= sparse.certificate["frobenius"].high < 1e-7


def test_strict_raises_and_keeps_the_result(planted: Planted) -> None:
    """One pass over blocks keeps too few triplets to meet the tolerance."""
    A = planted(400, 300, np.linspace(1, 0.9, 300))
    loose = svd(iter(np.array_split(A, 5)), tol=0.1)
    assert not loose.certificate.met
    assert "not proven" in str(loose.certificate)
    with pytest.raises(ToleranceError, match=r"‖A − A_k‖_F is at most") as caught:
        svd(iter(np.array_split(A, 5)), tol=0.1, strict=True)
    assert caught.value.result.rank == loose.rank


def test_a_wrong_answer_is_found_out(planted: Planted) -> None:
    """Without its second triplet, an answer's certificate says how much is missing."""
    from schmidt.matrices.certify import certify, prove
    from schmidt.matrices.kinds import source_of
    from schmidt.matrices.solvers.choice import solve
    from schmidt.matrices.solvers.triplets import Triplets
    from schmidt.rank import rank_rule

    source = source_of(planted(300, 250, values(250)))
    right = solve(source, 5, "krylov")
    keep = torch.tensor([0, 2, 3, 4])
    wrong = Triplets(
        right.left[:, keep], right.values[keep], right.right[:, keep], right.residuals[keep]
    )
    rule = rank_rule(rank=4)
    c = certify(source, wrong, 4, rule, prove(source, wrong, 4, rule, seed=1))
    assert not c.met
    assert c["spectral"].high >= 0.5
    assert c["spectral"].low > 0.45


class TestCentring:
    """(A − 1 μᵀ) diag(scale)⁻¹ without forming it."""

    @pytest.mark.parametrize("scale", [False, True])
    @pytest.mark.parametrize("kind", ["numpy", "torch", "csr"])
    def test_is_that_of_the_centred_matrix(
        self, kind: str, scale: bool, rng: np.random.Generator
    ) -> None:
        A = scipy.sparse.random_array((500, 410), density=0.05, rng=rng).toarray()
        A[:, 3] = 0
        C = A - A.mean(0)
        deviation = np.where(A.std(0) > 0, A.std(0), 1)
        C = C / deviation if scale else C
        found = svd(KINDS[kind](A), rank=4, center=True, scale=scale)
        np.testing.assert_allclose(found.values, np.linalg.svd(C, compute_uv=False)[:4], rtol=1e-6)
        holds(found, C)

    def test_given_means_and_scales_of_an_operator(self, rng: np.random.Generator) -> None:
        A, mean, scale = rng.standard_normal((50, 30)), rng.standard_normal(30), rng.random(30) + 1
        found = svd(aslinearoperator(A), rank=3, center=mean, scale=scale)
        exact = np.linalg.svd((A - mean) / scale, compute_uv=False)
        np.testing.assert_allclose(found.values, exact[:3], rtol=1e-6)
        with pytest.raises(ValueError, match="scale=True needs the entries"):
            svd(aslinearoperator(A), rank=3, scale=True)

    def test_a_sparse_matrix_stays_sparse(self, rng: np.random.Generator) -> None:
        """10⁴ × 10⁴ with 10⁴ entries would take 800 MB."""
        A = scipy.sparse.random_array((10_000, 10_000), density=1e-4, rng=rng, format="csr")
        found = svd(A, rank=2, center=True, accuracy=1e-3)
        mean = np.asarray(A.mean(axis=0)).ravel()
        v = found.right[:, 0]
        image = A @ v - mean @ v
        np.testing.assert_allclose(np.linalg.norm(image), found.values[0], rtol=1e-10)

    def test_large_means_lose_no_digits_of_dense_matrices(self, rng: np.random.Generator) -> None:
        A = rng.standard_normal((450, 420)) + 1e8
        exact = np.linalg.svd(A - A.mean(0), compute_uv=False)
        np.testing.assert_allclose(svd(A, rank=2, center=True).values, exact[:2], rtol=1e-6)

    def test_wrong_shapes(self, rng: np.random.Generator) -> None:
        with pytest.raises(ValueError, match=r"center must be .* \(4,\)"):
            svd(rng.standard_normal((5, 4)), rank=1, center=np.zeros(5))
        with pytest.raises(ValueError, match="positive"):
            svd(rng.standard_normal((5, 4)), rank=1, scale=np.zeros(4))


class TestLecture:
    """The examples of the lecture on low-rank approximation."""

    A = np.array([[3.0, 0.0], [4.0, 5.0]])

    def test_rank_one_has_error_root_five(self) -> None:
        found = svd(self.A, rank=1)
        assert found.certificate["frobenius"].high == pytest.approx(5**0.5, rel=1e-12)
        assert gap(found, self.A) == pytest.approx(5**0.5, rel=1e-12)
        np.testing.assert_allclose(found.reconstruct(), [[1.5, 1.5], [4.5, 4.5]], atol=1e-14)
        np.testing.assert_allclose(found.values, [45**0.5], rtol=1e-14)
        np.testing.assert_allclose(found.right[:, 0], [0.5**0.5, 0.5**0.5], rtol=1e-14)

    def test_the_3_by_4_matrix_has_rank_two(self) -> None:
        B = np.array([[1.0, 2, -1, 2], [2, 4, 1, 1], [-1, -2, -2, 1]])
        found = svd(B, tol=1e-12, norm="sigma")
        assert found.rank == 2
        np.testing.assert_allclose(found.reconstruct(), B, atol=1e-14)
        # its rows are combinations of the two rows of the reduced echelon form
        echelon = np.array([[1.0, 2, 0, 1], [0, 0, 1, -1]])
        coordinates = np.linalg.lstsq(found.right, echelon.T, rcond=None)[0]
        np.testing.assert_allclose(found.right @ coordinates, echelon.T, atol=1e-14)

    def test_the_5_by_7_matrix_has_two_concepts(self) -> None:
        A = np.zeros((5, 7))
        A[:3, :4], A[3:, 4:] = [1, 2, 1, 5], [2, 3, 1]
        found = svd(A, rank=2)
        np.testing.assert_allclose(found.values, [93**0.5, 28**0.5], rtol=1e-14)
        np.testing.assert_allclose(found.left[:3, 0], 3**-0.5, rtol=1e-14)
        np.testing.assert_allclose(found.left[3:, 1], 2**-0.5, rtol=1e-14)
        assert found.certificate["spectral"].high < 1e-13


class TestBadInput:
    @pytest.mark.parametrize(
        ("A", "message"),
        [
            (np.zeros(3), "expected a matrix, got an array of shape"),
            (np.zeros((2, 2, 2)), "expected a matrix"),
            (np.zeros((0, 3)), "empty"),
            (np.array([[1.0, np.nan]]), "NaN or Inf"),
            (scipy.sparse.csr_array([[np.inf, 1]]), "NaN or Inf"),
            (np.array([["a", "b"]]), "matrix of numbers"),
            (np.ones((2, 2), np.longdouble), "convert to float64"),
            ("matrix", "cannot decompose a str"),
            ([], "expected a matrix"),
            (iter([]), "no blocks"),
            (iter([np.zeros((2, 3)), np.zeros((2, 4))]), "block 1 has 4 columns"),
            (lambda: iter([np.zeros((2, 3)), np.zeros((2, 3), "f4")]), "block 1 is torch.float32"),
        ],
    )
    def test_says_what_is_wrong(self, A: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            svd(A, rank=1)

    def test_rank_beyond_the_smaller_side(self) -> None:
        with pytest.raises(ValueError, match=r"at most min\(m, n\) = 3, got 4"):
            svd(np.ones((3, 5)), rank=4)

    def test_unknown_solver_and_accuracy(self) -> None:
        with pytest.raises(ValueError, match="solver must be"):
            svd(np.ones((3, 5)), rank=1, solver="magic")
        with pytest.raises(ValueError, match="accuracy"):
            svd(np.ones((3, 5)), rank=1, accuracy=0)

    def test_an_operator_without_its_adjoint(self) -> None:
        A = LinearOperator((500, 500), matvec=lambda x: x, dtype=float)
        with pytest.raises(ValueError, match="must define rmatvec"):
            svd(A, rank=2)

    def test_an_operator_whose_adjoint_is_wrong(self, rng: np.random.Generator) -> None:
        M = rng.standard_normal((500, 500))
        A = LinearOperator(M.shape, matvec=lambda x: M @ x, rmatvec=lambda x: M @ x, dtype=float)
        with pytest.raises(ValueError, match="not the adjoint"):
            svd(A, rank=2)

    def test_an_operator_that_fails_later(self, rng: np.random.Generator) -> None:
        M = rng.standard_normal((500, 500))
        calls = []

        def product(x: np.ndarray) -> np.ndarray:
            calls.append(1)
            return M @ x if len(calls) < 9 else np.full(500, np.nan)

        A = LinearOperator(M.shape, matvec=product, rmatvec=lambda x: M.T @ x, dtype=float)
        with pytest.raises(ValueError, match="returned NaN or Inf"):
            svd(A, rank=2)

    def test_blocks_that_do_not_come_again(self) -> None:
        once = iter([np.ones((2, 3)), np.ones((2, 3))])
        with pytest.raises(ValueError, match=r"no blocks|second pass"):
            svd(lambda: once, rank=1)

    def test_inputs_are_not_changed(self, rng: np.random.Generator) -> None:
        A = rng.standard_normal((40, 30))
        before = A.copy()
        A.setflags(write=False)
        svd(A, rank=2)
        svd(A, rank=2, center=True, scale=True, solver="krylov")
        np.testing.assert_array_equal(A, before)


def test_the_result_is_saved_and_truncated(tmp_path: Any, planted: Planted) -> None:
    found = schmidt.svd(planted(60, 40, values(40)), rank=5)
    back = schmidt.Factorization.load(found.save(tmp_path / "f.safetensors"))
    np.testing.assert_array_equal(back.left, found.left)
    assert back.settings["rule"] == "rank 5"
    assert found.truncate(2).rank == 2


@pytest.mark.parametrize("kind", ["dense", "sparse", "blocks", "float32"])
def test_results_repeat_bit_for_bit(kind: str, planted: Planted) -> None:
    """On one machine with one number of threads, random columns and proofs included."""
    A = planted(500, 450, np.arange(1, 451) ** -0.5)
    given: Any = {
        "dense": A,
        "sparse": scipy.sparse.csr_array(A),
        "blocks": list(np.array_split(A, 3)),
        "float32": A.astype(np.float32),
    }[kind]
    one, other = svd(given, rank=8), svd(given, rank=8)
    for a, b in zip(one, other, strict=True):
        assert np.array_equal(np.asarray(a), np.asarray(b))
    assert one.certificate.as_dict() == other.certificate.as_dict()
