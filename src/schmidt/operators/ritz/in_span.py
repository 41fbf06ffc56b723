"""Rayleigh–Ritz in the span of many features, for every form: ⟨g|Tf⟩ is all it needs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from schmidt.operators.form import Form, Sample, inner
from schmidt.operators.jet import Exact, Function, Jet
from schmidt.operators.ritz.orthonormal import Basis, orthonormalise

CUTS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10)
CHUNK = 2048


class SpanError(ValueError):
    """Features that span fewer functions than were asked for."""


@dataclass(frozen=True)
class InSpan:
    """The leading singular or eigen functions of T within given spans.

    Attributes:
        values: (L,) singular values, or eigenvalues, descending.
        mix_f, mix_g: (K, L), (K', L): functions f = features @ mix_f, normalised; the same object
            for eigenvalues.
        cut: relative size below which directions of the spans were dropped.
        score: Σ_l ⟨g_l|T f_l⟩ on the held-out points, by which spans can be compared.
    """

    values: Tensor
    mix_f: Tensor
    mix_g: Tensor
    cut: float
    score: float


@dataclass(frozen=True)
class _Compressed:
    """Gram matrices and ⟨g|Tf⟩ of two bases on one sample."""

    gram_f: Tensor
    gram_g: Tensor
    pi: Tensor


@torch.no_grad()
def galerkin(
    form: Form,
    features: Function,
    left: Function | None = None,
    *,
    modes: int,
    sample: Sample,
    held_out: Sample,
) -> InSpan:
    """The closed-form head: orthonormal bases by QR, then eigh or SVD of ⟨g|Tf⟩ between them.

    Args:
        form: T; eigenvalues if ``left`` is None, which presumes T self-adjoint.
        features: f, (B, d) → (B, K).
        left: g for a singular value decomposition.
        modes: L.
        sample: points for the solution: a quadrature, or some thousand random ones.
        held_out: other points; of all cuts of the bases the one is kept whose functions have the
            largest sum of Rayleigh quotients there. A basis that exploits the points falls through.

    Raises:
        SpanError: the features span fewer than ``modes`` functions.
    """
    evd = left is None
    other = features if left is None else left
    basis_f = _basis(features, sample.x.x, sample.x.weight)
    basis_g = basis_f if evd else _basis(other, sample.y.x, sample.y.weight)
    here = _compress(form, features, other, basis_f, basis_g, sample, evd)
    there = _compress(form, features, other, basis_f, basis_g, held_out, evd)
    best: InSpan | None = None
    seen: set[tuple[int, int]] = set()
    for cut in CUTS:
        kf, kg = basis_f.rank(cut), basis_g.rank(cut)
        if min(kf, kg) < modes or (kf, kg) in seen:
            continue
        seen.add((kf, kg))
        block = here.pi[:kg, :kf]
        if evd:
            found, vectors = torch.linalg.eigh((block + block.T) / 2)
            values, vf = found.flip(0)[:modes], vectors.flip(1)[:, :modes]
            vg = vf
        else:
            u, s, vh = torch.linalg.svd(block, full_matrices=False)
            values, vf, vg = s[:modes], vh[:modes].T, u[:, :modes]
        score = _judged(there, vf, vg, kf, kg)
        if best is None or score > best.score:
            mix_f = basis_f.mix[:, :kf] @ vf
            mix_g = mix_f if evd else basis_g.mix[:, :kg] @ vg
            best = InSpan(values, mix_f, mix_g, cut, score)
    if best is None:
        raise SpanError(f"the features span fewer than {modes} functions on these points")
    return best


def _basis(function: Function, x: Tensor, weight: Tensor) -> Basis:
    values = torch.cat([Exact()(function, part, 0).value for part in x.split(CHUNK)])
    return orthonormalise(values * weight.sqrt()[:, None], tolerance=CUTS[-1])


def _compress(
    form: Form,
    f: Function,
    g: Function,
    basis_f: Basis,
    basis_g: Basis,
    sample: Sample,
    evd: bool,
) -> _Compressed:
    order, left_order = form.orders()

    def jets(function: Function, basis: Basis, x: Tensor, order: int) -> Jet:
        parts = [Exact()(function, p, order).mix(basis.mix) for p in x.split(CHUNK)]
        return Jet(torch.cat([p.streams for p in parts], 1), parts[0].dim, order)

    def part(s: Sample) -> tuple[Tensor, Tensor, Tensor]:
        jf = jets(f, basis_f, s.x.x, order)
        same = evd and s.shared and left_order <= order
        jg = jf if same else jets(g, basis_g, s.y.x, left_order)
        gram_f = inner(jf.value, jf.value, s.x.weight)
        gram_g = gram_f if same else inner(jg.value, jg.value, s.y.weight)
        return gram_f, gram_g, form.matrix(jg, jf, s)

    if not (form.additive and sample.shared):
        return _Compressed(*part(sample))
    total: tuple[Tensor, ...] | None = None
    for start in range(0, len(sample.x), CHUNK):
        points = sample.x.part(slice(start, start + CHUNK))
        piece = part(Sample(points, points))
        total = piece if total is None else tuple(a + b for a, b in zip(total, piece, strict=True))
    assert total is not None
    return _Compressed(*total)


def _judged(there: _Compressed, vf: Tensor, vg: Tensor, kf: int, kg: int) -> float:
    """Σ ⟨g_l|T f_l⟩ after orthonormalising f and g, in their order, on these points."""
    pi = vg.T @ there.pi[:kg, :kf] @ vf
    gram_f = vf.T @ there.gram_f[:kf, :kf] @ vf
    gram_g = vg.T @ there.gram_g[:kg, :kg] @ vg
    roots = []
    for gram in (gram_f, gram_g):
        root, info = torch.linalg.cholesky_ex(gram)
        if int(info) or not bool(root.isfinite().all()):
            return -float("inf")
        roots.append(root)
    inner_ = torch.linalg.solve_triangular(roots[1], pi, upper=False)
    whole = torch.linalg.solve_triangular(roots[0], inner_.T, upper=False)
    return float(whole.diagonal().sum())
