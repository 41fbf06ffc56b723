"""Short real runs against known spectra, and clear refusals."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from schmidt.operators import (
    ConvectionDiffusion,
    Distribution,
    Gaussian,
    Kernel,
    Lebesgue,
    Matrix,
    Ritz,
    Schrodinger,
    SelfAdjointDifferential,
    UniformBox,
    bound_states,
    eigenfunctions,
)
from schmidt.operators.measures import Periodic
from schmidt.operators.ritz import BoxSpace, EuclideanSpace, FeatureChoice, NormalSpace, TorusSpace

PI2 = math.pi**2


def square(x: Tensor) -> Tensor:
    return x.pow(2).sum(1)


def nothing(x: Tensor) -> Tensor:
    return 0 * x[:, 0]


def coulomb(x: Tensor) -> Tensor:
    return -1 / x.norm(dim=1)


def tilted(x: Tensor) -> Tensor:
    """xᵀK x around (1, −2), K with eigenvalues 1 and 9 in a rotated frame."""
    c, s = math.cos(0.4), math.sin(0.4)
    z = x - torch.tensor([1.0, -2.0]).to(x)
    return (c * z[:, 0] + s * z[:, 1]) ** 2 + 9 * (c * z[:, 1] - s * z[:, 0]) ** 2


def walls(dim: int) -> Schrodinger:
    return Schrodinger(nothing, Lebesgue(UniformBox(0, 1, dim)))


def cells(dim: int) -> Schrodinger:
    return Schrodinger(nothing, Lebesgue(Periodic(dim=dim)))


SETTINGS: dict[str, Any] = {"progress": False, "budget": 6.0}
CASES: dict[str, tuple[Callable[[], Ritz], list[float], float]] = {
    "oscillator": (lambda: bound_states(square, 1, 4, **SETTINGS), [-1, -3, -5, -7], 1e-9),
    "oscillator, far and small": (
        lambda: bound_states(lambda x: 1e4 * (x[:, 0] - 30) ** 2, 1, 2, **SETTINGS),
        [-100, -300],
        1e-8,
    ),
    "plane": (lambda: bound_states(square, 2, 6, **SETTINGS), [-2, -4, -4, -6, -6, -6], 1e-8),
    "tilted": (lambda: bound_states(tilted, 2, 4, **SETTINGS), [-4, -6, -8, -10], 1e-7),
    "hydrogen": (lambda: bound_states(coulomb, 2, 4, **SETTINGS), [1, 1 / 9, 1 / 9, 1 / 9], 1e-7),
    "interval": (
        lambda: eigenfunctions(walls(1), 3, BoxSpace(1), **SETTINGS),
        [-PI2, -4 * PI2, -9 * PI2],
        1e-8,
    ),
    "square": (
        lambda: eigenfunctions(walls(2), 4, BoxSpace(2), **SETTINGS),
        [-2 * PI2, -5 * PI2, -5 * PI2, -8 * PI2],
        1e-6,
    ),
    "circle": (
        lambda: eigenfunctions(cells(1), 5, TorusSpace(1), **SETTINGS),
        [0, -1, -1, -4, -4],
        1e-8,
    ),
    "torus": (
        lambda: eigenfunctions(cells(2), 5, TorusSpace(2), **SETTINGS),
        [0, -1, -1, -1, -1],
        1e-8,
    ),
    "reversible diffusion": (
        lambda: eigenfunctions(
            ConvectionDiffusion(
                Distribution(Gaussian(1.0, 1)), lambda x: -x, self_adjoint=True
            ),
            4,
            NormalSpace(1),
            **SETTINGS,
        ),
        [0, -1, -2, -3],
        1e-8,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def solved() -> Callable[[str], Ritz]:
    """Name of a case → its solution, computed once."""
    known: dict[str, Ritz] = {}

    def solve(name: str) -> Ritz:
        if name not in known:
            known[name] = CASES[name][0]()
        return known[name]

    return solve


@pytest.mark.parametrize("name", CASES)
def test_known_spectra(name: str, solved: Callable[[str], Ritz]) -> None:
    result, (_, exact, tolerance) = solved(name), CASES[name]
    error = np.abs(result.values - exact)
    assert error.max() < tolerance * np.abs(exact).max()
    certificate = result.certificate
    assert certificate.alarms == ()
    assert (error <= result.radius + 1e-12).all()
    assert (error <= result.estimate + 1e-10 * np.abs(exact).max()).all()
    assert (result.estimate <= result.radius).all()
    assert (result.interval[:, 0] <= exact + 1e-12 * np.abs(exact).max()).all()
    assert (result.interval[:, 1] >= exact - 1e-12 * np.abs(exact).max()).all()


@pytest.mark.parametrize("name", CASES)
def test_functions_are_orthonormal_eigenfunctions(name: str, solved: Callable[[str], Ritz]) -> None:
    result = solved(name)
    points = result.space.independent(4000, torch.Generator().manual_seed(99))
    with torch.no_grad():
        f = result.functions(points.x)
    gram = (f * points.weight[:, None]).T @ f
    assert float((gram - torch.eye(len(gram))).abs().max()) < 2e-2
    values = result.functions(points.x.numpy())
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, f.numpy(), rtol=1e-9, atol=1e-9)


def test_the_ground_state_is_the_known_function(solved: Callable[[str], Ritz]) -> None:
    x = np.linspace(-3, 3, 50)[:, None]
    found = solved("oscillator").functions(x)[:, 0]
    exact = np.pi**-0.25 * np.exp(-(x[:, 0] ** 2) / 2)
    np.testing.assert_allclose(found, exact, atol=1e-6)


def test_results_are_eigenpairs_and_report(solved: Callable[[str], Ritz]) -> None:
    result = solved("hydrogen")
    pairs = result.eigenpairs
    np.testing.assert_array_equal(pairs.energies, -result.values)
    assert (np.diff(pairs.energies) >= 0).all()
    known = pairs.certificate
    np.testing.assert_allclose(known["values"].low, -result.interval[:, 1], rtol=1e-14)
    assert known.failure <= 1e-6
    assert "Eigenpairs: 4 modes" in repr(pairs)
    report = json.loads(json.dumps(result.report(), allow_nan=False))
    assert report["levels"] == [[1, 1], [2, 4]]
    assert len(report["trials"]) == len(result.trials) >= 1
    assert report["settings"]["space"] == "CoulombSpace"
    assert not report["interrupted"]


def test_a_coulomb_centre_with_confinement() -> None:
    """−∇² + r² − √2/r has the exact state (1 − √2 r) e^{−r²/2} at E = 4, its fourth."""
    root = math.sqrt(2)
    result = bound_states(lambda x: square(x) + root * coulomb(x), 2, 4, **SETTINGS)
    assert result.values[3] == pytest.approx(-4, abs=1e-5)
    assert result.values[1] == pytest.approx(result.values[2], abs=1e-5)
    x = np.array([[0.1, 0.0], [0.3, 0.4], [0.0, 1.0], [-1.5, 0.0]])
    r = np.linalg.norm(x, axis=1)
    found = result.functions(x)[:, 3]
    exact = (1 - root * r) * np.exp(-(r**2) / 2)
    np.testing.assert_allclose(found / found[2], exact / exact[2], atol=1e-3)


def test_an_irreversible_diffusion_has_complex_pairs() -> None:
    """Drift −(1 ∓ 2i): levels m(−1 + 2i) + n(−1 − 2i), all of condition one."""
    turn = torch.tensor([[1.0, 2.0], [-2.0, 1.0]], dtype=torch.float64)
    law = Distribution(Gaussian(1.0, 2))
    form = ConvectionDiffusion(law, lambda x: -x @ turn.T.to(x), self_adjoint=False)
    result = eigenfunctions(form, 3, NormalSpace(2), **SETTINGS)
    np.testing.assert_allclose(result.values, [0, -1 + 2j, -1 - 2j], atol=1e-8)
    assert result.certificate.alarms == ()
    assert np.isnan(result.radius).all()
    np.testing.assert_allclose(result.certificate.estimates["condition"], 1, rtol=1e-3)
    x = np.array([[0.5, -1.0], [1.0, 2.0], [-0.3, 0.1]])
    f = result.functions(x)
    assert np.iscomplexobj(f)
    ratio = f[:, 1] / (x[:, 0] + 1j * x[:, 1])
    other = f[:, 1] / (x[:, 0] - 1j * x[:, 1])
    assert min(np.ptp(np.abs(ratio)), np.ptp(np.abs(other))) < 1e-5
    np.testing.assert_allclose(np.abs(f[:, 2]), np.abs(f[:, 1]), atol=1e-5)
    json.dumps(result.report(), allow_nan=False)
    assert np.isnan(result.radius).all()
    assert not result.certificate.met
    assert any("not self-adjoint" in note for note in result.certificate.notes)


@pytest.mark.parametrize("shift", [7.0, -300.0])
def test_a_shifted_form_has_the_same_functions(shift: float) -> None:
    form = Schrodinger(square, Lebesgue(Gaussian(1.0, 1)))
    choice = FeatureChoice(width=12, points=600, scale=1.0, envelopes=2)
    plain, moved = (
        eigenfunctions(t, 3, EuclideanSpace(1), choice=choice, progress=False)
        for t in (form, form + shift)
    )
    np.testing.assert_allclose(moved.values - shift, plain.values, atol=1e-9 * abs(shift))
    x = np.linspace(-2, 2, 9)[:, None]
    np.testing.assert_allclose(moved.functions(x), plain.functions(x), atol=1e-6)
    double = eigenfunctions(2 * form, 3, EuclideanSpace(1), choice=choice, progress=False)
    np.testing.assert_allclose(double.values, 2 * plain.values, rtol=1e-9)


@pytest.mark.filterwarnings("ignore::schmidt.operators.ritz.AlarmWarning")
def test_no_value_in_a_gap_of_the_spectrum() -> None:
    """A deep double well: pairs near −E, and nothing between them, with more features than
    needed and with few points."""
    form = Schrodinger(lambda x: (x[:, 0] ** 2 - 9) ** 2 / 9, Lebesgue(Gaussian(1.0, 1)))
    wide = EuclideanSpace(1, reach=6.0)
    for width, points in ((20, 900), (60, 600)):
        choice = FeatureChoice(width=width, points=points, scale=1.0, envelopes=3)
        result = eigenfunctions(form, 4, wide, choice=choice, progress=False)
        v = result.values
        assert v[0] - v[1] < 1e-2
        assert v[2] - v[3] < 1e-1
        np.testing.assert_allclose(v, [-1.92, -1.92, -5.6, -5.6], atol=0.2)


MEASURE = Lebesgue(Gaussian(1.0, 1))
PLAIN = Schrodinger(square, MEASURE)
DIVERGENCE = SelfAdjointDifferential(
    MEASURE, diffusion=lambda x: torch.eye(1).to(x).expand(len(x), 1, 1)
)
KERNEL = Kernel(lambda y, x: torch.exp(-((y - x.T) ** 2)), Distribution(Gaussian(1.0, 1)))
LINE = EuclideanSpace(1)
BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "modes": (
        lambda: eigenfunctions(PLAIN, 0, LINE),
        "modes must be a whole number of at least 1, got 0",
    ),
    "budget": (lambda: eigenfunctions(PLAIN, 2, LINE, budget=0), "budget must be a number above 0"),
    "NaN": (
        lambda: eigenfunctions(PLAIN, 2, LINE, budget=math.nan),
        "budget must be a number above 0",
    ),
    "weak": (lambda: eigenfunctions(DIVERGENCE, 2, LINE), "has no pointwise action"),
    "derived": (lambda: eigenfunctions(2 * DIVERGENCE + 1.0, 2, LINE), "no pointwise action"),
    "sum": (lambda: eigenfunctions(PLAIN + DIVERGENCE, 2, LINE), "no pointwise action"),
    "kernel": (lambda: eigenfunctions(KERNEL, 2, NormalSpace(1)), "no pointwise action"),
    "matrix": (lambda: eigenfunctions(Matrix(np.eye(3)), 2, LINE), "no pointwise action"),
    "dimension": (lambda: eigenfunctions(PLAIN, 2, EuclideanSpace(2)), "form lives in 1 dim"),
    "shifted": (lambda: eigenfunctions(PLAIN + 1.0, 2, EuclideanSpace(2)), "form lives in 1 dim"),
    "where": (lambda: eigenfunctions(DIVERGENCE, 2), "say where the functions live"),
    "which": (lambda: eigenfunctions(PLAIN + PLAIN, 2), "say where the functions live"),
    "walls": (lambda: eigenfunctions(walls(1), 2), "say what holds at the walls"),
    "unbound": (lambda: bound_states(nothing, 2, 2), "fewer than 2 bound states"),
    "no states": (lambda: bound_states(square, 2, 0), "modes must be a whole number of at least 1"),
    "too many": (
        lambda: eigenfunctions(PLAIN, 40, LINE, choice=FeatureChoice(3, 200)),
        "these features span fewer than 40",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_requests_are_named(name: str) -> None:
    request, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        request()
