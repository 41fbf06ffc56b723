"""The objective of B.2.1 for SpIN-X: masked gradients of its terms, and balanced weights."""

import pytest
import torch

from schmidt.operators import (
    Ansatz,
    DisjointMLP,
    Distribution,
    Gaussian,
    GaussianEnvelope,
    Jet,
    Kernel,
    Lebesgue,
    Radial,
    Schrodinger,
    inner,
)
from schmidt.operators.jet import Exact
from schmidt.operators.methods import Batch, SpINX
from schmidt.operators.methods.spin import _Squares


def parts(gram, pi, square):
    """Λ_ll and ‖(T − Λ_ll)φ_l‖² from Σ, Π and ⟨T f_i|T f_l⟩."""
    inverse = torch.linalg.inv(torch.linalg.cholesky(gram))
    values = (inverse @ pi @ inverse.T).diagonal()
    return values, (inverse @ square @ inverse.T).diagonal() - values.square()


def test_terms_are_masked_gradients_of_eigenvalues_and_residuals(case):
    """Finite differences of every term in f_l alone."""
    a = case.a

    def of(u):
        return parts(u.T @ u, u.T @ a @ u, u.T @ a @ a @ u)

    method = case.prepare(SpINX([1.0, 2.0, 3.0, 4.0]))
    terms = method.terms(case.form, *case.batches())
    rows = [torch.autograd.grad(t, case.u, retain_graph=True)[0] for t in terms]
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    traces = case.differences(lambda u: -weights / weights.mean() * of(u)[0])
    torch.testing.assert_close(rows[0], traces, rtol=1e-6, atol=1e-8)
    residuals = case.differences(lambda u: of(u)[1])
    for mode, row in enumerate(rows[1:]):
        expected = torch.zeros_like(residuals)
        expected[:, mode] = residuals[:, mode]
        torch.testing.assert_close(row, expected, rtol=1e-6, atol=1e-8)
    values, residual = of(case.u.detach())
    wanted = (residual - weights * values).mean()
    found = method.objective(case.form, *case.batches())
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=0)


def test_every_term_pulls_equally_hard(case):
    """w_l = Σ_k K_k / K_l: each weighted gradient has the norm Σ_k K_k / L, but for a."""
    method = case.prepare(SpINX(3.0))
    terms = method.terms(case.form, *case.batches())
    rows = [torch.autograd.grad(t, case.u, retain_graph=True)[0] for t in terms]
    k = torch.stack([row.norm() for row in rows])
    factors = [3.0, 1.0, 1.0, 1.0, 1.0]
    expected = sum(c * row / row.norm() for c, row in zip(factors, rows, strict=True))
    expected = expected * k.sum() / 4
    torch.testing.assert_close(case.gradient(method), expected, rtol=1e-10, atol=1e-12)


def test_gradients_go_through_second_derivatives():
    """On networks, in float64, against differences in the parameters of one function."""
    measure = Lebesgue(Radial(2, scale=0.7, outer=6.0, inner=1e-3))
    form = Schrodinger(lambda x: x.pow(2).sum(1), measure, form="strong")
    sample = form.sample(60, torch.Generator().manual_seed(0))
    network = Ansatz(DisjointMLP(2, 3, (5, 4)), GaussianEnvelope([1.0], learn=False)).double()
    points, weight = sample.x.x, sample.x.weight
    parameters = {n: p for n, p in network.named_parameters() if p.requires_grad}

    def residuals():
        with torch.no_grad():
            jet = Exact()(network, points, 2)
            image = form.action(jet, sample)
            gram, pi = inner(jet.value, jet.value, weight), inner(jet.value, image, weight)
            # the same Π as in training, where the points make it a little unsymmetric
            return parts(gram, (pi + pi.T) / 2, inner(image, image, weight))[1]

    jet = Exact()(network, points, 2)
    batch = Batch(sample, jet, jet.lower(0), True)
    method = SpINX()
    method.prepare(form, batch, parameters)
    terms = method.terms(form, batch, batch)[1:]
    rows = torch.autograd.grad(terms.sum(), list(parameters.values()))
    generator = torch.Generator().manual_seed(1)
    for parameter, row in zip(parameters.values(), rows, strict=True):
        for mode in range(3):
            direction = torch.zeros_like(parameter)
            direction[mode] = torch.randn(parameter[mode].shape, generator=generator).double()
            ends = []
            for step in (1e-5, -2e-5):
                with torch.no_grad():
                    parameter.add_(step * direction)
                ends.append(residuals()[mode])
            with torch.no_grad():
                parameter.add_(1e-5 * direction)
            expected = (ends[0] - ends[1]) / 2e-5
            torch.testing.assert_close((row * direction).sum(), expected, rtol=1e-5, atol=1e-6)


def test_images_of_kernels_are_squared_without_bias():
    """(T f)(y) from points x is an estimate; its square needs independent points."""
    form = Kernel(
        lambda y, x: (-((y - x.T) ** 2)).exp(), Distribution(Gaussian(1.0, 1)), symmetric=True
    )
    whole = form.evaluation(256)

    def batch(sample):
        f, g = (torch.stack([p.x[:, 0] ** 0, p.x[:, 0]], 1) for p in (sample.x, sample.y))
        return Batch(sample, Jet(f[None], 1, 0), Jet(g[None], 1, 0), True)

    image = form.action(batch(whole).f, whole)
    exact = inner(image, image, whole.y.weight)
    generator, found, naive = torch.Generator().manual_seed(0), [], []
    for _ in range(800):
        halves = [form.sample(4, generator).to(None, torch.float64) for _ in range(2)]
        first, second = (batch(half) for half in halves)
        found.append(_Squares.of(form, first, second).square)
        naive.append(_Squares.of(form, first, first).square)

    def off(draws):
        stack = torch.stack(draws)
        return float(((stack.mean(0) - exact) / stack.std(0)).abs().max()) * len(stack) ** 0.5

    assert off(found) < 4
    assert off(naive) > 6


def test_it_needs_the_action_of_the_operator():
    weak = Schrodinger(
        lambda x: x.pow(2).sum(1), Lebesgue(Radial(2, scale=0.7, outer=6.0, inner=1e-3))
    )
    sample = weak.sample(16, torch.Generator().manual_seed(0))
    network = DisjointMLP(2, 2, (3,)).double()
    jet = Exact()(network, sample.x.x, 1)
    with pytest.raises(ValueError, match=r"SpIN-X needs T f at points: .*form='strong'"):
        SpINX().prepare(weak, Batch(sample, jet, jet, True), dict(network.named_parameters()))
    with pytest.raises(ValueError, match="one weight a or 2 of them, got 3"):
        SpINX([1.0] * 3).prepare(weak, Batch(sample, jet, jet, True), {})
    with pytest.raises(ValueError, match="weights a must be positive"):
        SpINX([1.0, 0.0])
