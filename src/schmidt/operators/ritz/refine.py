"""A last Ritz step in the small span of the found functions, on many more points."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from schmidt.linalg import fix_signs
from schmidt.operators.form import Form
from schmidt.operators.jet import Function
from schmidt.operators.measures import Points
from schmidt.operators.ritz.collocation import collocate, compress, leading
from schmidt.operators.ritz.orthonormal import orthonormalise


def refine(
    form: Form, features: Function, mix: Tensor, points: Points
) -> tuple[Tensor, Tensor, np.ndarray]:
    """Least-squares Ritz in the span of ``features @ mix``.

    Returns:
        (values (m,), mix (K, m), condition numbers (m,) of the eigenvalues within the span).
    """
    self_adjoint = form.self_adjoint is True
    real = torch.cat([mix.real, mix.imag], 1) if mix.is_complex() else mix
    at = collocate(form, features, points, real)
    basis = orthonormalise(at.values, tolerance=1e-12)
    matrix = compress(basis, at.images)
    count = min(mix.shape[1], len(matrix))
    values, vectors = leading(matrix, count, self_adjoint=self_adjoint)
    condition = np.ones(count) if self_adjoint else conditions(matrix.numpy(), values.numpy())
    return values, (real @ basis.mix).to(vectors.dtype) @ vectors, condition


def by_level(values: Tensor, tolerance: float) -> list[int]:
    """An order of complex values: by real part where these differ by more than ``tolerance``, and
    by falling imaginary part within such levels."""
    falling = sorted(range(len(values)), key=lambda i: -float(values[i].real))
    order: list[int] = []
    level: list[int] = []
    for i in falling:
        if level and float(values[level[-1]].real - values[i].real) > tolerance:
            order += sorted(level, key=lambda j: -float(values[j].imag))
            level = []
        level.append(i)
    return order + sorted(level, key=lambda j: -float(values[j].imag))


def conditions(matrix: np.ndarray, values: np.ndarray) -> np.ndarray:
    """1/|⟨left|right⟩| of the normalised eigenvectors that belong to ``values``."""
    found, left, right = scipy.linalg.eig(matrix, left=True, right=True)
    overlap = np.abs(np.einsum("ij,ij->j", left.conj(), right)).clip(1e-300)
    nearest = np.abs(found[:, None] - values[None, :]).argmin(0)
    return 1 / overlap[nearest]


def signed(features: Function, mix: Tensor, points: Points) -> Tensor:
    """The same functions with the library's signs and phases."""
    with torch.no_grad():
        shown = features(points.x).to(mix.dtype) @ mix
    return mix * fix_signs(shown)
