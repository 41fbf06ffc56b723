"""Training recovers planted spectra in order, resumes exactly, and fails clearly."""

import numpy as np
import pytest
import torch
from torch import nn

from schmidt.compare import subspace_distance
from schmidt.operators import (
    Distribution,
    Gaussian,
    IndexTable,
    Kernel,
    Matrix,
    Training,
    fit,
)
from support.small import oscillator, small_network

QUICK = Training(steps=1500, batch=1000, optimizer="adam", lr=0.03, ema=0.9, dtype="float64")


def planted(rows, columns, values, seed=0):
    rng = np.random.default_rng(seed)
    u = np.linalg.qr(rng.standard_normal((rows, len(values))))[0]
    v = np.linalg.qr(rng.standard_normal((columns, len(values))))[0]
    return u, np.asarray(values), v, (u * values) @ v.T


def tables(rows, columns, modes, seed=0, outputs=None):
    torch.manual_seed(seed)
    right = IndexTable(columns, modes, outputs=outputs)
    return right, IndexTable(rows, modes, outputs=outputs)


@pytest.mark.parametrize("method", ["sequential", "joint"])
def test_ordered_singular_vectors_of_a_matrix(method):
    """Planted spectrum, 60×40, not symmetric: the top 8 subspace by subspace, by norms alone."""
    values = np.concatenate([[1, 0.8, 0.65, 0.65, 0.5, 0.4, 0.3, 0.25], 0.1 * 0.8 ** np.arange(32)])
    u, s, v, a = planted(60, 40, values)
    result = fit(Matrix(a), *tables(60, 40, 8), method=method, training=QUICK)
    learned = result.learned
    np.testing.assert_allclose(learned.values, s[:8], rtol=1e-3)
    left, right = learned.left(np.arange(60)), learned.right(np.arange(40))
    for group in ([0], [1], [2, 3], [4], [5], [6], [7]):
        assert subspace_distance(left[:, group], u[:, group]) < 1e-3
        assert subspace_distance(right[:, group], v[:, group]) < 1e-3
    approximation = (left * learned.values) @ right.T
    best = (u[:, :8] * s[:8]) @ v[:, :8].T
    assert np.abs(approximation - best).max() < 1e-3


def test_without_nesting_only_the_subspace_is_found_and_ritz_orders_it():
    _, s, v, a = planted(30, 20, 0.8 ** np.arange(20))
    result = fit(Matrix(a), *tables(30, 20, 4), method="none", training=QUICK)
    assert np.abs(result.spectrum.norm - s[:4]).max() > 1e-2
    np.testing.assert_allclose(result.factorization.values, s[:4], rtol=1e-6)
    right = result.factorization.right(np.arange(20))
    assert max(subspace_distance(right[:, [i]], v[:, [i]]) for i in range(4)) < 1e-5


def test_sampled_rows_and_columns_give_the_same_answer():
    """Batches smaller than the matrix: noisy steps, the same singular values."""
    _, s, _, a = planted(60, 40, 0.6 ** np.arange(10))
    training = Training(steps=4000, batch=48, optimizer="adam", lr=0.01, ema=0.999, dtype="float64")
    result = fit(Matrix(a), *tables(60, 40, 3), training=training)
    np.testing.assert_allclose(result.spectrum.norm, s[:3], rtol=0.03)
    np.testing.assert_allclose(result.spectrum.ritz, s[:3], rtol=0.01)


def test_svd_of_an_indefinite_form_gives_absolute_eigenvalues():
    """σ = |λ| and g = sign(λ) f (sec. 2.2)."""
    rng = np.random.default_rng(0)
    q = np.linalg.qr(rng.standard_normal((30, 30)))[0]
    eigenvalues = np.concatenate([[1.0, -0.8, 0.6, -0.45], np.linspace(0.1, -0.1, 26)])
    a = (q * eigenvalues) @ q.T
    result = fit(Matrix(a), *tables(30, 30, 4), training=QUICK)
    learned = result.learned
    np.testing.assert_allclose(learned.values, np.abs(eigenvalues[:4]), rtol=1e-3)
    f, g = learned.right(np.arange(30)), learned.left(np.arange(30))
    np.testing.assert_allclose(g, f * np.sign(eigenvalues[:4]), atol=2e-3)


def test_evd_finds_the_positive_part_and_zero_functions_beyond():
    """Theorem C.5: two positive eigenvalues, four modes – the last two vanish, and it says so."""
    rng = np.random.default_rng(1)
    q = np.linalg.qr(rng.standard_normal((20, 20)))[0]
    eigenvalues = np.concatenate([[1.0, 0.5], -np.linspace(0.2, 1.0, 18)])
    torch.manual_seed(0)
    result = fit(Matrix((q * eigenvalues) @ q.T), IndexTable(20, 4), training=QUICK)
    s = result.spectrum
    np.testing.assert_allclose(s.norm[:2], [1.0, 0.5], rtol=1e-3)
    assert s.norm[2:].max() < 1e-3
    assert s.vanished.tolist() == [False, False, True, True]
    assert s.rank == 2
    np.testing.assert_allclose(s.ritz[:2], [1.0, 0.5], rtol=1e-6)
    assert np.isnan(s.ritz[2:]).all()


def test_vector_valued_functions_on_a_planted_block_matrix():
    """Functions with values in R³; inner products are summed over the outputs (D.2)."""
    _, s, v, a = planted(36, 24, 0.6 ** np.arange(8))
    result = fit(Matrix(a, block=3), *tables(12, 8, 3, outputs=3), training=QUICK)
    learned = result.learned
    np.testing.assert_allclose(learned.values, s[:3], rtol=1e-3)
    right = learned.right(np.arange(8)).transpose(0, 2, 1).reshape(24, 3)
    assert max(subspace_distance(right[:, [i]], v[:, [i]]) for i in range(3)) < 1e-3


class Shifted(nn.Module):
    """A user's own module: no jets of its own."""

    def __init__(self, modes):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh())
        self.out = nn.Linear(32, modes)

    def forward(self, x):
        return self.out(self.net(x))


@pytest.mark.parametrize("method", ["sequential", "joint"])
def test_true_svd_of_a_kernel_between_two_spaces(method):
    """k(y, x) not symmetric, X ≠ Y, user modules, against its quadrature SVD."""

    def kernel(y, x):
        return (-((y - 0.7 * x.T - 0.3) ** 2)).exp()

    form = Kernel(kernel, Distribution(Gaussian(1.0, 1)), Distribution(Gaussian(1.5, 1)))
    sample = form.evaluation()
    weighted = (
        sample.y.weight.sqrt()[:, None] * kernel(sample.y.x, sample.x.x) * sample.x.weight.sqrt()
    )
    u, s, vh = np.linalg.svd(weighted.numpy())
    torch.manual_seed(0)
    training = Training(steps=1200, batch=400, lr=1e-2, ema=0.99)
    result = fit(form, Shifted(3), Shifted(3), method=method, training=training)
    np.testing.assert_allclose(result.spectrum.norm, s[:3], rtol=2e-3)
    np.testing.assert_allclose(result.factorization.values, s[:3], rtol=1e-4)
    right = result.learned.right(sample.x.x.numpy()) * sample.x.weight.sqrt().numpy()[:, None]
    left = result.learned.left(sample.y.x.numpy()) * sample.y.weight.sqrt().numpy()[:, None]
    for i in range(3):
        assert subspace_distance(right[:, [i]], vh.T[:, [i]]) < 1e-3
        assert subspace_distance(left[:, [i]], u[:, [i]]) < 1e-3


@pytest.mark.parametrize("form", ["weak", "strong"])
@pytest.mark.parametrize("optimizer", ["soap", "adam"])
def test_both_forms_learn_the_oscillator(form, optimizer):
    """Eigenvalues 5 − 2(n+1): 3, 1, 1."""
    training = Training(steps=500, batch=400, lr=1e-2, optimizer=optimizer, extra_shift=4.0)
    result = fit(oscillator(form), small_network(), training=training)
    weak = oscillator()
    from schmidt.operators import spectrum

    found = spectrum(weak, result.right).ritz
    np.testing.assert_allclose(found, [3, 1, 1], atol=5e-3 if optimizer == "soap" else 0.1)


def test_results_are_normalised_and_sign_fixed():
    result = fit(oscillator(), small_network(), training=Training(steps=60, batch=200))
    sample = result.form.evaluation()
    for factorization in (result.learned, result.factorization):
        values = factorization.right(sample.x.x)
        weights = sample.x.weight[:, None]
        torch.testing.assert_close(
            (weights * values**2).sum(0), torch.ones(3).double(), rtol=1e-5, atol=0
        )
        size = values.abs()
        first = (size >= 0.5 * size.max(0).values).int().argmax(0)
        assert bool((values[first, torch.arange(3)] > 0).all())
        assert factorization.truncate(2).right(sample.x.x).shape == (len(sample.x), 2)
    assert not np.allclose(result.learned.values, result.factorization.values)
