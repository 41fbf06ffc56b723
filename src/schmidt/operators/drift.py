"""Diffusion with a drift: second-order operators that are not self-adjoint in general."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from schmidt.operators.form import PointwiseForm, Sample, inner
from schmidt.operators.jet import Jet
from schmidt.operators.measures import Measure
from schmidt.operators.measures.field import Field, cast, evaluate

VectorField = Callable[[Tensor], Tensor]
"""Points (B, d) to vectors (B, d)."""


class ConvectionDiffusion(PointwiseForm):
    """T f = a ∇²f + b·∇f − V f, in strong form: ⟨g|T f⟩ with second derivatives of f, none of g.

    The generator of dX = b dt + √(2a) dW; with b = ∇U and V = −∇²U the Fokker–Planck operator
    ∇·(∇f + f∇U). a stands before the Laplacian; for ∇·(a∇f) add ∇a to the drift.

    Args:
        measure: of the space L² in which inner products are taken, e.g. Lebesgue or the stationary
            law. It decides whether T is self-adjoint.
        drift: b, points (B, d) → (B, d).
        diffusion: a, a number or a scalar field, positive.
        potential: V, default 0.
        self_adjoint: True or False if known; None has it measured when it matters.

    Nothing is integrated by parts, so boundary conditions are those of the functions.
    """

    order = 2
    left_order = 0

    def __init__(
        self,
        measure: Measure,
        drift: VectorField,
        diffusion: float | Field = 1.0,
        potential: Field | None = None,
        *,
        self_adjoint: bool | None = None,
    ) -> None:
        super().__init__(measure)
        if not callable(diffusion) and not diffusion > 0:
            raise ValueError(f"the diffusion must be positive, got {diffusion}")
        self.drift, self.diffusion, self.potential = drift, diffusion, potential
        self.self_adjoint = self_adjoint

    def matrix(self, g: Jet, f: Jet, sample: Sample) -> Tensor:
        return inner(g.value, self.action(f, sample), sample.x.weight)

    def action(self, f: Jet, sample: Sample) -> Tensor:
        """a ∇²f + b·∇f − V f; needs jets of order 2."""
        x = sample.x.x
        rows = (-1, *[1] * (f.value.ndim - 1))
        out = self._spread(f.laplacian, x, rows)
        out = out + (self._velocity(x).reshape(*rows, f.dim) * f.gradient).sum(-1)
        if self.potential is not None:
            out = out - evaluate(self.potential, x, "the potential").reshape(rows) * f.value
        return out

    def _spread(self, laplacian: Tensor, x: Tensor, rows: tuple[int, ...]) -> Tensor:
        if not callable(self.diffusion):
            return self.diffusion * laplacian
        return evaluate(self.diffusion, x, "the diffusion").reshape(rows) * laplacian

    def _velocity(self, x: Tensor) -> Tensor:
        b = cast(self.drift(x), x, "the drift")
        if b.shape != x.shape:
            raise ValueError(
                f"the drift must map points (B, d) to vectors (B, d): it gave {tuple(b.shape)} for "
                f"points {tuple(x.shape)}"
            )
        return b
