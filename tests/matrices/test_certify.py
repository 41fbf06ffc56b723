"""Certificates of rough answers, where residuals are what the bounds rest on."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse
import torch

from schmidt.certificate import Bound, Certificate
from schmidt.matrices.certify import (
    _energy,
    _mass,
    _met,
    _norm,
    _notes,
    cancelled,
    certify,
    in_units,
    prove,
    rounding,
)
from schmidt.matrices.completeness import Proof
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
    A = A * 2.0 ** rng.integers(-12, 3)
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
    assert min(c[name].low for name in ("spectral", "frobenius", "norm", "mass", "energy")) >= 0
    share = s[:2].sum() / exact.sum()
    assert c["mass"].low - 1e-12 <= share <= c["mass"].high + 1e-12
    energy = 1 - (np.linalg.norm(E) / np.linalg.norm(A)) ** 2
    assert c["energy"].low - 1e-12 <= energy <= c["energy"].high + 1e-12
    complete = c["missed"].high <= max(0.1 * s[1], 4 * rounding(source, found))
    assert c.met == complete
    assert complete == (not any("could not be established" in note for note in c.notes))
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


class Known:
    """What rounding is told of a source."""

    def __init__(self, m: int, n: int, norm2: float | None, noise: float = 0.0) -> None:
        self.shape, self.norm2, self.noise = (m, n), norm2, noise
        self.eps = float(np.finfo(float).eps)


@pytest.mark.parametrize(
    ("m", "n", "growth"),
    [(3, 3, 4), (100, 400, 10), (200, 4, 200**0.5 / 2), (2, 1024, 16), (4096 * 1024, 9, 64)],
)
def test_rounding_grows_with_the_sides(m: int, n: int, growth: float) -> None:
    """8 ε g ‖A‖_F, or with √min(m, n) σ₁ for an operator, and what else is known."""
    s = torch.tensor([3.0, 1.0]).double()
    found = Triplets(None, s, torch.zeros(n, 2), noise=2e-9)
    eps = float(np.finfo(float).eps)
    plain = rounding(Known(m, n, 16.0, 1e-9), found)  # type: ignore[arg-type]
    assert plain == pytest.approx(8 * growth * eps * 4 + 3e-9)
    bare = replace(found, noise=0.0)
    operator = rounding(Known(m, n, None), bare)  # type: ignore[arg-type]
    assert operator == pytest.approx(8 * growth * eps * 3 * min(m, n) ** 0.5)
    lost = cancelled(Known(m, n, 16.0, 1e-9), found)  # type: ignore[arg-type]
    long = max(1, max(m, n) / 1024) ** 0.5
    assert lost == pytest.approx(16 * long * eps * 16 + 2 * (16 / min(m, n)) ** 0.5 * 3e-9)


@pytest.mark.parametrize("shape", [(40, 30), (1100, 12)])
def test_a_small_error_of_a_dense_matrix_is_known(
    shape: tuple[int, int], rng: np.random.Generator
) -> None:
    """‖A‖_F² − Σs² is lost in rounding: what is left is summed up row by row, or only bounded."""
    m, n = shape
    A = rng.standard_normal((m, 3)) @ rng.standard_normal((3, n))
    E = 1e-9 * rng.standard_normal(shape)
    found = rough(A + E, np.linalg.svd(A + E)[2][:3].T)
    rule = rank_rule(rank=3)
    best = np.linalg.norm(np.linalg.svd(A + E, compute_uv=False)[3:])
    wide = A + 1e6 * E  # where nothing is lost, sums of squares are enough
    rough_ = rough(wide, np.linalg.svd(wide)[2][:3].T)
    source = source_of(scipy.sparse.csr_array(wide), 3, 0)
    known = certify(source, rough_, 3, rule, prove(source, rough_, 3, rule, seed=0))["frobenius"]
    assert known.low > 0.999 * known.high
    assert known.low <= np.linalg.norm(np.linalg.svd(wide, compute_uv=False)[3:]) <= known.high
    for given in (A + E, scipy.sparse.csr_array(A + E)):
        source = source_of(given, 3, 0)
        c = certify(source, found, 3, rule, prove(source, found, 3, rule, seed=0))
        assert c["frobenius"].low * 0.999 <= best <= 1.001 * c["frobenius"].high
        sharp = c["frobenius"].high < 1.001 * c["frobenius"].low
        assert sharp == isinstance(given, np.ndarray)
        assert sharp != any("is lost in rounding" in note for note in c.notes)
        assert c["frobenius"].high < 1e-6 * np.linalg.norm(A)
        assert c["spectral"].high <= c["frobenius"].high


def test_what_was_asked_for_is_met_by_the_end_of_a_bound_that_is_worse() -> None:
    bounds = {
        "values": Bound(np.array([4.0, 2.0]), np.array([5.0, 3.0])),
        "mass": Bound(0.6, 0.7),
        "energy": Bound(0.8, 0.9),
        "norm": Bound(10.0, 11.0),
        "frobenius": Bound(1.0, 2.0),
        "spectral": Bound(0.5, 1.0),
    }
    s = np.array([4.5, 2.5])

    def met(**rule: object) -> bool:
        return _met(rank_rule(**rule), 2, s, bounds)  # type: ignore[arg-type]

    assert met(rank=2)
    assert not met(rank=1)
    assert not met(rank=3)
    for rule, yes, no in (
        ("mass", 0.6, 0.61),
        ("energy", 0.8, 0.81),
        ("tol", 0.2, 0.199),
    ):
        assert met(**{rule: yes})
        assert not met(**{rule: no})
    assert met(tol=0.25, norm="spectral")
    assert not met(tol=0.249, norm="spectral")
    bounds = {k: v for k, v in bounds.items() if k not in ("norm", "energy")}
    assert not met(energy=0.1)
    assert not met(tol=0.9)


def test_energy_is_what_the_error_leaves_of_the_norm() -> None:
    energy = _energy(Bound(4.0, 5.0), Bound(1.0, 2.0, 1e-7))
    assert energy.low == pytest.approx(1 - (2 / 4) ** 2)
    assert energy.high == pytest.approx(1 - (1 / 5) ** 2)
    assert energy.failure == 1e-7
    assert _energy(Bound(0.0, 0.0), Bound(0.0, 0.0)).low == 1.0
    wide = _energy(Bound(0.0, 5.0), Bound(0.0, 6.0))
    assert (wide.low, wide.high) == (0.0, 1.0)
    lost = _energy(Bound(4.0, 5.0), Bound(5.5, 6.0))
    assert (lost.low, lost.high) == (0.0, 0.0)


def test_a_certificate_in_other_units_says_the_same() -> None:
    whole = Certificate(
        {
            "values": Bound(np.array([2.0, 0.0]), np.array([3.0, 0.0]), 1e-7),
            "energy": Bound(0.5, 0.75),
            "mass": Bound(0.25, 0.5),
            "spectral": Bound(0.0, 1.0),
        },
        met=True,
        alarms=["alarm"],
        asked="rank 2",
        notes=["note"],
        estimates={"x": 1.0},
        failure=2e-7,
        allowed=1e-3,
    )
    assert in_units(whole, 1.0) is whole
    for unit in (2.0**80, 2.0**-900):
        other = in_units(whole, unit)
        np.testing.assert_allclose(other["values"].low, [2 * unit, 0])
        np.testing.assert_allclose(other["values"].high, [3 * unit, 0])
        assert other["spectral"].high == unit
        assert other["spectral"].low == 0.0
        assert isinstance(other["spectral"].high, float)
        assert other["energy"] == whole["energy"]
        assert other["mass"] == whole["mass"]
        plain = other.as_dict() | {"bounds": None}
        assert plain == whole.as_dict() | {"bounds": None}
        assert other["values"].failure == 1e-7
    tiny = in_units(whole, 2.0**-1074)  # nothing smaller is above zero
    assert (tiny["values"].low <= [2 * 5e-324, 0]).all()
    assert tiny["values"].high[0] >= 4 * 5e-324
    assert tiny["values"].high[1] == 0.0
    assert tiny["spectral"].low == 0.0


def test_the_norm_is_known_by_the_source_or_by_a_whole_spectrum() -> None:
    s = np.array([4.0, 3.0])
    eps = np.finfo(float).eps
    known = _norm(Known(2, 2, 25.0, 1e-3), None)  # type: ignore[arg-type]
    assert known is not None
    assert (known.low, known.high) == pytest.approx((5 - 1e-3, 5 + 1e-3))
    exact = _norm(Known(2, 2, 25.0), s)  # type: ignore[arg-type]
    assert exact is not None
    assert exact.radius == pytest.approx(64 * eps * 5, rel=0.05, abs=0)
    whole = _norm(Known(2, 2, None), s)  # type: ignore[arg-type]
    assert whole is not None
    assert whole.low < 5 < whole.high
    assert whole.radius == pytest.approx(8 * eps * 2**0.5 * 5, rel=0.1, abs=0)
    assert _norm(Known(2, 2, None), None) is None  # type: ignore[arg-type]


def test_notes_say_what_is_rounding_and_what_is_unknown() -> None:
    proof = Proof(np.ones(3), 0.0, 0.0, "nothing")
    s = np.array([1.0, 4e-3, 1e-3])

    def notes(norm: Bound | None, frobenius: Bound, complete: bool, noise: float) -> list[str]:
        return _notes(norm, frobenius, complete, proof, 0.1, noise, s)

    sharp, wide, one = Bound(0.995, 1.0), Bound(0.98, 1.0), Bound(1.0, 1.0)
    assert notes(one, sharp, True, 1e-9) == []
    (note,) = notes(one, sharp, False, 1e-9)
    assert "above 1.1 s_k was missed (nothing)" in note
    (note,) = notes(one, sharp, True, 1e-3)
    assert "last 2 values are rounding: they are at most 5.0e-03" in note
    assert len(notes(one, sharp, True, 1e-3 / 4)) == 1
    assert len(notes(one, sharp, True, 0.99e-3 / 4)) == 0
    (note,) = notes(None, wide, True, 1e-9)
    assert "unknown for an operator" in note
    (note,) = notes(one, wide, True, 1e-9)
    assert "lost in rounding" in note
    assert notes(one, Bound(0.0, 0.0), True, 1e-9) == []


def test_of_a_whole_spectrum_everything_is_known_to_rounding(rng: np.random.Generator) -> None:
    A = rng.standard_normal((20, 9))
    s = np.linalg.svd(A, compute_uv=False)
    found = replace(rough(A, np.linalg.svd(A)[2][:3].T), spectrum=torch.from_numpy(s.copy()))
    source, rule = source_of(A, 3, 0), rank_rule(rank=3)
    c = certify(source, found, 3, rule, prove(source, found, 3, rule, seed=0))
    noise = rounding(source, found)
    rest = np.linalg.norm(s[3:])
    assert c["frobenius"].low == pytest.approx(rest - noise, abs=noise / 10)
    assert c["frobenius"].high == pytest.approx(rest + noise, abs=noise / 10)
    assert c["mass"].radius < 1e-12
    assert s[:3].sum() / s.sum() in c["mass"]
    assert c["spectral"].radius <= 2 * noise
    assert c.met
