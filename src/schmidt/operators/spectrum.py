"""Values from functions: norms, Rayleigh–Ritz; whether T is self-adjoint on them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from schmidt.certificate import Certificate
from schmidt.linalg import fix_signs
from schmidt.operators.form import Form, Sample, inner
from schmidt.operators.jet import Derivatives, Exact, Function, Jet
from schmidt.operators.measures import Points
from schmidt.operators.methods import Method

CHUNK = 4096


@dataclass(frozen=True)
class Overlaps:
    """Λ_f = ⟨f_i|f_j⟩, Λ_g = ⟨g_i|g_j⟩ and Π = ⟨g_i|T f_j⟩ on evaluation points, float64."""

    gram_f: Tensor
    gram_g: Tensor
    pi: Tensor


@dataclass(frozen=True, kw_only=True)
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

    @property
    def certificate(self) -> Certificate:
        """Three estimates of one value, on sampled points: nothing is proven."""
        return Certificate(
            asked=f"{len(self.norm)} modes",
            notes=["estimates from the learned functions; nothing bounds what they miss"],
            estimates={"norm": self.norm, "rayleigh": self.rayleigh, "ritz": self.ritz},
        )


def double(function: Function) -> Function:
    """A float64 copy of a network on the CPU; other callables as they are."""
    return copy.deepcopy(function).cpu().double() if isinstance(function, nn.Module) else function


@torch.no_grad()
def overlaps(
    form: Form,
    f: Function,
    g: Function | None,
    sample: Sample,
    derivatives: Derivatives | None = None,
) -> Overlaps:
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
        return Overlaps(*part(sample))
    total: tuple[Tensor, ...] | None = None
    for start in range(0, len(sample.x), CHUNK):
        points: Points = sample.x.part(slice(start, start + CHUNK))
        piece = part(Sample(points, points))
        total = piece if total is None else tuple(a + b for a, b in zip(total, piece, strict=True))
    assert total is not None
    return Overlaps(*total)


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


def rayleigh_ritz(m: Overlaps, evd: bool, tolerance: float) -> tuple[Tensor, Tensor, Tensor]:
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
    m = overlaps(form, f, g, sample, derivatives)
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


class Functions(nn.Module):
    """k functions Σ_i f_i(x) mix_il of a network's L outputs; complex if ``mix`` is.

    Call with numpy points (or lists of them) and get a numpy array (N, k) (or (N, k, O)) of the
    same precision, or with a tensor and get a tensor.

    To read functions back from a file, make the network and hand ``Functions(network,
    torch.zeros(L, k))`` to :meth:`schmidt.Factorization.load`.
    """

    mix: Tensor

    def __init__(self, network: Function, mix: Tensor) -> None:
        super().__init__()
        self.network = network
        wide = torch.complex128 if mix.is_complex() else torch.float64
        self.register_buffer("mix", mix.detach().to(wide))

    def forward(self, x: Any) -> Any:
        if isinstance(x, Tensor):
            return self._values(x)
        points = np.array(x)
        with torch.no_grad():
            out = self._values(torch.from_numpy(points).to(self._device()))
        values = out.cpu().numpy()
        if np.iscomplexobj(values) or not np.issubdtype(points.dtype, np.floating):
            return values
        return values.astype(points.dtype)

    def _device(self) -> torch.device:
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    def _dtype(self) -> torch.dtype | None:
        return next((p.dtype for p in self.parameters()), None)

    def _values(self, x: Tensor) -> Tensor:
        if x.is_floating_point() and x.ndim == 1:
            x = x[:, None]
        # integers in one axis are indices, in two they are coordinates
        inside = x.to(self._dtype()) if x.is_floating_point() or x.ndim == 2 else x
        if hasattr(self.network, "mixed") and not self.mix.is_complex():
            out = self.network.mixed(inside, 0, self.mix.to(inside)).value
        else:
            values = self.network(inside)
            mix = self.mix.to(torch.promote_types(self.mix.dtype, values.dtype))
            mix = mix if mix.is_complex() else mix.to(values)
            out = torch.einsum("bi...,il->bl...", values.to(mix.dtype), mix)
        return out.to(x.dtype) if x.is_floating_point() and not out.is_complex() else out

    def jet(self, x: Tensor, order: int) -> Jet:
        """Values and derivatives, in the network's precision."""
        jet = Exact()(self.network, x.to(self._dtype()), order)
        return jet.mix(self.mix.to(jet.streams))

    def select(self, chosen: Any) -> Functions:
        """Some of the functions, by position."""
        return Functions(self.network, self.mix[:, torch.as_tensor(chosen)])

    def truncate(self, k: int) -> Functions:
        return Functions(self.network, self.mix[:, :k])


class NotSelfAdjointError(ValueError):
    """A form was given to an eigenvalue method, but is measurably not self-adjoint."""


def asymmetry(
    form: Form,
    function: Function,
    derivatives: Derivatives,
    *,
    n: int,
    batches: int = 8,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> tuple[float, float]:
    """The relative size of the antisymmetric part of ⟨p_i|T p_j⟩, and its significance.

    The probes p are the given functions and their products with random plane waves, which keep
    decay and boundary values and are enough even for a single function. Multiples of the identity
    in T, which are symmetric and may be large, are left out.

    Returns:
        (‖Π − Πᵀ‖ / 2‖Π‖ with the noise of sampling removed, its distance from zero in standard
        errors).
    """
    form = form.unshifted
    generator = torch.Generator().manual_seed(20240722)
    waves: list[Tensor] = []
    odd: list[Tensor] = []
    even = torch.zeros(())

    def probes(x: Tensor) -> Jet:
        jet = derivatives(function, x, form.order)
        if not x.is_floating_point() or x.ndim != 2:
            return jet
        if not waves:
            spread = float(x.std()) if len(x) > 1 else 1.0
            direction = torch.randn(x.shape[1], 2, generator=generator) / max(spread, 1e-12)
            waves.append(direction.to(x))
        phase = Jet.coordinates(x, form.order).mix(waves[0])
        sine, cosine = phase.value.sin(), phase.value.cos()
        wave = phase.chain(sine, cosine, -sine)
        scaled = [jet]
        for column in range(2):
            factor = Jet(wave.streams[:, :, column : column + 1], jet.dim, jet.order)
            if jet.streams.ndim == 4:
                factor = Jet(factor.streams[..., None], jet.dim, jet.order)
            scaled.append(jet * factor)
        return Jet.cat(scaled)

    with torch.no_grad():
        for _ in range(batches):
            sample = form.sample(n, generator).to(device, dtype)
            f = probes(sample.x.x)
            g = f if sample.shared else probes(sample.y.x)
            pi = form.matrix(g, f, sample).double().cpu()
            odd.append((pi - pi.T) / 2)
            even = even + pi / batches
    stack = torch.stack(odd).flatten(1)
    # ⟨A_k, A_k'⟩ of independent batches has mean ‖E A‖²
    products = (stack @ stack.T)[~torch.eye(batches, dtype=torch.bool)]
    size = max(float(products.mean()), 0.0) ** 0.5
    noise = float(stack.var(0).sum() / batches) ** 0.5
    scale = max(float(even.norm()), 1e-300)
    return size / scale, size / max(noise, 1e-12 * scale)


def require_self_adjoint(
    form: Form,
    function: Function,
    derivatives: Derivatives,
    *,
    n: int,
    dtype: torch.dtype,
    device: str,
    tolerance: float = 1e-2,
) -> None:
    """Refuse a form that is not self-adjoint; what is known to be passes without measurement."""
    advice = (
        "Eigenvalues by nested low-rank approximation need a self-adjoint T. Give a second network "
        "`left` to get the singular value decomposition instead"
    )
    if form.self_adjoint and form.order < 2:
        return
    sample = form.sample(2, torch.Generator().manual_seed(0))
    if sample.x.x.shape[1:] != sample.y.x.shape[1:] or not form.one_space:
        raise NotSelfAdjointError(f"this form maps between two different spaces. {advice}.")
    relative, significance = asymmetry(form, function, derivatives, n=n, dtype=dtype, device=device)
    if form.self_adjoint is False or (relative > tolerance and significance > 4):
        reason = (
            " (in strong form the functions must also satisfy the boundary conditions)"
            if form.order == 2
            else ""
        )
        raise NotSelfAdjointError(
            f"this form is not self-adjoint on the given functions: the antisymmetric part of "
            f"⟨f_i|T f_j⟩ is {relative:.1%} of the whole, {significance:.0f} standard errors from "
            f"zero{reason}. {advice}."
        )
