"""Least-squares Ritz: eigenpairs whose error scales with the residual, not with the quadrature."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from schmidt.operators.derivatives import Exact, Function
from schmidt.operators.form import Form, Sample
from schmidt.operators.measures import Points
from schmidt.operators.ritz.orthonormal import Basis

CHUNK = 1024


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


def compress(basis: Basis, images: Tensor) -> Tensor:
    """A = (√w Φ)⁺ (√w TΦ) in the orthonormal basis: (k, k).

    Its leading blocks belong to the leading parts of the basis, so that every cut of the basis
    is had from one matrix. Where TΦ lies in the span of Φ its eigenvalues are exact whatever the
    weights are: the error scales with the residual ("zero variance"). On an exact
    quadrature it is the Galerkin matrix.
    """
    return basis.values.T @ (images @ basis.mix)


def leading(matrix: Tensor, count: int, *, self_adjoint: bool) -> tuple[Tensor, Tensor]:
    """The ``count`` eigenpairs of largest real part, descending: values (m,), vectors (k, m).

    For a self-adjoint operator values are real and vectors orthonormal: A is restricted to its
    leading invariant subspace, and the restriction, nearly symmetric, symmetrised. Else values are
    complex, conjugate pairs in the order +, −, and vectors have norm 1.
    """
    values, vectors = torch.linalg.eig(matrix)
    scale = float(values.abs().max())
    # real parts that agree to rounding are told apart by the imaginary part
    key = (values.real / (1e-9 * scale)).round() * (1e-9 * scale)
    order = sorted(range(len(values)), key=lambda i: (-float(key[i]), -float(values[i].imag)))
    chosen = torch.tensor(order[:count])
    if not self_adjoint:
        picked = vectors[:, chosen]
        return values[chosen], picked / picked.norm(dim=0)
    columns: list[Tensor] = []
    for i in order:
        if len(columns) >= count:
            break
        real, imaginary = vectors[:, i].real, vectors[:, i].imag
        if float(values[i].imag) > 0:  # with its conjugate
            columns += [real, imaginary]
        elif float(values[i].imag) == 0:
            columns.append(real)
    space = torch.linalg.qr(torch.stack([c / c.norm() for c in columns], 1))[0]
    restricted = space.T @ matrix @ space
    found, turn = torch.linalg.eigh((restricted + restricted.T) / 2)
    return found.flip(0)[:count], (space @ turn.flip(1))[:, :count]


def residuals(at: Collocation, values: Tensor) -> Tensor:
    """‖(T − μ_l)f_l‖/‖f_l‖ of functions f with approximate eigenvalues μ: (L,)."""
    error = at.images - at.values * values
    return error.norm(dim=0) / at.values.norm(dim=0).clamp_min(1e-300)
