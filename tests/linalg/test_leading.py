"""Leading triplets by every way, spans with weights and constraints, whitening."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import scipy.sparse
import torch

from schmidt.linalg import fix_signs, leading, leading_eigenpairs, orthogonal, span, whitener


def planted(
    m: int, n: int, s: np.ndarray, complex_: bool, rng: np.random.Generator
) -> torch.Tensor:
    def frame(size: int) -> np.ndarray:
        a = rng.standard_normal((size, len(s)))
        return np.linalg.qr(a + 1j * rng.standard_normal(a.shape) if complex_ else a)[0]

    return torch.from_numpy((frame(m) * s) @ frame(n).conj().T)


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("method", ["auto", "lapack", "gram", "krylov", "projection"])
@pytest.mark.parametrize("shape", [(90, 40), (40, 90), (3, 3)])
def test_ways_agree(
    shape: tuple[int, int], method: str, complex_: bool, rng: np.random.Generator
) -> None:
    s = 0.5 ** np.arange(min(shape))
    A = planted(*shape, s, complex_, rng)
    U, found, V = leading(A, 3, method=method)
    np.testing.assert_allclose(found, s[:3], rtol=1e-8)
    rest = torch.linalg.matrix_norm(A - (U * found) @ V.mH, 2)
    assert float(rest) == pytest.approx(s[3] if len(s) > 3 else 0.0, abs=1e-8)
    for side in (U, V):
        assert torch.allclose(side.mH @ side, torch.eye(3, dtype=A.dtype), atol=1e-12)


@pytest.mark.parametrize("shape", [(700, 650), (650, 700)])
def test_krylov_agrees_with_lapack(shape: tuple[int, int], rng: np.random.Generator) -> None:
    A = torch.from_numpy(rng.standard_normal(shape))
    for one, other in zip(leading(A, 4, method="krylov"), leading(A, 4), strict=True):
        assert torch.allclose(one, other, atol=1e-9)
    H = A[:650, :650] + A[:650, :650].T
    values, vectors = leading_eigenpairs(H, 4)
    exact = torch.linalg.eigvalsh(H)
    assert torch.allclose(values, exact[exact.abs().argsort(descending=True)[:4]])
    assert torch.allclose(H @ vectors, vectors * values, atol=1e-9)


@pytest.mark.parametrize("shape", [(60, 30), (30, 60)])
def test_sparse_by_gram(shape: tuple[int, int], rng: np.random.Generator) -> None:
    A = scipy.sparse.random_array(shape, density=0.3, rng=rng, format="csr")
    for one, other in zip(
        leading(A, 5, method="gram"), leading(torch.from_numpy(A.toarray()), 5), strict=True
    ):
        assert torch.allclose(one, other, atol=1e-10)
    with pytest.raises(ValueError, match="gram"):
        leading(A, 5)


def test_orthogonal_is_unique(generator: torch.Generator) -> None:
    Z = torch.randn(9, 4, dtype=torch.complex128, generator=generator)
    R = orthogonal(Z).mH @ Z
    assert torch.allclose(R.tril(-1), torch.zeros_like(R), atol=1e-14)
    assert bool((R.diagonal().real > 0).all())
    assert float(R.diagonal().imag.abs().max()) < 1e-14


def test_refusals() -> None:
    with pytest.raises(ValueError, match="not finite"):
        leading(torch.tensor([[torch.nan]]), 1)
    with pytest.raises(ValueError, match="rank"):
        leading(torch.eye(2), 0)


def test_span_obeys_weights_and_constraints(generator: torch.Generator) -> None:
    F = torch.randn(50, 6, dtype=torch.float64, generator=generator)
    F = torch.cat([F, F[:, :2] @ torch.ones(2, 1, dtype=torch.float64)], 1)
    w = torch.rand(50, dtype=torch.float64, generator=generator) + 0.1
    c = torch.randn(2, 7, dtype=torch.float64, generator=generator)
    found = span(F, weights=w, constraints=c)
    G = F @ found.mix
    assert G.shape[1] in (4, 5)
    assert torch.allclose(G.T @ (w[:, None] * G), torch.eye(G.shape[1]).double(), atol=1e-9)
    assert float((c @ found.mix).abs().max()) < 1e-9
    assert span(F).rank(1e-10) == 6


@pytest.mark.parametrize("shape", [(60, 8), (8, 60)])
def test_whitened_rows_have_covariance_one(
    shape: tuple[int, int], generator: torch.Generator
) -> None:
    rows = torch.randn(*shape, dtype=torch.float64, generator=generator)
    W = whitener(rows, 5)
    assert torch.allclose(W.T @ rows.T @ rows @ W, torch.eye(5).double(), atol=1e-10)
    with pytest.raises(ValueError, match="zero"):
        whitener(torch.zeros(4, 3), 2)


class TestWays:
    """Each method goes its own way, and "auto" the one that is quickest."""

    @pytest.fixture
    def way(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        seen: list[str] = []
        module = sys.modules["schmidt.linalg.leading"]
        for name in ("_gram", "_krylov", "_projection"):
            kept = getattr(module, name)
            monkeypatch.setattr(
                module, name, lambda *a, kept=kept, name=name: seen.append(name) or kept(*a)
            )
        monkeypatch.setattr(module, "EXACT", 60)
        monkeypatch.setattr(module, "FULL", 40)
        return seen

    def test_every_method_is_what_it_says(self, way: list[str]) -> None:
        A = torch.eye(50, 45).double()
        for method in ("lapack", "gram", "krylov", "projection", "auto"):
            leading(A, 2, method=method)
        assert way == ["_gram", "_krylov", "_projection"]

    @pytest.mark.parametrize(
        ("small", "rank", "iterated"), [(40, 1, False), (41, 10, True), (41, 11, False)]
    )
    def test_krylov_where_it_is_faster(
        self, small: int, rank: int, iterated: bool, way: list[str], rng: np.random.Generator
    ) -> None:
        """Beyond FULL, for at most a quarter of the triplets, and for eigenpairs alike."""
        A = torch.from_numpy(np.diag(np.linspace(-1, 2, small)))
        U, s, V = leading(A, rank, method="krylov")
        assert bool(way) == iterated
        wanted = np.sort(np.abs(np.linspace(-1, 2, small)))[::-1][:rank]
        np.testing.assert_allclose(s, wanted, rtol=1e-10)
        torch.testing.assert_close(A @ V, U * s, rtol=0, atol=1e-10)
        calls: list[int] = []
        eigsh = scipy.sparse.linalg.eigsh
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                scipy.sparse.linalg, "eigsh", lambda *a, **k: calls.append(1) or eigsh(*a, **k)
            )
            values, vectors = leading_eigenpairs(A, rank)
        assert bool(calls) == iterated
        np.testing.assert_allclose(values.abs(), wanted, rtol=1e-10)
        torch.testing.assert_close(A @ vectors, vectors * values, rtol=0, atol=1e-10)

    @pytest.mark.parametrize("shape", [(30, 9), (9, 30)])
    def test_sparse_arrays_by_their_gram_matrix(
        self, shape: tuple[int, int], rng: np.random.Generator
    ) -> None:
        A = planted(*shape, 0.5 ** np.arange(9), True, rng)
        U, s, V = leading(scipy.sparse.csr_array(A.numpy()), 4, method="gram")
        np.testing.assert_allclose(s, 0.5 ** np.arange(4), rtol=1e-10)
        torch.testing.assert_close(A @ V, U * s, rtol=0, atol=1e-10)
        torch.testing.assert_close(fix_signs(V), torch.ones(4).to(V), rtol=0, atol=1e-12)

    @pytest.mark.parametrize(
        ("small", "rank", "projected"),
        [(60, 1, False), (61, 1, True), (84, 3, True), (83, 3, False)],
    )
    def test_auto(self, small: int, rank: int, projected: bool, way: list[str]) -> None:
        """Beyond EXACT, for 2k + 8 columns of at most a sixth of the smaller side."""
        leading(torch.eye(small, 100).double(), rank)
        leading(torch.eye(100, small).double(), rank)
        assert way == ["_projection"] * 2 * projected

    def test_a_block_that_is_everything_is_no_projection(self, way: list[str]) -> None:
        leading(torch.eye(16, 20).double(), 4, method="projection")
        assert not way
        leading(torch.eye(17, 20).double(), 4, method="projection")
        assert way

    def test_many_triplets_of_a_slow_decay(self, rng: np.random.Generator) -> None:
        s = 0.93 ** np.arange(90)
        U, found, V = leading(planted(120, 90, s, False, rng), 20, method="projection")
        np.testing.assert_allclose(found, s[:20], rtol=1e-6)
        assert U.shape == (120, 20)
        assert V.shape == (90, 20)

    def test_gram_matrices_are_of_the_smaller_side(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sizes: list[int] = []
        eigh = torch.linalg.eigh
        monkeypatch.setattr(torch.linalg, "eigh", lambda a: sizes.append(len(a)) or eigh(a))
        for shape in ((30, 4), (4, 30), (5, 5)):
            leading(torch.ones(shape).double(), 1, method="gram")
            whitener(torch.ones(shape).double(), 1)
        assert sizes == [4, 4, 4, 4, 5, 5]

    def test_low_precision_is_raised_and_comes_back_as_single(self) -> None:
        found = leading(torch.eye(6, dtype=torch.float16), 2)
        assert all(a.dtype == torch.float32 for a in found)


@pytest.mark.parametrize("wide", [False, True])
def test_whitening_is_damped_by_the_mean_and_cut_by_the_largest(
    wide: bool, rng: np.random.Generator
) -> None:
    s = np.array([4.0, 2.0, 1.0, 1e-2])
    rows = planted(*((9, 20) if wide else (20, 9)), s, False, rng)
    assert whitener(rows, 9).shape[1] == 4  # no more than there are
    assert whitener(rows, 9, cut=0.9 * 1e-4 / 16).shape[1] == 4
    assert whitener(rows, 9, cut=1.1 * 1e-4 / 16).shape[1] == 3
    assert whitener(rows, 9, cut=0.06).shape[1] == 3
    assert whitener(rows, 9, cut=0.07).shape[1] == 2
    W = whitener(rows, 2, damping=0.5)
    norms = np.sort(np.linalg.norm(W, axis=0))
    np.testing.assert_allclose(norms, (np.array([16.0, 4.0]) + 0.5 * 10) ** -0.5, rtol=1e-9)
