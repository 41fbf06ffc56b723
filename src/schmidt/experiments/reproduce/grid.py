"""The hydrogen atom on a square grid, and LOBPCG for it (A.3)."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import numpy as np
import scipy.fft
import scipy.sparse as sparse
import scipy.sparse.linalg as spla
import torch

HALF_WIDTH = 50.0
"""The paper's domain is [−50, 50]²."""
TYPICAL = 0.03
"""A typical energy, for the preconditioner (typical − ∇²)⁻¹."""
SEED = 0


def nodes(n: int) -> np.ndarray:
    """n inner nodes of an axis; an even number, so that none is at the nucleus."""
    if n < 2 or n % 2:
        raise ValueError(f"a grid needs an even number of nodes per axis, got {n}")
    return HALF_WIDTH * (2 * np.arange(1, n + 1) / (n + 1) - 1)


def hamiltonian(n: int) -> sparse.csr_array:
    """−∇² − 1/|x| by central differences on n² nodes, zero at the walls."""
    x = nodes(n)
    h = x[1] - x[0]
    line = sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(n, n)) / h**2
    radius = np.hypot(*np.meshgrid(x, x, indexing="ij")).ravel()
    return (sparse.kronsum(line, line) - sparse.diags_array(1 / radius)).tocsr()


def start(n: int, modes: int) -> np.ndarray:
    return np.random.default_rng(SEED).standard_normal((n * n, modes))


def plain_lobpcg(n: int, modes: int) -> np.ndarray:
    """torch.lobpcg with its defaults, as the paper used it; values of T, descending."""
    H = hamiltonian(n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # sparse CSR is in beta
        A = torch.sparse_csr_tensor(
            torch.from_numpy(H.indptr),
            torch.from_numpy(H.indices),
            torch.from_numpy(H.data),
            H.shape,
        )
        found, _ = torch.lobpcg(A, X=torch.from_numpy(start(n, modes)), largest=False)
    return np.sort(-found.numpy())[::-1]


def preconditioned_lobpcg(n: int, modes: int) -> np.ndarray:
    """scipy's LOBPCG behind (typical − ∇²)⁻¹ by fast sine transforms; values of T, descending."""
    H, h = hamiltonian(n), 2 * HALF_WIDTH / (n + 1)
    square = (2 - 2 * np.cos(np.pi * np.arange(1, n + 1) / (n + 1))) / h**2
    symbol = np.add.outer(square, square) + TYPICAL

    def inverse(x: np.ndarray) -> np.ndarray:
        y = x.reshape(n, n, -1)
        y = scipy.fft.dstn(y, 1, axes=(0, 1), norm="ortho") / symbol[:, :, None]
        return scipy.fft.dstn(y, 1, axes=(0, 1), norm="ortho").reshape(x.shape)

    M = spla.LinearOperator(H.shape, matvec=inverse, matmat=inverse, dtype=np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # says how far it came
        found, _ = spla.lobpcg(
            H, inverse(start(n, modes)), M=M, tol=1e-3 * TYPICAL, maxiter=200, largest=False
        )
    return np.sort(-found)[::-1]


SOLVERS: dict[str, Callable[[int, int], np.ndarray]] = {
    "LOBPCG": plain_lobpcg,
    "LOBPCG, preconditioned": preconditioned_lobpcg,
}


def timed(solver: str, n: int, modes: int) -> tuple[np.ndarray, float]:
    """Values and seconds, the making of the matrix included."""
    begin = time.perf_counter()
    values = SOLVERS[solver](n, modes)
    return values, time.perf_counter() - begin
