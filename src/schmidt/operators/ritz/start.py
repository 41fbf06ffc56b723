"""Ritz solutions at both ends of a training run: where it starts, and how it is polished."""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import Tensor, nn

from schmidt.operators.form import Form, Sample
from schmidt.operators.jet import Function
from schmidt.operators.measures import Points
from schmidt.operators.networks.ansatz import Hidden
from schmidt.operators.ritz.in_span import InSpan, SpanError, galerkin
from schmidt.operators.spectrum import Functions, double, spectrum

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
