"""Convection–diffusion: against self-adjoint forms, against its adjoint, and in bad hands."""

import pytest
import torch

from schmidt.operators import (
    ConvectionDiffusion,
    Distribution,
    Gaussian,
    Lebesgue,
    NotSelfAdjointError,
    Sample,
    Schrodinger,
    fit,
)
from schmidt.operators.jet import forward_mode
from schmidt.operators.training import Training

MEASURE = Lebesgue(Gaussian(1.2, 2))


def functions(x):
    r2 = x.pow(2).sum(1)
    return torch.stack([(-r2 / 2).exp(), x[:, 0] * (-r2 / 3).exp(), (-(r2 + x[:, 1]) / 2).exp()], 1)


def drift(x):
    return torch.stack([x[:, 1] + x[:, 0] ** 2, -2 * x[:, 0]], 1)


def matrix(form, function=functions):
    sample = form.evaluation()
    jet = forward_mode(function, sample.x.x, form.order)
    return form.matrix(jet, jet, sample)


def test_without_a_drift_it_is_a_schrodinger_operator():
    potential = lambda x: x[:, 0] ** 4  # noqa: E731
    a = ConvectionDiffusion(MEASURE, torch.zeros_like, 0.5, potential)
    b = Schrodinger(potential, MEASURE, form="strong", kinetic=0.5)
    torch.testing.assert_close(matrix(a), matrix(b))


def test_its_adjoint_turns_the_drift_around():
    """⟨g|a∇²f + b·∇f⟩ = ⟨a∇²g − b·∇g − (∇·b)g|f⟩, with ∇·b = 2x here."""
    forward = ConvectionDiffusion(MEASURE, drift, 0.7)
    adjoint = ConvectionDiffusion(MEASURE, lambda x: -drift(x), 0.7, lambda x: 2 * x[:, 0])
    torch.testing.assert_close(matrix(forward), matrix(adjoint).T, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(matrix(forward), matrix(forward).T, atol=0.1)


def test_a_field_of_diffusion_comes_with_its_own_drift():
    """∇·(a∇f) = a∇²f + ∇a·∇f is symmetric."""
    form = ConvectionDiffusion(
        MEASURE,
        lambda x: torch.stack([2 * x[:, 0], 0 * x[:, 0]], 1),
        lambda x: 1 + x[:, 0] ** 2,
    )
    pi = matrix(form)
    torch.testing.assert_close(pi, pi.T, rtol=1e-9, atol=1e-9)


def test_precision_shifts_and_complex_functions():
    form = 2 * ConvectionDiffusion(MEASURE, drift, 0.7) + 3.0
    assert form.orders() == (2, 0)
    points = MEASURE.sample(64, torch.Generator().manual_seed(0))
    small = Sample(points, points).to("cpu", torch.float32)
    jet = forward_mode(functions, small.x.x, 2)
    assert form.matrix(jet, jet, small).dtype == torch.float32
    wide = Sample(points, points)
    real = forward_mode(functions, points.x, 2)
    turned = type(real)(1j * real.streams, real.dim, 2)
    torch.testing.assert_close(form.action(turned, wide), 1j * form.action(real, wide))
    several = type(real)(real.streams[..., None].expand(*real.streams.shape, 2), real.dim, 2)
    torch.testing.assert_close(form.action(several, wide)[..., 1], form.action(real, wide))


def test_eigenvalues_are_refused_unless_it_is_reversible():
    """−x·∇ + ∇² is self-adjoint under the normal law, not under dx."""
    law = Distribution(Gaussian(1.0, 1))
    network = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    training = Training(steps=2, batch=256)
    reversible = ConvectionDiffusion(law, lambda x: -x) + 2.5
    assert fit(reversible, network, training=training, progress=False).steps == 2
    known = ConvectionDiffusion(law, lambda x: -x, self_adjoint=False)
    with pytest.raises(NotSelfAdjointError):
        fit(known, network, training=training, progress=False)


def test_wrong_shapes_and_signs_are_named():
    with pytest.raises(ValueError, match=r"the drift must map points \(B, d\) to vectors"):
        matrix(ConvectionDiffusion(MEASURE, lambda x: x[:, 0]))
    with pytest.raises(ValueError, match="diffusion must be a number above 0, got -1"):
        ConvectionDiffusion(MEASURE, drift, -1.0)
    with pytest.raises(ValueError, match="the diffusion must map"):
        matrix(ConvectionDiffusion(MEASURE, drift, lambda x: x))
    with pytest.raises(ValueError, match="the potential must map"):
        matrix(ConvectionDiffusion(MEASURE, drift, 1.0, lambda x: x))
