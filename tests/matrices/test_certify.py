"""Certificates of rough answers, where residuals are what the bounds rest on."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from schmidt.matrices.certify import _mass, certify, prove, rounding
from schmidt.matrices.kinds import source_of
from schmidt.matrices.solvers.triplets import Triplets
from schmidt.matrices.sources.source import Adjoint, InUnits, Source
from schmidt.rank import rank_rule


def rough(A: np.ndarray, V: np.ndarray) -> Triplets:
    """Ritz triplets in the span of V: A v = s u to rounding, and Aᴴu − s v is what it is."""
    V = np.linalg.qr(V)[0]
    U, s, wh = np.linalg.svd(A @ V, full_matrices=False)
    V = V @ wh.conj().T
    residuals = np.linalg.norm(A.conj().T @ U - V * s, axis=0)
    return Triplets(*(torch.from_numpy(np.ascontiguousarray(a)) for a in (U, s, V, residuals)))


def case(seed: int) -> tuple[np.ndarray, Triplets]:
    """A matrix, and triplets that are anything from worthless to accurate."""
    rng = np.random.default_rng(seed)
    m, n = int(rng.integers(6, 14)), int(rng.integers(6, 14))
    A = rng.standard_normal((m, n)) * rng.choice([0.02, 1.0], n)
    if seed % 3 == 0:
        A = np.outer(A[:, 0], A[0]) + 10.0 ** rng.uniform(-6, -1) * A
    exact = np.linalg.svd(A)[2].T[:, : int(rng.integers(2, 5))]
    return A, rough(A, exact + 10.0 ** rng.uniform(-6, 1) * rng.standard_normal(exact.shape))


@pytest.mark.parametrize("seed", range(40))
def test_rough_triplets_are_bracketed_all_the_same(seed: int) -> None:
    A, found = case(seed)
    source, rule = source_of(A, 2, 0), rank_rule(rank=2)
    proof = prove(source, found, 2, rule, seed=1)
    c = certify(source, found, 2, rule, proof)
    exact = np.linalg.svd(A, compute_uv=False)
    U, s, V = (a.numpy() for a in (found.left, found.values, found.right))
    E = A - (U[:, :2] * s[:2]) @ V[:, :2].T
    slack = 1e-12 * exact[0]
    assert c["spectral"].low - slack <= np.linalg.norm(E, 2) <= c["spectral"].high + slack
    assert c["frobenius"].low - slack <= np.linalg.norm(E) <= c["frobenius"].high + slack
    assert (c["values"].low - slack <= exact[:2]).all()
    assert (exact[:2] <= c["values"].high + slack).all()
    assert c["missed"].high >= (exact[:2] - s[:2]).max() - slack
    share = s[:2].sum() / exact.sum()
    assert c["mass"].low - 1e-12 <= share <= c["mass"].high + 1e-12
    energy = 1 - (np.linalg.norm(E) / np.linalg.norm(A)) ** 2
    assert c["energy"].low - 1e-12 <= energy <= c["energy"].high + 1e-12
    assert (c["residuals"].high >= found.residuals.numpy()[:2]).all()


def test_a_residual_is_mass_that_may_be_counted_twice() -> None:
    """A of rank one, seen along e₁ alone: s₁ and what is left add up to more than ‖A‖_*."""
    A = np.outer([1.0, 2.0, 2.0], [0.6, 0.8])
    found = rough(A, np.eye(2)[:, :1])
    source = source_of(A, 1, 0)
    s, left = 3 * 0.6, 3 * 0.8
    mass = _mass(source, found.values.numpy(), 1, found, left, 0.0, 0.0)
    assert mass.low <= s / 3 <= mass.high
    assert mass.high == pytest.approx(1.0)
    good = _mass(source, np.array([s]), 1, Triplets(None, found.values, found.right,
                 torch.zeros(1).double()), left, 0.0, 0.0)  # fmt: skip
    assert good.high == pytest.approx(s / (s + left))


@pytest.mark.parametrize("cosine", [0.6, 0.96, 0.9999])
def test_residuals_of_several_triplets_add_up(cosine: float) -> None:
    """Two copies of it: Σs + ‖E‖_* is more than ‖A‖_* by √2 (Σ‖r_i‖²)^(1/2), and no less."""
    sine = (1 - cosine**2) ** 0.5
    A = np.kron(np.eye(2), np.outer([1.0, 0.0], [cosine, sine]))
    found = rough(A, np.eye(4)[:, ::2])
    mass = _mass(source_of(A, 2, 0), found.values.numpy(), 2, found, sine, 0.0, 0.0)
    assert mass.low - 1e-12 <= cosine <= mass.high + 1e-12
    assert mass.high == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(20))
def test_a_krylov_space_that_stopped_early_bounds_what_it_left(seed: int) -> None:
    """Ritz values of any space with their couplings enclose the singular values."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((12, 10)) * rng.choice([0.1, 1.0], 10)
    V = np.linalg.qr(rng.standard_normal((10, 5)))[0]
    source, found = source_of(A, 2, 0), rough(A, V)
    H = torch.from_numpy(A.T @ A)
    V = found.right  # Ritz vectors

    class Space:
        basis = SimpleNamespace(all=V)

        def ritz(self) -> tuple[torch.Tensor, torch.Tensor]:
            return found.values.square(), torch.eye(5).double()

        def leaving(self, x: torch.Tensor) -> torch.Tensor:
            image = H @ V @ x
            return image - V @ (V.T @ image)

    stopped = replace(found, residuals=None, space=Space())  # type: ignore[arg-type]
    proof = prove(source, stopped, 2, rank_rule(rank=2), seed=1)
    exact = np.linalg.svd(A, compute_uv=False)
    assert (exact[:2] <= proof.highs[:2] * (1 + 1e-9)).all()
    U, s = (a.numpy()[..., :2] for a in (found.left, found.values))
    E = np.linalg.norm(A - (U * s) @ V.numpy()[:, :2].T, 2)
    assert proof.lower * (1 - 1e-9) <= E <= proof.highs[2] * (1 + 1e-9)


def noisy(rng: np.random.Generator) -> Source:
    """Large means cancel: a source with noise of its own."""
    A = 1e6 + rng.standard_normal((30, 8))
    return source_of(A, 2, 0, center=True)


def test_noise_is_in_the_units_of_its_source(rng: np.random.Generator) -> None:
    """A / 2^p has noise / 2^p, in whatever clothes, and so have its bounds."""
    source = noisy(rng)
    assert source.noise > 0
    for power in (-40, -3, 5, 60):
        other = InUnits(source, 2.0**power)
        assert other.unit == source.unit * 2.0**power
        assert other.noise == source.noise / 2.0**power
        assert Adjoint(other).noise == other.noise
        assert InUnits(other, 2.0**-power).noise == source.noise
        assert other.norm2 == pytest.approx(source.norm2 / 4.0**power)
        found = rough(np.asarray(source.dense()), np.eye(8)[:, :3])
        small = Triplets(found.left, found.values / 2.0**power, found.right,
                         found.residuals / 2.0**power)  # fmt: skip
        assert rounding(other, small) == pytest.approx(rounding(source, found) / 2.0**power)


@pytest.mark.parametrize("kind", ["dense", "sparse", "blocks", "mapped"])
def test_noise_of_centring_follows_the_units_of_the_user(
    kind: str, rng: np.random.Generator, tmp_path: object
) -> None:
    import scipy.sparse

    A = 100 + rng.standard_normal((60, 9))

    def of(scale: float) -> Source:
        given: object = A * scale
        if kind == "sparse":
            given = scipy.sparse.csr_array(A * scale)
        elif kind == "blocks":
            given = list(np.array_split(A * scale, 3))
        elif kind == "mapped":
            np.save(f"{tmp_path}/A.npy", A * scale)
            given = np.load(f"{tmp_path}/A.npy", mmap_mode="r")
        return source_of(given, 2, 0, center=True)

    plain = of(1.0)
    assert plain.noise > 0
    for scale in (2.0**-300, 2.0**200):
        other = of(scale)
        assert other.noise * other.unit / scale == pytest.approx(plain.noise * plain.unit)
