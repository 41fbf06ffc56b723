"""Rayleigh–Ritz in the span of many features, for every form; the ends of a training run."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from schmidt.certificate import Certificate
from schmidt.linalg import Span, span
from schmidt.operators.form import Form, Sample, inner
from schmidt.operators.jet import Exact, Function, Jet
from schmidt.operators.measures import Points
from schmidt.operators.networks.ansatz import Hidden
from schmidt.operators.ritz.collocation import FEATURES
from schmidt.operators.spectrum import Functions, double, spectrum

CUTS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10)
CHUNK = 2048


class SpanError(ValueError):
    """Features that span fewer functions than were asked for."""


@dataclass(frozen=True, kw_only=True)
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

    @property
    def certificate(self) -> Certificate:
        """What the span lacks is not known: nothing is proven."""
        return Certificate(
            asked=f"{len(self.values)} modes",
            notes=["the best within a span: what lies outside is not bounded"],
            estimates={"score": self.score, "cut": self.cut},
        )


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
            best = InSpan(values=values, mix_f=mix_f, mix_g=mix_g, cut=cut, score=score)
    if best is None:
        raise SpanError(f"the features span fewer than {modes} functions on these points")
    return best


def _basis(function: Function, x: Tensor, weight: Tensor) -> Span:
    values = torch.cat([Exact()(function, part, 0).value for part in x.split(CHUNK)])
    return span(values, weights=weight, cut=CUTS[-1], what=FEATURES)


def _compress(
    form: Form,
    f: Function,
    g: Function,
    basis_f: Span,
    basis_g: Span,
    sample: Sample,
    evd: bool,
) -> _Compressed:
    order, left_order = form.orders()

    def jets(function: Function, basis: Span, x: Tensor, order: int) -> Jet:
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


SEED = 5
"""Of the points."""
START_CUT = 1e-4
"""Coefficients of a start must stay of order one: training goes on from them in float32."""


def _samples(form: Form, seed: int) -> tuple[Sample, Sample]:
    """Points to solve on, and others to judge on."""
    first, second = form.solving(torch.Generator().manual_seed(seed))
    return first.to("cpu", torch.float64), second.to("cpu", torch.float64)


Pair = tuple[Function, Function]
"""Right and left functions; one and the same for eigenvalues."""


def _units(right: nn.Module, left: nn.Module | None) -> tuple[Hidden, Hidden]:
    """All hidden units of float64 copies of the networks."""
    f = Hidden(double(right))  # type: ignore[arg-type]
    return f, f if left is None else Hidden(double(left))  # type: ignore[arg-type]


def _outputs(right: nn.Module, left: nn.Module | None) -> Pair:
    f = double(right)
    return f, f if left is None else double(left)


def _solved(form: Form, pair: Pair, modes: int, points: tuple[Sample, Sample]) -> InSpan:
    """The Ritz solution in the spans of a pair."""
    f, g = pair
    other = None if g is f else g
    return galerkin(form, f, other, modes=modes, sample=points[0], held_out=points[1])


def polished(
    form: Form, right: nn.Module, left: nn.Module | None, modes: int
) -> tuple[Tensor, Functions, Functions]:
    """Values, right and left functions of the Ritz solution in the networks' hidden units, or in
    the span of their outputs where that is better on the points that judge.

    The values are those of a last Ritz step among the functions, on ``form.evaluation()`` where
    the form has a quadrature, else on the points that judge.

    Raises:
        SpanError: neither the units nor the outputs span as many functions as there are modes.
    """
    points = _samples(form, SEED)
    known: list[tuple[InSpan, Pair]] = []
    for pair in (_units(right, left), _outputs(right, left)):
        with suppress(SpanError):
            known.append((_solved(form, pair, modes, points), pair))
    if not known:
        raise SpanError(f"the networks span fewer than {modes} functions")
    found, (f, g) = max(known, key=lambda one: one[0].score)
    judged = None if form.quadrature() is not None else points[1]
    first, second = Functions(f, found.mix_f), Functions(g, found.mix_g)
    s = spectrum(form, first, None if left is None else second, judged)
    first = Functions(f, first.mix @ s.mix_f)
    values = torch.from_numpy(s.ritz[: s.rank])
    if left is None:
        return values, first, first
    return values, first, Functions(g, second.mix @ s.mix_g)


def start_networks(form: Form, right: nn.Module, left: nn.Module | None, modes: int) -> Tensor:
    """Set the readouts so that functions are as near as they can be to the Ritz solution in the
    span of all hidden units, with norm one. Returns the Ritz values (L,)."""
    f, g = _units(right, left)
    found = _solved(form, (f, g), modes, _samples(form, SEED))
    sample = _samples(form, SEED + 2)[0]
    _project(right, f, found.mix_f, sample.x)
    if left is not None:
        _project(left, g, found.mix_g, sample.y)
    return found.values


@torch.no_grad()
def _project(network: nn.Module, hidden: Hidden, mix: Tensor, points: Points) -> None:
    """Readouts by truncated least squares on the points, one function at a time."""
    root = points.weight.sqrt()[:, None]
    blocks = hidden.blocks(points.x, 0).value * root[..., None]
    target = blocks.flatten(1) @ mix
    rows = []
    for mode in range(mix.shape[1]):
        units = blocks[:, mode if blocks.shape[1] > 1 else 0]
        u, s, vh = torch.linalg.svd(units, full_matrices=False)
        keep = s > START_CUT * s[0]
        rows.append(vh[keep].T @ ((u[:, keep].T @ target[:, mode]) / s[keep]))
    Hidden(network).set_readout(torch.stack(rows))


@torch.no_grad()
def rescale(network: nn.Module, factors: Tensor) -> None:
    """Multiply function l of a network by factors[l] through its readout."""
    hidden = Hidden(network)
    trunk = hidden.trunk
    if hidden.plain:
        trunk[-1].weight.mul_(factors[:, None])
        if trunk[-1].bias is not None:
            trunk[-1].bias.mul_(factors)
    elif trunk.readout.ndim == 3:
        trunk.readout.mul_(factors[:, None, None])
    else:
        trunk.readout.mul_(factors)
