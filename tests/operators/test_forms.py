"""Forms: their algebra, their agreement with each other and with exact matrix elements."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.linalg import eigh
from scipy.optimize import brentq
from scipy.special import airy

from schmidt.operators import (
    Distribution,
    Gaussian,
    Jet,
    Kernel,
    Lebesgue,
    Radial,
    Schrodinger,
    SelfAdjointDifferential,
    UniformBox,
    inner,
)
from schmidt.operators.jet import forward_mode
from schmidt.operators.measures import SmoothBox, Weighted


def gaussians(x):
    """Two smooth, decaying functions."""
    r2 = x.pow(2).sum(1)
    return torch.stack([(-r2 / 2).exp(), x[:, 0] * (-r2 / 3).exp()], 1)


def sines(x):
    return torch.stack([torch.sin(k * math.pi * x[:, 0]) for k in (1, 2, 3)], 1)


def on_quadrature(form, function):
    sample = form.evaluation()
    jet = forward_mode(function, sample.x.x, form.order)
    return form.matrix(jet, jet, sample), jet, sample


def test_schrodinger_matrix_elements_are_exact():
    """The ground state of the oscillator: ⟨f|∇²−r²|f⟩ = −2⟨f|f⟩ in two dimensions."""
    form = Schrodinger(lambda x: x.pow(2).sum(1), Lebesgue(Gaussian(1.2, 2)))
    pi, jet, sample = on_quadrature(form, gaussians)
    assert pi[0, 0] == pytest.approx(-2 * math.pi, rel=1e-12)
    gram = inner(jet.value, jet.value, sample.x.weight)
    assert pi[0, 0] / gram[0, 0] == pytest.approx(-2, rel=1e-12)


def test_weak_and_strong_forms_agree():
    measure = Lebesgue(Gaussian(1.2, 2))
    potential = lambda x: x[:, 0] ** 4 + x[:, 1].cos()  # noqa: E731
    forms = [Schrodinger(potential, measure, form=k, kinetic=0.5) for k in ("weak", "strong")]
    weak, strong = (on_quadrature(f, gaussians)[0] for f in forms)
    torch.testing.assert_close(weak, strong, rtol=1e-10, atol=1e-10)


def test_sturm_liouville_with_weight_and_matrix_diffusion():
    """−((1+x) f′)′ + x f on [0,1] against the integral by parts in numpy."""
    measure = Lebesgue(UniformBox(0, 1, 1))
    form = SelfAdjointDifferential(
        measure, diffusion=lambda x: 1 + x[:, 0], potential=lambda x: x[:, 0]
    )
    pi, _, _ = on_quadrature(form, sines)
    x, w = np.polynomial.legendre.leggauss(200)
    x, w = (x + 1) / 2, w / 2
    values = np.stack([np.sin(k * np.pi * x) for k in (1, 2, 3)])
    slopes = np.stack([k * np.pi * np.cos(k * np.pi * x) for k in (1, 2, 3)])
    expected = -(slopes * w * (1 + x)) @ slopes.T - (values * w * x) @ values.T
    np.testing.assert_allclose(pi.numpy(), expected, atol=1e-10)


def test_scalar_and_matrix_diffusion_agree():
    measure = Lebesgue(Gaussian(1.2, 2))
    field = lambda x: 1 + x[:, 0] ** 2  # noqa: E731
    scalar = SelfAdjointDifferential(measure, diffusion=field)
    matrix = SelfAdjointDifferential(
        measure, diffusion=lambda x: field(x)[:, None, None] * torch.eye(2, dtype=x.dtype)
    )
    a, b = (on_quadrature(f, gaussians)[0] for f in (scalar, matrix))
    torch.testing.assert_close(a, b)


def ritz(form, size=24):
    """Eigenvalues of −T in the span of sines."""
    modes = math.pi * torch.arange(1, size + 1)
    pi, jet, sample = on_quadrature(form, lambda x: torch.sin(modes.to(x) * x))
    gram = inner(jet.value, jet.value, sample.x.weight)
    return eigh(-pi.numpy(), gram.numpy(), eigvals_only=True)


def airy_eigenvalues(count):
    """Of −f″ = λ(1+x)f on [0,1]: f is an Airy function of −λ^{1/3}(1+x), zero at both ends."""

    def wronskian(value):
        (a0, _, b0, _), (a1, _, b1, _) = (airy(-(value ** (1 / 3)) * x) for x in (1.0, 2.0))
        return a0 * b1 - a1 * b0

    grid = np.arange(1.0, 300.0)
    pairs = itertools.pairwise(grid)
    roots = [brentq(wronskian, a, b) for a, b in pairs if wronskian(a) * wronskian(b) < 0]
    return np.array(roots[:count])


def test_a_weight_on_the_right_gives_the_generalised_eigenvalues():
    measure = Weighted(Lebesgue(UniformBox(0, 1, 1)), lambda x: 1 + x[:, 0])
    exact = airy_eigenvalues(3)
    np.testing.assert_allclose(exact, [6.548, 26.46, 59.67], rtol=2e-4)
    np.testing.assert_allclose(ritz(SelfAdjointDifferential(measure))[:3], exact, rtol=1e-6)


def test_a_weight_changes_inner_products_only():
    plain = Lebesgue(UniformBox(0, 1, 1))
    fields = {"diffusion": lambda x: 1 + x[:, 0], "potential": lambda x: 3.0}
    heavy = Weighted(plain, lambda x: 2 + x[:, 0].sin())
    a, b = (on_quadrature(SelfAdjointDifferential(m, **fields), sines)[0] for m in (plain, heavy))
    torch.testing.assert_close(a, b)
    sample = SelfAdjointDifferential(heavy).sample(64, torch.Generator().manual_seed(0))
    weights = plain.sample(64, torch.Generator().manual_seed(0)).weight
    restored = SelfAdjointDifferential(heavy)._plain(sample.to("cpu", torch.float32))
    torch.testing.assert_close(restored, weights.float())


def test_an_operator_cannot_divide_by_a_density_of_zero():
    measure = Weighted(Lebesgue(UniformBox(-1, 1, 1)), lambda x: x[:, 0].clamp_min(0))
    with pytest.raises(ValueError, match="must be positive"):
        on_quadrature(SelfAdjointDifferential(measure), sines)


@pytest.mark.parametrize("form", ["weak", "strong"])
def test_a_field_may_be_a_number(form):
    measure = Lebesgue(Gaussian(1.2, 2))
    fields = [lambda x: 0.1, lambda x: torch.tensor(0.1).double(), lambda x: 0.1 + 0 * x[:, 0]]
    a, b, c = (on_quadrature(Schrodinger(v, measure, form=form), gaussians)[0] for v in fields)
    torch.testing.assert_close(a, c)
    torch.testing.assert_close(b, c)


def test_fields_follow_the_precision_of_the_points():
    """Constants of float64 in the fields leave a float32 training in float32."""
    measure = Weighted(Lebesgue(Gaussian(1.0, 2)), lambda x: 1 + x[:, 0].double() ** 2)
    constants = torch.tensor([1.0, 2.0], dtype=torch.float64)

    def matrices(x):
        return torch.diag(constants).expand(len(x), 2, 2)

    forms = [
        Schrodinger(lambda x: (x * constants).sum(1), measure, form="strong"),
        SelfAdjointDifferential(
            measure, diffusion=matrices, potential=lambda x: x @ constants.to(x)
        ),
        SelfAdjointDifferential(measure, diffusion=lambda x: (x * constants).pow(2).sum(1)),
    ]
    for form in forms:
        sample = form.sample(32, torch.Generator().manual_seed(0))
        found = []
        for dtype in (torch.float32, torch.float64):
            cast = sample.to("cpu", dtype)
            jet = forward_mode(gaussians, cast.x.x, form.order)
            found.append(form.matrix(jet, jet, cast))
        assert found[0].dtype == torch.float32
        torch.testing.assert_close(found[0].double(), found[1], rtol=1e-3, atol=1e-3)


def test_each_field_is_evaluated_once():
    calls = []

    def field(x):
        calls.append(len(x))
        return 1 + x[:, 0] ** 2

    on_quadrature(SelfAdjointDifferential(Lebesgue(Gaussian(1.0, 2)), diffusion=field), gaussians)
    assert len(calls) == 1


def test_an_asymmetric_diffusion_is_refused():
    measure = Lebesgue(Gaussian(1.0, 2))
    form = SelfAdjointDifferential(
        measure, diffusion=lambda x: torch.tensor([[1.0, 0.5], [0.0, 1.0]]).expand(len(x), 2, 2)
    )
    with pytest.raises(ValueError, match="symmetric"):
        on_quadrature(form, gaussians)


def test_the_algebra_of_forms():
    measure = Lebesgue(Gaussian(1.2, 2))
    a = Schrodinger(lambda x: x.pow(2).sum(1), measure)
    b = Schrodinger(lambda x: x[:, 0].cos(), measure, form="strong")
    base_a, jet, sample = on_quadrature(a, gaussians)
    base_b, _, _ = on_quadrature(b, gaussians)
    gram = inner(jet.value, jet.value, sample.x.weight)
    cases = {
        a + 16.0: base_a + 16 * gram,
        3 + a: base_a + 3 * gram,
        a - 1.0: base_a - gram,
        -a: -base_a,
        2 * a: 2 * base_a,
        a / 4: base_a / 4,
        a + b: base_a + base_b,
        a - 2 * b + 1.0: base_a - 2 * base_b + gram,
    }
    for form, expected in cases.items():
        torch.testing.assert_close(on_quadrature(form, gaussians)[0], expected)
    assert (a + b).order == 2
    assert (a + 1.0).self_adjoint is True


def test_actions_follow_the_algebra():
    measure = Lebesgue(Gaussian(1.2, 2))
    form = Schrodinger(lambda x: x.pow(2).sum(1), measure, form="strong")
    sample = form.evaluation()
    jet = forward_mode(gaussians, sample.x.x, 2)
    # the first function is an eigenfunction of ∇² − r² to the eigenvalue −2
    torch.testing.assert_close(form.action(jet, sample)[:, 0], -2 * jet.value[:, 0])
    torch.testing.assert_close((2 * form + 5.0).action(jet, sample)[:, 0], jet.value[:, 0])


def test_forms_over_different_measures_do_not_add():
    a = Schrodinger(lambda x: x[:, 0], Lebesgue(Gaussian(1.0, 2)))
    b = Schrodinger(lambda x: x[:, 0], Lebesgue(Gaussian(1.0, 2)))
    with pytest.raises(ValueError, match="same measure"):
        _ = a + b


def test_identity_on_different_points_is_refused():
    form = Kernel(lambda y, x: (-((y - x.T) ** 2)).exp(), Distribution(Gaussian(1.0, 1))) + 1.0
    sample = form.sample(5, torch.Generator().manual_seed(0))
    jet = Jet(torch.ones(1, 5, 2, dtype=torch.float64), 1, 0)
    with pytest.raises(ValueError, match="different points"):
        form.matrix(jet, jet, sample)


def test_wrong_field_and_kernel_shapes_are_named():
    form = Schrodinger(lambda x: x, Lebesgue(Gaussian(1.0, 2)))
    with pytest.raises(ValueError, match=r"the potential must map points \(B, d\)"):
        on_quadrature(form, gaussians)
    for shape in ((2,), (3, 3), (2, 2, 2)):
        form = SelfAdjointDifferential(
            Lebesgue(Gaussian(1.0, 2)), diffusion=lambda x, shape=shape: x.new_ones(shape)
        )
        with pytest.raises(ValueError, match=r"the diffusion must map points \(B, d\)"):
            on_quadrature(form, gaussians)
    kernel = Kernel(lambda y, x: (y - x).exp(), Distribution(Gaussian(1.0, 1)))
    with pytest.raises(ValueError, match="the kernel must return shape"):
        on_quadrature(kernel, lambda x: x)


def test_radial_points_tame_the_coulomb_singularity():
    """⟨1/r⟩ of e^{−2r}: 2π ∫ e^{−4r} dr = π/2, from one randomly shifted grid."""
    measure = Lebesgue(Radial(2, scale=1.0, outer=20.0))
    for seed in range(5):
        points = measure.sample(600, torch.Generator().manual_seed(seed))
        r = points.x.norm(dim=1)
        estimate = (points.weight * (-4 * r).exp() / r).sum()
        assert float(estimate) == pytest.approx(math.pi / 2, rel=1e-4)


def test_smoothed_grids_need_no_condition_at_the_walls():
    measure = Lebesgue(SmoothBox(0.0, 1.0, 2))
    for seed in range(5):
        points = measure.sample(900, torch.Generator().manual_seed(seed))
        estimate = (points.weight * points.x.sum(1).exp()).sum()
        assert float(estimate) == pytest.approx((math.e - 1) ** 2, rel=1e-6)


def test_kernels_come_in_blocks_and_are_judged_on_a_bounded_number_of_points(monkeypatch):
    from schmidt.operators import kernel as module

    def rbf(y, x):
        return (-(y[:, None] - x).pow(2).sum(-1)).exp()

    form = Kernel(rbf, Distribution(Gaussian(1.0, 3)), symmetric=True)
    judging = form.evaluation()
    assert len(judging.x) <= module.MOST_POINTS
    assert float(judging.x.weight.sum()) == pytest.approx(1, rel=1e-6)
    sample = form.sample(100, torch.Generator().manual_seed(0))
    jet = Jet(torch.randn(1, len(sample.x), 2, dtype=torch.float64), 3, 0)
    whole = form.action(jet, sample)
    monkeypatch.setattr(module, "BLOCK", 7 * len(sample.x))
    torch.testing.assert_close(form.action(jet, sample), whole)
