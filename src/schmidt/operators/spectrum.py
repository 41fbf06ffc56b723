"""Values from functions: by norms, by Rayleigh quotients, and by Rayleigh–Ritz in their span."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from schmidt.linalg import fix_signs
from schmidt.operators.derivatives import Derivatives, Exact, Function
from schmidt.operators.form import Form, Sample, inner
from schmidt.operators.measures import Points
from schmidt.operators.methods import Method

CHUNK = 4096


@dataclass(frozen=True)
class Moments:
    """Λ_f = ⟨f_i|f_j⟩, Λ_g = ⟨g_i|g_j⟩ and Π = ⟨g_i|T f_j⟩ on evaluation points, float64."""

    gram_f: Tensor
    gram_g: Tensor
    pi: Tensor


@dataclass(frozen=True)
class Spectrum:
    """Three estimates of the leading values of T from L learned functions.

    Attributes:
        norm: ‖f_l‖‖g_l‖ (D.5), in learned order; learned by the network itself. NaN for methods
            whose norms mean nothing.
        rayleigh: ⟨g_l|T f_l⟩/(‖f_l‖‖g_l‖), in learned order.
        ritz: values of T compressed to the learned span (A.2), descending; NaN for as many of the
            last as there are vanished modes, or dimensions missing in the span.
        vanished: modes that are zero functions, as they become when the operator has no more
            positive values for them (Theorem C.5).
        mix_f, mix_g: (L, rank) combinations of f and g that make the Ritz functions, normalised.
        own_f, own_g: (L, L) combinations of f and g that are the learned functions, in learned
            order: f and g themselves unless the method reads them out, normalised, signs fixed.
    """

    norm: np.ndarray
    rayleigh: np.ndarray
    ritz: np.ndarray
    vanished: np.ndarray
    mix_f: Tensor
    mix_g: Tensor
    own_f: Tensor
    own_g: Tensor

    @property
    def rank(self) -> int:
        """Dimension of the learned span."""
        return self.mix_f.shape[1]


def double(function: Function) -> Function:
    """A float64 copy of a network on the CPU; other callables as they are."""
    return copy.deepcopy(function).cpu().double() if isinstance(function, nn.Module) else function


@torch.no_grad()
def moments(
    form: Form,
    f: Function,
    g: Function | None,
    sample: Sample,
    derivatives: Derivatives | None = None,
) -> Moments:
    """Evaluate Λ_f, Λ_g and Π on a sample; ``g=None`` means g = f."""
    derivatives = derivatives or Exact()
    same = g is None
    left = f if g is None else g

    def part(s: Sample) -> tuple[Tensor, Tensor, Tensor]:
        jf = derivatives(f, s.x.x, form.order)
        jg = jf if same and s.shared else derivatives(left, s.y.x, form.order)
        gram_f = inner(jf.value, jf.value, s.x.weight)
        gram_g = gram_f if jg is jf else inner(jg.value, jg.value, s.y.weight)
        return gram_f, gram_g, form.matrix(jg, jf, s)

    if not (form.additive and sample.shared):
        return Moments(*part(sample))
    total: tuple[Tensor, ...] | None = None
    for start in range(0, len(sample.x), CHUNK):
        points: Points = sample.x.part(slice(start, start + CHUNK))
        piece = part(Sample(points, points))
        total = piece if total is None else tuple(a + b for a, b in zip(total, piece, strict=True))
    assert total is not None
    return Moments(*total)


def _vanished(norm: Tensor, ritz: Tensor, normalised: bool) -> Tensor:
    """Which modes are zero functions.

    T has as many values in the learned span as there are positive Ritz values; of the modes beyond
    that number, those are zero functions whose norm is far below the smallest such value – or, for
    methods whose norms mean nothing, far below the largest norm.
    """
    floor = 1e-6 * ritz.abs().max()
    positive = ritz[ritz > floor]
    spare = len(norm) - len(positive)
    vanished = torch.zeros(len(norm), dtype=torch.bool)
    if spare and len(positive):
        smallest = norm.argsort()[:spare]
        least = 1e-4 * norm.max() if normalised else 0.1 * positive.min()
        vanished[smallest] = norm[smallest] < least
    return vanished


def _whiten(gram: Tensor, tolerance: float) -> Tensor:
    """W with WᵀGW = I on the numerical range of a Gram matrix of nearly parallel columns."""
    diagonal = gram.diagonal()
    scale = torch.where(diagonal > 1e-14 * diagonal.max(), diagonal.rsqrt(), 0 * diagonal)
    values, vectors = torch.linalg.eigh(gram * scale[:, None] * scale)
    keep = values > tolerance * values[-1]
    return scale[:, None] * vectors[:, keep] * values[keep].rsqrt()


def rayleigh_ritz(m: Moments, evd: bool, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
    """T compressed to the span of the functions (A.2): values, and mixing matrices for f and g.

    The Gram matrices are whitened with their eigenvalues below ``tolerance`` (relative) cut off.
    """
    if evd:
        w = _whiten(m.gram_f, tolerance)
        compressed = w.T @ m.pi @ w
        values, vectors = torch.linalg.eigh((compressed + compressed.T) / 2)
        mix = w @ vectors.flip(1)
        return values.flip(0), mix, mix
    wf, wg = _whiten(m.gram_f, tolerance), _whiten(m.gram_g, tolerance)
    u, s, vh = torch.linalg.svd(wg.T @ m.pi @ wf, full_matrices=False)
    return s, wf @ vh.T, wg @ u


def spectrum(
    form: Form,
    f: Function,
    g: Function | None = None,
    sample: Sample | None = None,
    *,
    derivatives: Derivatives | None = None,
    method: Method | None = None,
    tolerance: float = 1e-10,
) -> Spectrum:
    """Estimate the values of T and prepare the functions, on held-out points.

    Args:
        form: T.
        f: right functions (B, d) → (B, L[, O]).
        g: left functions; None for eigenvalues of a self-adjoint T.
        sample: evaluation points; default ``form.evaluation()``.
        derivatives: how to differentiate; default exact.
        method: what the functions were learned by; default: nested low-rank approximation.
        tolerance: relative cut of the Gram matrix's eigenvalues in whitening.

    Networks are evaluated in float64.
    """
    sample = (form.evaluation() if sample is None else sample).to("cpu", torch.float64)
    f, g = double(f), None if g is None else double(g)
    m = moments(form, f, g, sample, derivatives)
    size_f, size_g = m.gram_f.diagonal().sqrt(), m.gram_g.diagonal().sqrt()
    norm = size_f * size_g
    normalised = method is not None and method.normalised
    if not bool((norm > 0).any()):
        raise ValueError("all functions are zero on the evaluation points: nothing was learned")
    values, mix_f, mix_g = rayleigh_ritz(m, g is None, tolerance)
    vanished = _vanished(norm, values, normalised)
    kept = min(len(values), len(norm) - int(vanished.sum()))
    ritz = torch.full_like(norm, float("nan"))
    ritz[:kept] = values[:kept]
    whole_f, whole_g = mix_f[:, :kept], mix_g[:, :kept]
    with torch.no_grad():
        few = sample.x.x[: 4 * CHUNK]
        shown = f(few)
    if shown.ndim > 2:
        shown = shown.flatten(2).transpose(1, 2).reshape(-1, shown.shape[1])
    sign, ritz_sign = fix_signs(shown), fix_signs(shown @ whole_f)
    own_f, own_g = ((sign / size.clamp_min(1e-300)).diag() for size in (size_f, size_g))
    readout = None if method is None else method.readout(m.gram_f)
    if readout is not None:
        own_f = own_g = readout * fix_signs(shown @ readout)
    rayleigh = (own_g * (m.pi @ own_f)).sum(0)
    return Spectrum(
        norm=np.full(len(norm), np.nan) if normalised else norm.numpy(),
        rayleigh=rayleigh.numpy(),
        ritz=ritz.numpy(),
        vanished=vanished.numpy(),
        mix_f=whole_f * ritz_sign,
        mix_g=whole_g * ritz_sign,
        own_f=own_f,
        own_g=own_g,
    )
