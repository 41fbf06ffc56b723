"""A matrix from a file, its learned singular vectors checked against numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import scipy.sparse
from torch import nn

from schmidt.operators.kernel import Matrix
from schmidt.operators.networks import IndexTable
from schmidt.operators.training import Training
from schmidt.problems.problem import Exact, Problem

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
        exact=Exact(
            lambda L: s[:L],
            lambda x, L: vh.T[np.asarray(x, dtype=int), :L],
            lambda y, L: u[np.asarray(y, dtype=int), :L],
        ),
        training=Training(
            steps=2000, batch=2 * max(rows, columns), optimizer="adam", lr=0.02, ema=0.9
        ),
    )
