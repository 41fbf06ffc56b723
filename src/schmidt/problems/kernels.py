"""Compact operators: the Gaussian kernel under a Gaussian law, and matrices from files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import scipy.sparse
import torch
from scipy.special import eval_hermite
from torch import Tensor, nn

from schmidt.operators.kernel import Kernel, Matrix
from schmidt.operators.measures import Distribution, Gaussian
from schmidt.operators.networks import (
    Ansatz,
    BoundedInputs,
    DisjointMLP,
    GaussianEnvelope,
    IndexTable,
    SharedMLP,
)
from schmidt.operators.training import Training
from schmidt.problems.problem import ExactSpectrum, Problem


def gaussian_kernel(length: float = 1.0, scale: float = 1.0) -> Problem:
    """k(x, y) = exp(−(x−y)²/2ℓ²) in L²(N(0, σ²)).

    Eigenvalues √(2a/A)(b/A)^k with a = 1/4σ², b = 1/2ℓ², A = a + b + √(a² + 2ab); eigenfunctions
    Hermite polynomials times a Gaussian (Rasmussen & Williams 2006, sec. 4.3.1).

    Args:
        length: ℓ.
        scale: σ.
    """
    if not (length > 0 and scale > 0):
        raise ValueError(f"length and scale must be positive, got {length} and {scale}")
    a, b = 1 / (4 * scale**2), 1 / (2 * length**2)
    c = math.sqrt(a * a + 2 * a * b)
    total = a + b + c

    def kernel(y: Tensor, x: Tensor) -> Tensor:
        return (-b * (y - x.T).pow(2)).exp()

    def values(count: int) -> np.ndarray:
        return math.sqrt(2 * a / total) * (b / total) ** np.arange(count)

    def functions(x: np.ndarray, count: int) -> np.ndarray:
        t = x[:, 0]
        decay = np.exp(-(c - a) * t * t)
        out = []
        for k in range(count):
            norm = math.exp(-0.5 * (k * math.log(2) + math.lgamma(k + 1))) * (c / a) ** 0.25
            out.append(norm * decay * eval_hermite(k, math.sqrt(2 * c) * t))
        return np.stack(out, 1)

    def network(kind: str, modes: int) -> nn.Module:
        inputs = BoundedInputs(1, (2.0 * scale,), cusp=False)
        trunk: DisjointMLP | SharedMLP
        if kind == "shared":
            trunk = SharedMLP(inputs.features, modes, (64, 64))
        else:
            trunk = DisjointMLP(inputs.features, modes, (24, 24))
        envelope = GaussianEnvelope(torch.full((modes,), 1 / (2 * scale**2)))
        return Ansatz(trunk, envelope, inputs=inputs)

    return Problem(
        name="gaussian-kernel",
        summary=f"integral operator exp(−(x−y)²/2ℓ²) under N(0, σ²), ℓ = {length:g}, σ = {scale:g}",
        form=Kernel(kernel, Distribution(Gaussian(scale, 1)), symmetric=True),
        modes=6,
        network=network,
        exact=ExactSpectrum(values, functions),
        training=Training(steps=1500, batch=512, lr=5e-3),
        extent=(-4.0 * scale, 4.0 * scale),
    )


LARGEST = 4_000_000


def read_matrix(path: str | Path) -> Any:
    """A dense (.npy) or sparse/dense Matrix Market (.mtx) matrix."""
    file = Path(path)
    if not file.exists():
        raise FileNotFoundError(f"no such file: {file}")
    if file.suffix == ".npy":
        a = np.load(file, allow_pickle=False)
    elif file.suffix == ".mtx":
        a = scipy.io.mmread(file)
        a = a.tocsr() if scipy.sparse.issparse(a) else np.asarray(a)
    else:
        raise ValueError(f"expected a .npy or .mtx file, got {file.name}")
    if a.ndim != 2:
        raise ValueError(f"{file.name} holds an array of shape {a.shape}, not a matrix")
    if np.iscomplexobj(a.data if scipy.sparse.issparse(a) else a):
        raise ValueError(f"{file.name} is complex; real matrices only")
    return a.astype(np.float64)


def matrix(source: Any, name: str = "matrix") -> Problem:
    """Leading singular triplets of a matrix.

    Args:
        source: an array, a scipy sparse matrix, or the path of a .npy or .mtx file.
        name: for the report.
    """
    a = read_matrix(source) if isinstance(source, str | Path) else source
    rows, columns = a.shape
    form = Matrix(a)
    if rows * columns > LARGEST:
        raise ValueError(
            f"a {rows}×{columns} matrix is too large to be checked against a full SVD; "
            "train on it with schmidt.operators.Matrix and fit"
        )
    dense = a.toarray() if scipy.sparse.issparse(a) else np.asarray(a)
    u, s, vh = np.linalg.svd(dense, full_matrices=False)

    def network(kind: str, modes: int) -> tuple[nn.Module, nn.Module]:
        amplitude = float(np.sqrt(s[0])) or 1.0
        scale = max(rows, columns) ** -0.5
        right = IndexTable(columns, modes, scale=scale, amplitude=amplitude)
        return right, IndexTable(rows, modes, scale=scale, amplitude=amplitude)

    return Problem(
        name=name,
        summary=f"{rows}×{columns} matrix on its index set, checked against numpy",
        form=form,
        modes=min(8, rows, columns),
        max_modes=min(rows, columns),
        network=network,
        exact=ExactSpectrum(
            lambda L: s[:L],
            lambda x, L: vh.T[np.asarray(x, dtype=int), :L],
            lambda y, L: u[np.asarray(y, dtype=int), :L],
        ),
        training=Training(
            steps=2000, batch=2 * max(rows, columns), optimizer="adam", lr=0.02, ema=0.9
        ),
    )
