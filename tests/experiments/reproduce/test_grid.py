"""The grid is the operator, and both LOBPCG find its lowest states."""

import numpy as np
import pytest

from schmidt.experiments.reproduce import lobpcg as grid


def test_the_matrix_is_minus_laplacian_minus_one_over_r():
    n = 40
    H, x = grid.hamiltonian(n).toarray(), grid.nodes(n)
    assert np.abs(x).min() > 0
    np.testing.assert_array_equal(H, H.T)
    # a sine is an eigenvector of the Laplacian: what is left is the potential
    k = np.pi * np.arange(1, n + 1) / (n + 1)
    wave = np.outer(np.sin(k), np.sin(2 * k)).ravel()
    h = x[1] - x[0]
    square = (4 - 2 * np.cos(k[0]) - 2 * np.cos(k[1])) / h**2
    radius = np.hypot(*np.meshgrid(x, x, indexing="ij")).ravel()
    np.testing.assert_allclose(H @ wave, (square - 1 / radius) * wave, atol=1e-12)


@pytest.mark.parametrize("solver", grid.SOLVERS)
def test_solvers_find_the_lowest_states(solver):
    n, modes = 24, 4
    exact = -np.linalg.eigvalsh(grid.hamiltonian(n).toarray())[:modes]
    found, seconds = grid.timed(solver, n, modes)
    np.testing.assert_allclose(found, exact, rtol=1e-4)
    assert seconds > 0


def test_a_node_at_the_nucleus_is_refused():
    with pytest.raises(ValueError, match="even number of nodes per axis, got 25"):
        grid.nodes(25)
