"""Problems with a drift: complex spectra, stationary laws, and who may solve them."""

import numpy as np
import pytest
import torch
from scipy.linalg import eig, eigh_tridiagonal

from schmidt.operators import NotSelfAdjointError, inner
from schmidt.operators.jet import forward_mode
from schmidt.problems import fokker_planck, named, ornstein_uhlenbeck, train
from schmidt.problems.diffusions import (
    confinement,
)
from schmidt.problems.diffusions import (
    fokker_planck_reference as reference,
)
from schmidt.problems.diffusions import (
    fokker_planck_values as values,
)

MATRICES = {
    "default": [[1.0, 2.0], [-1.0, 1.0]],
    "rotation": [[1.0, 1.5], [-1.5, 1.0]],
    "real": [[1.0, 0.3], [0.0, 2.3]],
}


def quadrature(problem):
    points = problem.form.evaluation().x
    return points.x.numpy(), points.weight.numpy()


def test_the_order_of_complex_eigenvalues():
    found = named("ornstein-uhlenbeck").exact.values(10)
    r = 1j * np.sqrt(2)
    expected = [0, -1 + r, -1 - r, -2 + 2 * r, -2, -2 - 2 * r]
    expected += [-3 + 3 * r, -3 + r, -3 - r, -3 - 3 * r]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert found.dtype == complex


@pytest.mark.parametrize("drift", MATRICES.values(), ids=MATRICES)
@pytest.mark.parametrize("diffusion", [1.0, 0.3])
def test_the_generator_on_polynomials_has_these_eigenvalues(drift, diffusion):
    """Polynomials up to a degree are an invariant space, so a Galerkin matrix there is exact."""
    problem = ornstein_uhlenbeck(drift, diffusion)
    sample = problem.form.evaluation()
    powers = [(i, n - i) for n in range(4) for i in range(n + 1)]

    def monomials(x):
        return torch.stack([x[:, 0] ** i * x[:, 1] ** j for i, j in powers], 1)

    jet = forward_mode(monomials, sample.x.x, 2)
    gram = inner(jet.value, jet.value, sample.x.weight)
    found = eig(problem.form.matrix(jet, jet, sample).numpy(), gram.numpy(), right=False)
    beta = np.linalg.eigvals(np.array(drift))
    for n in powers:
        assert np.abs(found + np.dot(n, beta)).min() < 1e-7
    if drift != MATRICES["real"]:
        expected = problem.exact.values(10)
        assert all(np.abs(found - value).min() < 1e-7 for value in expected)


@pytest.mark.parametrize("drift", MATRICES.values(), ids=MATRICES)
def test_eigenfunctions_are_normalised_under_the_stationary_law(drift):
    problem = ornstein_uhlenbeck(drift)
    x, w = quadrature(problem)
    assert w.sum() == pytest.approx(1, rel=1e-10)
    f = problem.exact.right(x, 10)
    gram = f.conj().T @ (w[:, None] * f)
    np.testing.assert_allclose(gram.diagonal(), 1, atol=1e-6)
    np.testing.assert_allclose(np.abs(f[:, 0]), 1)
    # the constant is the stationary density relative to the law: all others have mean zero
    np.testing.assert_allclose(gram[0, 1:], 0, atol=1e-6)
    normal = np.allclose(gram, np.eye(10), atol=1e-6)
    assert normal == (drift == MATRICES["rotation"])


def test_a_reversible_drift_makes_the_generator_self_adjoint():
    assert ornstein_uhlenbeck([[2.0, 0.5], [0.5, 1.0]]).form.self_adjoint is True
    assert named("ornstein-uhlenbeck").form.self_adjoint is False
    f = ornstein_uhlenbeck([[2.0, 0.5], [0.5, 1.0]])
    x, w = quadrature(f)
    g = f.exact.right(x, 6)
    np.testing.assert_allclose(g.conj().T @ (w[:, None] * g), np.eye(6), atol=1e-6)


def test_fokker_planck_ends_in_its_stationary_density():
    problem = fokker_planck()
    found = problem.exact.values(12)
    assert found[0] == 0.0
    assert (np.diff(found) < -0.05).all()
    x, w = quadrature(problem)
    p = problem.exact.right(x, 12)
    np.testing.assert_allclose((w[:, None] * p**2).sum(0), 1, atol=1e-8)
    stationary = np.exp(-confinement(x))
    ratio = p[:, 0] / stationary
    inside = stationary > 1e-6
    np.testing.assert_allclose(ratio[inside], ratio[inside].mean(), rtol=1e-6)
    # probability is conserved: what decays has no mass
    np.testing.assert_allclose(w @ p[:, 1:], 0, atol=1e-6)


def test_fokker_planck_is_converged_and_agrees_with_finite_differences():
    for size in (110, 200):
        np.testing.assert_allclose(reference(size)[0], reference()[0], rtol=0, atol=1e-11)
    assert values(104)[-1] > -reference()[0][-1]
    x = np.linspace(-6, 6, 3001)
    slope, curve = x**3 - 2 * x + 0.2, 3 * x**2 - 2
    h = x[1] - x[0]
    rough = eigh_tridiagonal(
        2 / h**2 + slope**2 / 4 - curve / 2,
        np.full(3000, -1 / h**2),
        eigvals_only=True,
        select="i",
        select_range=(0, 4),
    )
    np.testing.assert_allclose(rough, reference()[0][:5], atol=1e-3)


@pytest.mark.parametrize("name", ["ornstein-uhlenbeck", "fokker-planck"])
def test_they_are_not_for_neural_svd(name):
    message = f"{name} is a problem for the Ritz solver: its operator is not self-adjoint"
    with pytest.raises(ValueError, match=message):
        named(name).networks()
    with pytest.raises(ValueError, match=message):
        train(name, steps=10)
    network = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    with pytest.raises(NotSelfAdjointError):
        train(name, network=network, steps=10, batch=64, progress=False)


def test_bad_drifts_are_refused():
    with pytest.raises(ValueError, match="no stationary law"):
        ornstein_uhlenbeck([[1.0, 0.0], [0.0, -1.0]])
    with pytest.raises(ValueError, match="must be 2×2"):
        ornstein_uhlenbeck(np.eye(3))
    with pytest.raises(ValueError, match="diagonalisable"):
        ornstein_uhlenbeck([[1.0, 1.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match="diffusion must be positive"):
        ornstein_uhlenbeck(diffusion=0.0)
