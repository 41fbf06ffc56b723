"""Least-squares Ritz: eigenpairs whose error scales with the residual, not with the quadrature."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from schmidt.linalg import Span, fix_signs, span
from schmidt.operators.form import Form, Sample
from schmidt.operators.jet import Exact, Function
from schmidt.operators.measures import Points

CHUNK = 1024
FEATURES = "features on these points"
LEVEL = 1e-3
"""Values nearer than this share of their range are one level."""
PARALLEL = 0.1
"""Eigenvectors that overlap more than this are one level, whatever their values."""


@dataclass(frozen=True)
class Collocation:
    """Functions φ and their images Tφ at points, both (N, K), times √weight."""

    values: Tensor
    images: Tensor

    def mix(self, matrix: Tensor) -> Collocation:
        return Collocation(_times(self.values, matrix), _times(self.images, matrix))


def _times(values: Tensor, matrix: Tensor) -> Tensor:
    return values.to(matrix.dtype) @ matrix


@torch.no_grad()
def collocate(
    form: Form, features: Function, points: Points, mix: Tensor | None = None
) -> Collocation:
    """Evaluate φ and Tφ, or linear combinations of them, at points.

    Needs a form whose ``action`` is pointwise; jets carry derivatives up to order 2.
    """
    values: list[Tensor] = []
    images: list[Tensor] = []
    for start in range(0, len(points), CHUNK):
        part = points.part(slice(start, start + CHUNK))
        mixing = mix
        if mix is not None and hasattr(features, "mixed") and not mix.is_complex():
            jet, mixing = features.mixed(part.x, 2, mix), None
        else:
            jet = Exact()(features, part.x, 2)
        root = part.weight.sqrt()[:, None]
        value, image = jet.value * root, form.action(jet, Sample(part, part)) * root
        if mixing is not None:
            value, image = _times(value, mixing), _times(image, mixing)
        values.append(value)
        images.append(image)
    return Collocation(torch.cat(values), torch.cat(images))


def compress(basis: Span, images: Tensor) -> Tensor:
    """A = (√w Φ)⁺ (√w TΦ) in the orthonormal basis: (k, k).

    Its leading blocks belong to the leading parts of the basis, so that every cut of the basis
    is had from one matrix. Where TΦ lies in the span of Φ its eigenvalues are exact whatever the
    weights are: the error scales with the residual ("zero variance"). On an exact
    quadrature it is the Galerkin matrix.
    """
    return basis.values.T @ (images @ basis.mix)


def ritz_pairs(matrix: Tensor, count: int, *, self_adjoint: bool) -> tuple[Tensor, Tensor]:
    """The ``count`` eigenpairs of largest real part, descending: values (m,), vectors (k, m).

    For a self-adjoint operator values are real. On few points A is not quite symmetric, but its
    eigenvectors have no variance; to symmetrise it would mix them. So they are kept, and made
    orthonormal only within levels, where mixing costs nothing: vectors of different levels are
    orthogonal as far as the points allow (up to 0.1, else they are taken for one level). Else
    values are complex, sorted by falling imaginary part where real parts are equal, and vectors
    have norm 1.
    """
    values, vectors = torch.linalg.eig(matrix)
    scale = max(float(values.abs().max()), 1e-300)
    # real parts that agree to rounding are told apart by the imaginary part
    key = (values.real / (1e-9 * scale)).round() * (1e-9 * scale)
    order = sorted(range(len(values)), key=lambda i: (-float(key[i]), -float(values[i].imag)))
    chosen = torch.tensor(order[:count])
    if not self_adjoint:
        picked = vectors[:, chosen]
        return values[chosen], picked / picked.norm(dim=0)
    levels: list[list[Tensor]] = []
    width = LEVEL * float(key[order[0]] - key[order[min(count, len(order)) - 1]])
    found, previous = 0, math.inf
    for i in order:
        if found >= count:
            break
        real, imaginary = vectors[:, i].real, vectors[:, i].imag
        if float(values[i].imag) < 0:  # came with its conjugate
            continue
        parts = [real, imaginary] if float(values[i].imag) > 0 else [real]
        parts = [part / part.norm() for part in parts]
        if previous - float(key[i]) > width and not _parallel(levels, parts):
            levels.append([])
        previous = float(key[i])
        levels[-1] += parts
        found += len(parts)
    pairs = [_within(matrix, torch.stack(level, 1)) for level in levels]
    together = torch.cat([value for value, _ in pairs])
    falling = together.argsort(descending=True)[:count]
    return together[falling], torch.cat([vector for _, vector in pairs], 1)[:, falling]


def _parallel(levels: list[list[Tensor]], parts: list[Tensor]) -> bool:
    """Whether new vectors overlap with those of the last level."""
    if not levels:
        return False
    overlap = torch.stack(levels[-1]) @ torch.stack(parts, 1)
    return float(overlap.abs().max()) > PARALLEL


def _within(matrix: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal Ritz pairs of a nearly symmetric matrix in an invariant subspace."""
    space = torch.linalg.qr(columns)[0]
    restricted = space.T @ matrix @ space
    found, turn = torch.linalg.eigh((restricted + restricted.T) / 2)
    return found.flip(0), space @ turn.flip(1)


def residuals(at: Collocation, values: Tensor) -> Tensor:
    """‖(T − μ_l)f_l‖/‖f_l‖ of functions f with approximate eigenvalues μ: (L,)."""
    error = at.images - at.values * values
    return error.norm(dim=0) / at.values.norm(dim=0).clamp_min(1e-300)


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
    basis = span(at.values, what=FEATURES)
    matrix = compress(basis, at.images)
    count = min(mix.shape[1], len(matrix))
    values, vectors = ritz_pairs(matrix, count, self_adjoint=self_adjoint)
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


def relative_scale(values: Tensor, shift: float = 0.0) -> Tensor:
    """What errors of values are compared with: |value|, or if that is tiny a level spacing."""
    size = (values - shift).abs()
    spread = float(values.real.max() - values.real.min()) / (4 * max(1, len(values)))
    return size.clamp_min(max(spread, 1e-300))
