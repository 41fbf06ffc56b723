"""Rayleigh–Ritz in given spans: kernels and differential forms, and points that are exploited."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from schmidt.operators import Distribution, Gaussian, Kernel, Lebesgue, Sample, Schrodinger
from schmidt.operators.ritz import EuclideanSpace, galerkin

Functions = Callable[[Tensor], Tensor]


def halves(form: Kernel | Schrodinger, n: int, seed: int = 0) -> dict[str, Sample]:
    generator = torch.Generator().manual_seed(seed)
    return {"sample": form.sample(n, generator), "held_out": form.sample(n, generator)}


def waves(count: int, seed: int) -> Functions:
    """Random plane waves."""
    generator = torch.Generator().manual_seed(seed)
    k = 1.5 * torch.randn(1, count, generator=generator, dtype=torch.float64)
    b = 6 * torch.rand(1, count, generator=generator, dtype=torch.float64)
    return lambda x: torch.cos(x @ k + b)


def quadrature_svd(form: Kernel):
    s = form.evaluation()
    roots = s.y.weight.sqrt()[:, None], s.x.weight.sqrt()
    return np.linalg.svd((roots[0] * form.kernel(s.y.x, s.x.x) * roots[1]).numpy()), s


def test_eigenvalues_of_a_symmetric_kernel() -> None:
    """Against its quadrature, functions included."""
    law = Distribution(Gaussian(1.0, 1))
    form = Kernel(lambda y, x: (-((y - x.T) ** 2)).exp(), law, symmetric=True)
    (_, s, vh), at = quadrature_svd(form)
    features = waves(40, 1)
    found = galerkin(form, features, modes=4, **halves(form, 1024))
    np.testing.assert_allclose(found.values, s[:4], rtol=5e-3)
    assert found.mix_g is found.mix_f
    f = features(at.x.x) @ found.mix_f * at.x.weight.sqrt()[:, None]
    overlap = np.abs(vh[:4] @ f.numpy())
    np.testing.assert_allclose(overlap, np.eye(4), atol=0.03)


def test_singular_values_of_a_kernel_between_two_spaces() -> None:
    form = Kernel(
        lambda y, x: (-((y - 0.7 * x.T - 0.3) ** 2)).exp(),
        Distribution(Gaussian(1.0, 1)),
        Distribution(Gaussian(1.5, 1)),
    )
    (u, s, vh), at = quadrature_svd(form)
    f, g = waves(40, 1), waves(30, 2)
    found = galerkin(form, f, g, modes=3, **halves(form, 1024))
    assert (found.mix_f.shape, found.mix_g.shape) == ((40, 3), (30, 3))
    np.testing.assert_allclose(found.values, s[:3], rtol=1e-2)
    left = g(at.y.x) @ found.mix_g * at.y.weight.sqrt()[:, None]
    right = f(at.x.x) @ found.mix_f * at.x.weight.sqrt()[:, None]
    signs = np.sign(np.diag(u[:, :3].T @ left.numpy()))
    np.testing.assert_allclose(u[:, :3].T @ left.numpy() * signs, np.eye(3), atol=0.05)
    np.testing.assert_allclose(vh[:3] @ right.numpy() * signs, np.eye(3), atol=0.05)


@pytest.mark.parametrize("kind", ["weak", "strong"])
def test_differential_forms_of_either_kind(hermite: Functions, kind: str) -> None:
    form = Schrodinger(lambda x: x.pow(2).sum(1), Lebesgue(Gaussian(1.2, 1)), form=kind)
    points = form.measure.rule(60)
    fixed = Sample(points, points)
    turn = torch.randn(5, 5, dtype=torch.float64)
    found = galerkin(form, lambda x: hermite(x) @ turn, modes=3, sample=fixed, held_out=fixed)
    np.testing.assert_allclose(found.values, [-1, -3, -5], atol=1e-8)


def test_points_in_chunks_are_all_points() -> None:
    form = Schrodinger(lambda x: x.pow(2).sum(1), Lebesgue(Gaussian(1.2, 2)))
    features = EuclideanSpace(2).features(EuclideanSpace(2).start(3))
    few, many = (galerkin(form, features, modes=3, **halves(form, n)) for n in (2000, 8000))
    np.testing.assert_allclose(few.values, [-2, -4, -4], rtol=2e-2)
    np.testing.assert_allclose(many.values, [-2, -4, -4], rtol=2e-3)


def test_a_cut_that_exploits_the_points_is_rejected() -> None:
    """With half as many functions as random points, all of them make values that are too good;
    held-out points say so, judging by the points themselves does not."""
    form = Schrodinger(lambda x: x.pow(2).sum(1), Lebesgue(Gaussian(1.2, 1), "plain"))
    space = EuclideanSpace(1, reach=3.0)
    features = space.features(space.start(3))
    parts = halves(form, 60)
    honest = galerkin(form, features, modes=3, **parts)
    fooled = galerkin(form, features, modes=3, sample=parts["sample"], held_out=parts["sample"])
    assert honest.cut > fooled.cut
    exact = form.measure.rule(100)
    errors = []
    for found in (honest, fooled):
        f = features(exact.x).detach() @ found.mix_f * exact.weight.sqrt()[:, None]
        errors.append(float((f.T @ f - torch.eye(3)).abs().max()))
    assert errors[0] < errors[1] / 3


def test_too_few_functions_are_an_error() -> None:
    form = Kernel(lambda y, x: y * x.T, Distribution(Gaussian(1.0, 1)), symmetric=True)
    repeated = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 6)).double()
    with pytest.raises(ValueError, match="span fewer than 4 functions on these points"):
        galerkin(form, repeated, modes=4, **halves(form, 100))
