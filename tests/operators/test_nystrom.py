"""Nyström functions are eigen and singular functions, as well as the sample allows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from schmidt.operators import Distribution, Gaussian, Indices, Kernel, nystrom
from schmidt.problems import named


def between() -> Kernel:
    return Kernel(
        lambda y, x: (-((y - 0.7 * x.T - 0.3) ** 2)).exp(),
        Distribution(Gaussian(1.0, 1)),
        Distribution(Gaussian(1.5, 1)),
    )


@pytest.mark.parametrize("points", [300, 900])
def test_eigenfunctions_of_the_gaussian_kernel(points: int) -> None:
    """By LAPACK and by Lanczos; at points that took no part."""
    problem = named("gaussian-kernel")
    assert problem.exact is not None
    assert problem.exact.right is not None
    kernel = problem.form
    assert isinstance(kernel, Kernel)
    found = nystrom(kernel, 4, points=points, seed=1)
    np.testing.assert_allclose(found.values, problem.exact.values(4), rtol=0.05)
    sample = problem.form.evaluation()
    x, weight = sample.x.x.numpy(), sample.x.weight.numpy()
    overlap = np.abs(problem.exact.right(x, 4).T @ (weight[:, None] * found.right(x)))
    assert (np.diag(overlap) > 0.98).all()
    assert found.left is found.right


@pytest.mark.parametrize("points", [400, 1000])
def test_it_continues_singular_vectors(points: int) -> None:
    """Eq. (11) at the sampled points gives the vectors back, so ⟨g|Kf⟩ = σ on the sample."""
    kernel = between()
    found = nystrom(kernel, 3, points=points, left_points=points + 100, seed=2)
    x, y = found.left.network.points, found.right.network.points
    f, g = found.right(x), found.left(y)
    wx, wy = found.left.network.root**2, found.right.network.root**2
    eye = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(f.T @ (wx[:, None] * f), eye, rtol=0, atol=1e-9)
    torch.testing.assert_close(g.T @ (wy[:, None] * g), eye, rtol=0, atol=1e-9)
    between_them = g.T @ (wy[:, None] * kernel.kernel(y, x) * wx) @ f
    torch.testing.assert_close(
        between_them, torch.diag(torch.from_numpy(found.values.copy())), rtol=0, atol=1e-9
    )


def test_the_kernel_is_approximated() -> None:
    found = nystrom(between(), 8, points=800, seed=0)
    t = np.linspace(-1.5, 1.5, 20)[:, None]
    exact = np.exp(-((t - 0.7 * t.T - 0.3) ** 2))
    np.testing.assert_allclose(found.reconstruct(t, t), exact, atol=0.03)


def test_all_indices_make_it_exact(rng: np.random.Generator) -> None:
    a = torch.from_numpy(rng.standard_normal((6, 6)))
    a = a @ a.T
    kernel = Kernel(lambda y, x: a[y][:, x], Indices(6), symmetric=True)
    found = nystrom(kernel, 3, points=6)
    np.testing.assert_allclose(found.values, np.linalg.eigvalsh(a.numpy())[::-1][:3], rtol=1e-10)


def test_refusals() -> None:
    kernel = between()
    with pytest.raises(ValueError, match="modes must lie between"):
        nystrom(kernel, 11, points=10)
    with pytest.raises(ValueError, match="GiB"):
        nystrom(kernel, 3, points=10**6)
    symmetric = named("gaussian-kernel").form
    assert isinstance(symmetric, Kernel)
    with pytest.raises(ValueError, match="one set of points"):
        nystrom(symmetric, 3, points=10, left_points=20)


def test_the_seed_decides() -> None:
    first, again, other = (nystrom(between(), 3, points=200, seed=s).values for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
