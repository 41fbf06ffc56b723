"""Potentials on which certificates were once false: the right values, or an alarm and not met."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.linalg import eigh
from torch import Tensor

from schmidt.operators import (
    ConvectionDiffusion,
    Lebesgue,
    Ritz,
    Schrodinger,
    SelfAdjointDifferential,
    UniformBox,
    bound_states,
    eigenfunctions,
)
from schmidt.operators.measures import Periodic, Weighted
from schmidt.operators.ritz import (
    AlarmWarning,
    BoxSpace,
    EuclideanSpace,
    LineSpace,
    TorusSpace,
    count_below,
)
from schmidt.operators.ritz.index import at_most_below
from schmidt.problems.formula import formula

BRIEF = {"budget": 2.0, "progress": False}


def solve(text: str, modes: int, **settings: float) -> Ritz:
    return bound_states(formula(text, 1), 1, modes, progress=False, **settings)


KNOWN: dict[str, tuple[str, list[float], float]] = {
    "oscillator": ("x^2", [1, 3, 5, 7], 1e-11),
    "tails, Pöschl–Teller": ("-30/cosh(x)^2", [-25, -16, -9, -4, -1], 1e-10),
    "the last state": ("-33.39/cosh(x)^2", [-28.09, -18.49, -10.89, -5.29, -1.69, -0.09], 1e-9),
    "a second well, far": ("min(x^2,(x-300)^2-3)", [-2, 0, 1], 1e-10),
    "a second well": ("min(x^2,(x-30)^2-3)", [-2, 0, 2 - 1], 1e-10),
    "a narrow dip": ("x^2-3200*exp(-(x-1.1)^2/5e-7)", [-2.757, 1.678], 1e-3),
    "a weak well": ("-0.001*exp(-x^2)", [-7.8429e-7], 1e-10),
    "kink": ("abs(x)", [1.018792971647471, 2.338107410459767, 3.248197582179837], 1e-10),
    "quartic": ("x^4", [1.060362090484183, 3.799673029801394, 7.455697937986738], 1e-10),
    "Morse, to the last": ("25*((1-exp(-x))^2-1)", [-20.25, -12.25, -6.25, -2.25, -0.25], 1e-10),
    "soft Coulomb": ("-1/sqrt(x^2+1)", [-0.5880939, -0.1785629], 1e-6),
}


@pytest.mark.parametrize("name", KNOWN)
def test_formulas_of_one_dimension_are_right_and_proven(name: str) -> None:
    text, exact, tolerance = KNOWN[name]
    found = solve(text, len(exact))
    error = np.abs(found.energies - exact)
    assert error.max() < tolerance
    assert (error <= found.radius + tolerance).all()
    assert found.certificate.alarms == ()
    assert found.certificate.met
    assert found.certificate.failure <= 1e-6
    assert "index proven" in found.certificate.notes[-1]


def test_a_finite_square_well() -> None:
    """Depth 100, half width 1: k tan k = q and −k cot k = q with k² + q² = 100."""
    found = bound_states(lambda x: -100.0 * (x[:, 0].abs() < 1), 1, 7, progress=False)
    k = np.sqrt(found.energies + 100)
    q = np.sqrt(-found.energies)
    even, odd = k * np.sin(k) - q * np.cos(k), k * np.cos(k) + q * np.sin(k)
    assert np.abs(even[::2]).max() < 1e-8
    assert np.abs(odd[1::2]).max() < 1e-8
    assert "index counted" in found.certificate.notes[-1]
    assert not found.certificate.met  # a function can hide anything between two points


def test_a_hundred_levels_of_one_dimension() -> None:
    found = solve("x^2", 100)
    np.testing.assert_allclose(found.energies, 2 * np.arange(100) + 1, rtol=1e-11)
    assert found.certificate.met


def test_the_splitting_of_a_double_well_has_an_error_of_its_own() -> None:
    found = solve("(x^2-16)^2", 2)
    apart, error = found.splittings
    assert apart[0] < 1e-8
    assert error[0] >= apart[0]


def test_tails_cover_the_line() -> None:
    """Functions of the line vanish, with their slopes, where elements end, and not before."""
    space = LineSpace(formula("-1.6*exp(-x^2/2)", 1), 1)
    ends = torch.tensor([[space.found.elements.low[0]], [space.found.elements.high[-1]]])
    jet = space.found.functions.jet(ends, 1)
    peak = float(space.found.functions(torch.zeros(1, 1, dtype=torch.float64)).abs().max())
    assert float(jet.streams.abs().max()) < 1e-12 * peak


@pytest.mark.parametrize(
    ("text", "modes", "message"),
    [
        ("-0.5*exp(-x^2)", 2, "holds 1 bound state below"),
        ("-x^4", 1, "falls without end on the left and on the right"),
        ("x", 1, "falls without end on the left"),
        ("3", 1, "spectrum is continuous"),
        ("log(x)", 1, "NaN at x = "),
        ("sqrt(x)", 1, "NaN at x = "),
        ("-33.39/cosh(x)^2", 7, "holds 6 bound states below"),
    ],
)
def test_refusals_name_their_situation(text: str, modes: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solve(text, modes)


@pytest.mark.parametrize(
    "potential",
    [
        lambda x: np.sum(x**2, axis=-1),
        lambda x: x**2,
        lambda x: (np.asarray(x) ** 2)[:, 0],
        lambda x: x[:, 0] ** 2,
    ],
)
def test_potentials_may_be_written_with_numpy(potential: Callable[[Tensor], Tensor]) -> None:
    found = bound_states(potential, 1, 2, progress=False)
    np.testing.assert_allclose(found.energies, [1, 3], atol=1e-10)


def test_potentials_of_numpy_in_the_plane() -> None:
    found = bound_states(lambda x: np.sum(x**2, axis=-1), 2, 1, budget=1, progress=False)  # type: ignore
    assert found.energies[0] == pytest.approx(2, abs=1e-6)
    assert not found.certificate.met
    assert "narrower features are not excluded" in found.certificate.notes[-1]


def test_a_search_that_misses_a_well_is_told() -> None:
    """Features around the origin see one of two wells."""
    form = Schrodinger(formula("min(x^2,(x-30)^2-3)", 1), Lebesgue(UniformBox(-9, 40, 1)))
    with pytest.warns(AlarmWarning, match="levels lie below"):
        found = eigenfunctions(form, 2, EuclideanSpace(1), budget=0.5, progress=False)
    assert not found.certificate.met


def test_a_second_well_of_the_plane_is_told() -> None:
    def wells(x: Tensor) -> Tensor:
        far = x - torch.tensor([60.0, 0.0]).to(x)
        return torch.minimum(x.pow(2).sum(1), far.pow(2).sum(1) - 3)

    form = Schrodinger(wells, Lebesgue(UniformBox(-9, 40, 2)))
    with pytest.warns(AlarmWarning, match="beyond the solver's points"):
        eigenfunctions(form, 1, EuclideanSpace(2), budget=0.5, progress=False)


def zero(x: Tensor) -> Tensor:
    return 0 * x[:, 0]


def cosines(x: Tensor) -> Tensor:
    return torch.cat([(k * math.pi / 2 * x).cos() for k in range(8)], 1)


@pytest.mark.filterwarnings("ignore::schmidt.operators.ritz.AlarmWarning")
def test_features_that_ignore_the_walls_are_told() -> None:
    form = Schrodinger(zero, Lebesgue(UniformBox(0, 1, 1)))
    found = eigenfunctions(form, 2, BoxSpace(1), features=cosines, progress=False)
    assert any("do not vanish on the walls" in alarm for alarm in found.certificate.alarms)
    assert not found.certificate.met


@pytest.mark.filterwarnings("ignore::schmidt.operators.ritz.AlarmWarning")
def test_features_that_are_not_periodic_are_told() -> None:
    form = Schrodinger(zero, Lebesgue(Periodic(dim=1)))
    own = {"features": lambda x: cosines(x / 3), "progress": False}
    found = eigenfunctions(form, 2, TorusSpace(1), **own)  # type: ignore[arg-type]
    assert any("not periodic" in alarm for alarm in found.certificate.alarms)


@pytest.mark.filterwarnings("ignore::schmidt.operators.ritz.AlarmWarning")
def test_bounds_wider_than_the_spacing_are_told() -> None:
    """x² + 10⁸y²: levels 2 apart on top of 10⁴."""
    found = bound_states(
        lambda x: x[:, 0] ** 2 + 1e8 * x[:, 1] ** 2, 2, 4, budget=0.3, progress=False
    )
    if found.radius.max() > 1:
        assert found.certificate.alarms


def test_the_count_is_an_upper_bound() -> None:
    """Of −u″ + x²: one level below every odd number that is passed."""
    enclose = formula("x^2", 1).enclose
    for n in range(1, 12):
        most = at_most_below(enclose, 2.0 * n, 0.05)
        assert most == n
        most = at_most_below(enclose, 2.0 * n + 1.2, 0.05)
        assert most is not None
        assert most >= n + 1


@pytest.mark.parametrize(
    "text",
    ["x^2", "sin(3*x)/x", "exp(-x^2)*cos(x)", "abs(x-1)^1.5", "x^4-4*x^2", "min(x,1/x^2)",
     "tan(x)", "2^x-x/(1+x^2)", "tanh(x)*max(x,2)", "log(abs(x))", "sqrt(x^2+1)"],
)  # fmt: skip
def test_enclosures_hold_every_value(text: str) -> None:
    f = formula(text, 1)
    generator = np.random.default_rng(0)
    low = generator.normal(size=200) * 4
    high = low + generator.exponential(size=200) * 10 ** generator.uniform(-6, 1, 200)
    least, most = f.enclose(low, high)
    for share in np.linspace(0, 1, 21):
        x = low + share * (high - low)
        v = f(torch.from_numpy(x)[:, None]).numpy()
        fine = np.isfinite(v)
        assert (~(v[fine] < least[fine])).all()
        assert (~(v[fine] > most[fine])).all()


@pytest.mark.parametrize("dim", [1, 2])
def test_a_known_factor_may_have_one_axis(dim: int) -> None:
    def factor(x: Tensor) -> Tensor:
        return (-x.pow(2).sum(1) / 2).exp()

    space = EuclideanSpace(dim, factor=factor)
    form = Schrodinger(lambda x: x.pow(2).sum(1), space.measure())
    found = eigenfunctions(form, 1, space, budget=0.3, progress=False)
    assert found.energies[0] == pytest.approx(dim, abs=1e-8)


def test_small_elements_keep_their_second_derivatives() -> None:
    """log|x| is rough at the origin on every scale; a well with jumps has elements beside them."""
    found = solve("log(abs(x))", 3)
    np.testing.assert_allclose(found.energies, [-0.5298378, 1.0443323, 1.4580896], atol=1e-6)
    assert found.radius.max() < 2e-3
    assert found.certificate.alarms == ()
    well = solve("-100*(abs(x) < 1)", 7)
    assert well.radius.max() < 1e-6
    assert well.certificate.met


@pytest.mark.parametrize(("centre", "dim"), [((3.0, 0.0, 0.0), 3), ((1.0, -2.0), 2)])
def test_a_coulomb_centre_may_lie_anywhere(centre: tuple[float, ...], dim: int) -> None:
    """−2/|x − c| in space and −1/|x − c| in the plane: −1."""
    charge = dim - 1

    def attraction(x: Tensor) -> Tensor:
        return -charge / (x - torch.tensor(centre).to(x)).norm(dim=1)

    found = bound_states(attraction, dim, 1, **BRIEF)  # type: ignore[arg-type]
    assert abs(found.energies[0] + 1) < min(1e-6, float(found.radius[0]))
    assert found.certificate.alarms == ()


HELIUM = "-2/sqrt(x1^2+x2^2+x3^2) - 2/sqrt(x4^2+x5^2+x6^2) + 1/sqrt((x1-x4)^2+(x2-x5)^2+(x3-x6)^2)"


@pytest.mark.parametrize(
    ("text", "dim", "modes", "message"),
    [
        (HELIUM, 6, 1, "knows one such centre"),
        ("-1/sqrt((x-1)^2+y^2)-1/sqrt((x+1)^2+y^2)", 2, 1, "knows one such centre"),
        ("-0.5*exp(-r^2)", 2, 1, "the well is weak"),
        ("-0.5*exp(-r^2)", 3, 1, "the well is weak"),
        ("-x^4-y^4", 2, 1, "unbounded below"),
        ("0*x", 2, 1, "spectrum is continuous"),
        ("-20*exp(-(x-3000)^2-y^2)", 2, 1, "far from the origin"),
        ("-30/cosh(r)^2", 2, 40, "room for about"),
    ],
)
def test_refusals_in_space_name_their_situation(
    text: str, dim: int, modes: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        bound_states(formula(text, dim), dim, modes, **BRIEF)  # type: ignore[arg-type]


RADIAL = {
    ("-1/sqrt(r^2+1)", 2): [-0.327738118, -0.114079],
    ("-8*exp(-r^2)", 2): [-3.387502335],
    ("-30/cosh(r)^2", 3): [-16.0, -10.39],
}


@pytest.mark.filterwarnings("ignore::schmidt.operators.ritz.AlarmWarning")
@pytest.mark.parametrize(("text", "dim"), RADIAL)
def test_tails_in_space_are_covered(text: str, dim: int) -> None:
    exact = RADIAL[text, dim][0]
    found = bound_states(formula(text, dim), dim, 1, **BRIEF)  # type: ignore[arg-type]
    assert abs(found.energies[0] - exact) <= found.radius[0] + 1e-8
    assert not found.certificate.met


@pytest.mark.filterwarnings("ignore::schmidt.operators.ritz.AlarmWarning")
def test_a_strong_drift_on_a_box_is_told() -> None:
    """f″ + 100 f′ on [0, 1]: −2500 − π²n²; condition numbers of e^50."""
    form = ConvectionDiffusion(Lebesgue(UniformBox(0, 1, 1)), lambda x: 100 + 0 * x)
    found = eigenfunctions(form, 1, BoxSpace(1), **BRIEF)  # type: ignore[arg-type]
    right = abs(found.values[0] + 2500 + math.pi**2) < 1
    assert right or found.certificate.alarms
    assert not found.certificate.met


def test_self_adjoint_operators_of_the_docs_are_solved() -> None:
    """−((1 + x) f′)′ + f on [0, 1] = λ(1 + x)f, against 24 Legendre polynomials."""
    plain = Lebesgue(UniformBox(0, 1, 1))

    def density(x: Tensor) -> Tensor:
        return 1 + x[:, 0]

    form = SelfAdjointDifferential(
        Weighted(plain, density), diffusion=density, potential=lambda x: 1 + 0 * x[:, 0]
    )
    space = BoxSpace(1, density=density)
    found = eigenfunctions(form, 2, space, **BRIEF)  # type: ignore[arg-type]
    t, w = np.polynomial.legendre.leggauss(200)
    x, w = (1 + t) / 2, w / 2
    basis = [np.polynomial.Legendre.basis(n, [0, 1]) for n in range(24)]
    f = np.array([x * (1 - x) * p(x) for p in basis])
    slope = np.array([(1 - 2 * x) * p(x) + x * (1 - x) * p.deriv()(x) for p in basis])
    stiff = (slope * (1 + x) * w) @ slope.T + (f * w) @ f.T
    exact = eigh(stiff, (f * (1 + x) * w) @ f.T, eigvals_only=True)[:2]
    assert (np.abs(found.energies - exact) <= found.radius + 1e-10).all()
    assert (found.radius < 1e-6).all()


@pytest.mark.filterwarnings("ignore::schmidt.operators.ritz.AlarmWarning")
@pytest.mark.parametrize(
    ("diffusion", "space", "told"),
    [
        (lambda x: 1 + (x[:, 0] > 0.37), BoxSpace(1), True),
        (lambda x: 1 + (x[:, 0] - 0.37).abs(), BoxSpace(1), False),
        (lambda x: 1 + x[:, 0], TorusSpace(1), True),
    ],
)
def test_a_diffusion_that_jumps_is_told(
    diffusion: Callable[[Tensor], Tensor], space: BoxSpace | TorusSpace, told: bool
) -> None:
    form = SelfAdjointDifferential(Lebesgue(UniformBox(0, 1, 1)), diffusion=diffusion)
    found = eigenfunctions(form, 1, space, budget=0.3, progress=False)
    assert any("diffusion has jumps" in a for a in found.certificate.alarms) is told
    assert not found.certificate.met


def test_errors_are_measured_where_t_is_self_adjoint() -> None:
    weighted = Weighted(Lebesgue(UniformBox(0, 1, 1)), lambda x: 1 + x[:, 0])
    with pytest.raises(ValueError, match="give the space density"):
        eigenfunctions(SelfAdjointDifferential(weighted), 1, BoxSpace(1), progress=False)


@pytest.mark.parametrize(
    ("text", "energy", "count", "proven"),
    [
        ("-30/cosh(x)^2", -0.5, 5, True),
        ("-30/cosh(x)^2", None, 5, False),
        ("min(x^2,(x-300)^2-3)", 5.9, 7, True),
        ("-100*(abs(x)<1)", -1.0, 7, True),
        ("x^2", -1.0, 0, True),
        ("3", None, 0, False),
        ("x^2", 3.0, 1, False),  # a level at E counts neither way
    ],
)
def test_levels_are_counted_by_themselves(
    text: str, energy: float | None, count: int, proven: bool
) -> None:
    found = count_below(formula(text, 1), energy)
    assert int(found) == count
    assert found.certificate.met is proven
    assert count in found.certificate["count"]


def test_no_number_of_levels_lies_in_a_continuum() -> None:
    with pytest.raises(ValueError, match="continuous from 0 on"):
        count_below(formula("-exp(-x^2)", 1), 1.0)
    with pytest.raises(ValueError, match="give an energy"):
        count_below(formula("x^2", 1))
