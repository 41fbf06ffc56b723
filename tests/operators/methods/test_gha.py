"""Sanger's rule, and that it is NeuralEF and SpIN with another mask."""

import torch

from schmidt.operators.methods import GHA, NeuralEF, SpIN


def test_gradient_is_sangers_rule(case):
    """2{−T f_l + Σ_{i≤l} f_i⟨f_i|T f_l⟩}."""
    u = case.u.detach()
    expected = 2 * (u @ (u.T @ case.a @ u).triu() - case.a @ u)
    torch.testing.assert_close(case.gradient(GHA()), expected, rtol=1e-12, atol=1e-12)


def test_on_orthonormal_functions_it_is_spin_and_the_deflating_neuralef(case):
    """Then i ≤ l against i < l is the projection on the sphere, and Cholesky's factor is 1."""
    with torch.no_grad():
        case.u.copy_(torch.linalg.qr(case.u).Q)
    expected = case.gradient(GHA())
    for method in (SpIN(case.u.shape[1]), NeuralEF.deflation(), NeuralEF.mu_eigengame()):
        found = case.gradient(case.prepare(method))
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_gradient_is_unbiased(case, standard_errors):
    """With independent rows, columns and halves, as kernels have."""
    method = GHA()
    off = standard_errors(case.draws(method, 700, 6), case.gradient(method), None)
    assert off.abs().max() < 4
    assert off.square().mean() < 1.5


def test_all_norms_become_one_and_say_nothing(case):
    """At the eigenfunctions the gradient vanishes, whatever the eigenvalues."""
    with torch.no_grad():
        case.u.copy_(torch.linalg.eigh(case.a).eigenvectors.flip(1)[:, : case.u.shape[1]])
    assert case.gradient(GHA()).abs().max() < 1e-12
    values = GHA().values(case.form, *case.batches())
    torch.testing.assert_close(values, 0.8 ** torch.arange(4, dtype=torch.float64))
