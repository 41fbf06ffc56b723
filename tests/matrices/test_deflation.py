"""The proof that nothing was missed, on matrices whose answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse
import torch

from schmidt.matrices.completeness import Deflation, Proof, _Goal, _rest, establish
from schmidt.matrices.kinds import source_of
from schmidt.matrices.solvers.triplets import Triplets


def deflation(lam: list[float], y: np.ndarray, floor: float = 0.0) -> Deflation:
    return Deflation(torch.zeros(9, len(lam)), np.array(lam), y, floor)


def test_a_load_is_the_norm_of_what_couples() -> None:
    """‖Σ y_i y_i*/(z − λ_i)‖ of the later ones, whichever side is smaller, and rounding."""
    rng = np.random.default_rng(0)
    lam = [5.0, 3.0, 2.0, 1.0]
    for w in (2, 7):
        y = rng.standard_normal((w, 4)) + 1j * rng.standard_normal((w, 4))
        way = deflation(lam, y)
        for first in range(4):
            sum_ = sum(np.outer(y[:, i], y[:, i].conj()) / (6 - lam[i]) for i in range(first, 4))
            assert way.load(6.0, first) == pytest.approx(np.linalg.norm(sum_, 2))
        assert way.load(6.0, 4) == 0.0
        np.testing.assert_allclose(way.norms(3), np.linalg.norm(y[:, :3], axis=0))
        weight = sum(1 / (6 - v) for v in lam[1:])
        rough = deflation(lam, y, 0.1)
        wanted = (way.load(6.0, 1) ** 0.5 + 0.1 * weight**0.5) ** 2
        assert rough.load(6.0, 1) == pytest.approx(wanted)
        np.testing.assert_allclose(rough.norms(2), way.norms(2) + 0.1)
    only = deflation(lam, np.array([0.5, -0.4, 0.3, 0.2]))
    assert only.load(6.0, 2) == pytest.approx(0.3**2 / 4 + 0.2**2 / 5)  # norms alone: their sum
    np.testing.assert_allclose(only.norms(2), [0.5, 0.4])


@pytest.mark.parametrize("beta2", [0.3, 2.5])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_bounds_are_the_least_that_equation_1_allows(k: int, beta2: float) -> None:
    way = deflation([9.0, 5.0, 2.0, 1.0], np.array([0.3, 0.2, 0.25, 0.1]))
    highs = way.highs(beta2, k)
    assert len(highs) == k + 1
    assert (np.diff(highs[:k]) <= 0).all()
    z = highs[k] ** 2
    behind = [2.0, 1.0][0] if k == 2 else ([5.0, 2.0, 1.0, 0.0][k - 1])
    assert z >= max(behind, beta2)
    assert z - way.load(z, k) == pytest.approx(max(beta2, z - way.load(z, k)), rel=1e-6)
    less = max(z * (1 - 1e-5), behind * (1 + 1e-15))
    assert less - way.load(less, k) < beta2 or less <= behind * (1 + 1e-9)
    # second order in what couples
    small = replace(way, coupling=1e-4 * way.coupling)
    found = small.highs(beta2, k) ** 2
    wanted = np.maximum([9.0, 5.0, 2.0, 1.0][:k], beta2)
    np.testing.assert_allclose(found[:k], wanted, rtol=0, atol=1e-8)
    assert found[k] == pytest.approx(max(behind, beta2), abs=1e-8)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_what_is_allowed_is_what_gives_the_targets(k: int) -> None:
    """The inverse: the largest ‖AP‖² that is allowed reaches all targets, and more does not."""
    way = deflation([9.0, 5.0, 2.0, 1.0], np.array([0.3, 0.2, 0.25, 0.1]))
    targets = np.array([10.0, 6.0, 3.0])[:k]
    for last in (None, 0.9 * targets[-1], 1.05 * [5.0, 2.0, 1.0][k - 1]):
        allowed = way.allowed(targets, last)
        assert allowed > 0
        highs = way.highs(allowed * 0.999, k) ** 2
        assert (highs[:k] <= targets * (1 + 1e-9)).all()
        if last is not None:
            assert highs[k] <= last * (1 + 1e-9)
        highs = way.highs(allowed + 0.35, k) ** 2
        over = (highs[:k] > targets).any()
        assert over or (last is not None and highs[k] > last)
    assert way.allowed(np.array([8.9]), None) == -np.inf
    assert way.allowed(np.array([10.0]), 4.9) == -np.inf


def test_goals_are_the_values_with_their_accuracy() -> None:
    s = np.array([4.0, 2.0, 1.0])
    goal = _Goal(s, 2, 1.0, np.array([25.0, 4.1]), None, 1e-3, 1e-2, None, False)
    assert goal.missing == pytest.approx((2 * 1.1 + 2e-3) ** 2)
    np.testing.assert_allclose(goal.fine, [(4 + 0.2 + 2e-3) ** 2, 4.1])
    sharp = replace(goal, sharp=1.5)
    assert sharp.missing == pytest.approx((1.5 * 1.1 + 2e-3) ** 2)
    assert replace(goal, sharp=3.0).missing == goal.missing


def triplets(A: np.ndarray, which: list[int], **more: object) -> Triplets:
    """Exact triplets of a matrix, some of them."""
    U, s, Vh = np.linalg.svd(A, full_matrices=False)
    parts = (U[:, which], s[which], Vh[which].T, np.zeros(len(which)))
    found = Triplets(*(torch.from_numpy(np.ascontiguousarray(p)) for p in parts))
    return replace(found, **more)  # type: ignore[arg-type]


def prove(A: object, found: Triplets, rank: int, **more: object) -> Proof:
    settings = {"completeness": 0.1, "noise": 1e-12, "seed": 0, "failure": 1e-6} | more
    return establish(source_of(A, rank, 0), found, rank, **settings)  # type: ignore[arg-type]


def planted(n: int, s: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(4)
    u, v = (np.linalg.qr(rng.standard_normal((size, len(s))))[0] for size in (n + 5, n))
    return (u * s) @ v.T


@pytest.mark.parametrize("n", [30, 120])
@pytest.mark.parametrize("known_norm", [True, False])
def test_a_value_that_was_left_out_is_found(n: int, known_norm: bool) -> None:
    """Of 5, 4, 3, 1, 0.9, … the second was overlooked."""
    from scipy.sparse.linalg import aslinearoperator

    s = np.r_[5.0, 4.0, 3.0, 0.98 ** np.arange(n - 3)]
    A = planted(n, s)
    given = A if known_norm else aslinearoperator(A)
    proof = prove(given, triplets(A, [0, 2, 3]), 2)
    assert proof.missed is not None
    V = np.linalg.svd(A)[2][1]
    directions = np.linalg.qr(proof.missed.numpy())[0]
    assert np.linalg.norm(directions.T @ V) == pytest.approx(1.0, abs=0.05)
    assert proof.lower <= 4.0 * (1 + 1e-9)
    assert proof.lower > 3.5
    assert proof.highs[0] >= 5.0 * (1 - 1e-12)
    assert proof.highs[1] >= 4.0 * (1 - 1e-12)
    # what there is is right, and enough
    whole = prove(given, triplets(A, [0, 1, 2, 3]), 3)
    assert whole.missed is None
    assert (whole.highs[:3] >= s[:3] * (1 - 1e-12)).all()
    assert (whole.highs[:3] <= s[:3] * 1.1).all()
    assert whole.highs[3] >= 1.0 * (1 - 1e-12)
    assert whole.lower <= 1.0 + 1e-9
    assert whole.lower >= 0.5
    assert whole.failure == (0.0 if n <= 64 else 1e-6)
    assert whole.products > 0


def test_the_cheapest_proof_is_taken() -> None:
    n = 100
    A = planted(n, np.r_[5.0, 4.0, 3.0, np.full(n - 3, 1e-3)])
    found = triplets(A, [0, 1, 2])
    proof = prove(A, found, 3)  # √97·1e-3: nothing large can hide in that
    assert proof.way == "rest of the energy"
    assert proof.failure == 0.0
    assert proof.products == 0
    np.testing.assert_allclose(proof.highs[:3], [5, 4, 3], rtol=1e-6)
    assert 1e-3 <= proof.highs[3] <= 1.01 * 97**0.5 * 1e-3
    assert proof.lower == 0.0
    assert prove(A, triplets(A, [0, 1, 2, 3]), 3).lower == pytest.approx(1e-3)
    small = prove(A, found, 3, sharp=0.003)  # but here it must be known better
    assert small.way == "random columns"
    assert small.highs[3] <= 0.003
    assert prove(A, found, 3, sharp=0.02).way == "rest of the energy"
    zero = prove(np.zeros((9, 7)), triplets(np.zeros((9, 7)), [0]), 1)
    assert (zero.way, zero.highs.tolist(), zero.lower) == ("zero", [0.0, 0.0], 0.0)
    B = planted(6, np.arange(6.0, 0.0, -1.0))
    every = triplets(B, [0, 1], spectrum=torch.arange(6.0, 0.0, -1.0).double())
    proof = prove(B, every, 2)
    assert (proof.way, proof.highs.tolist(), proof.lower) == (
        "full decomposition", [6.0, 5.0, 4.0], 4.0,
    )  # fmt: skip
    last = prove(B, replace(every, spectrum=every.spectrum[:2]), 2)  # type: ignore[index]
    assert last.highs.tolist() == [6.0, 5.0, 0.0]
    dropped = prove(B, triplets(B, [0, 1, 2], dropped=3.0), 2)
    np.testing.assert_allclose(dropped.highs, np.hypot([6.0, 5.0, 4.0], 3.0))
    assert dropped.lower == pytest.approx(4.0)
    blind = prove(B, replace(triplets(B, [0, 1]), residuals=None), 2)
    assert blind.way == "nothing"
    assert np.isinf(blind.highs).all()
    full = prove(B, triplets(B, list(range(6))), 2)
    assert full.way == "full space"
    np.testing.assert_allclose(full.highs, [6, 5, 4], rtol=1e-12)


def test_what_is_left_of_the_energy_counts_its_rounding() -> None:
    A = np.diag([3.0, 2.0, 1.0])
    source = source_of(A, 1, 0)
    way = deflation([9.0, 4.0], np.zeros(2))
    eps = np.finfo(float).eps
    assert _rest(source, way) == pytest.approx(1.0 + 16 * eps * 14, abs=1e-15)
    source.noise = 1e-3
    assert _rest(source, way) == pytest.approx(1.0 + 2 * 14**0.5 * 1e-3)
    assert _rest(source, deflation([9.0, 4.0, 1.5], np.zeros(3))) == pytest.approx(2e-3 * 14**0.5)
    source.norm2 = None
    assert _rest(source, way) == np.inf


def test_by_count_what_is_missed_is_missed_and_nothing_else() -> None:
    """A chain, whose singular values can be counted: all of them, and without the second."""
    n = 90
    A = scipy.sparse.diags_array([np.full(n, 2.0), -np.ones(n - 1)], offsets=[0, -1]).tocsr()
    s = np.linalg.svd(A.toarray(), compute_uv=False)
    whole = prove(A, replace(triplets(A.toarray(), [0, 1, 2, 3]), products=40), 3)
    assert whole.way == "inertia"
    assert whole.missed is None
    assert (whole.highs[:3] >= s[:3]).all()
    np.testing.assert_allclose(whole.highs[:3], s[:3], rtol=1e-6)
    assert whole.highs[3] >= s[3]
    lame = prove(A, replace(triplets(A.toarray(), [0, 2, 3]), products=40), 2)
    assert lame.missed is not None
    assert lame.missed.shape[1] == 1
