"""Differential operators: Schrödinger, second-order self-adjoint ones, diffusion with a drift."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from schmidt.operators.form import PointwiseForm, Sample, inner
from schmidt.operators.jet import Jet
from schmidt.operators.measures import Measure, Weighted
from schmidt.operators.measures.measure import Field, cast, evaluate
from schmidt.parameters import Choice, Kind, Number, check

PARAMETERS = {
    "potential": Kind((Callable,), "a function of points (B, d)"),  # type: ignore[arg-type]
    "drift": Kind((Callable,), "a function of points (B, d)"),  # type: ignore[arg-type]
    "measure": Kind((Measure,), "a measure such as Lebesgue(Gaussian(1.0, 2))"),
    "form": Choice("weak", "strong"),
    "kinetic": Number(0, open="low"),
    "diffusion": Number(0, open="low"),
}


def _against(field: Tensor, values: Tensor) -> Tensor:
    return field.reshape(-1, *[1] * (values.ndim - 1)) * values


class Schrodinger(PointwiseForm):
    """T = −H = ∇² − V: the negative Hamiltonian, so that the lowest energies are on top.

    Args:
        potential: V, points (B, d) → (B,).
        measure: usually :class:`~schmidt.operators.measures.Lebesgue`.
        form: "weak", −⟨∇g|∇f⟩ − ⟨g|V f⟩, needs first derivatives only and is symmetric on any
            points; "strong", ⟨g|∇²f − V f⟩, has a pointwise action, and its estimates of
            eigenvalues have no variance at an eigenfunction.
        kinetic: factor of ∇² (ħ²/2m).

    Functions must be continuous and vanish (or be periodic) at the boundary; the weak form imposes
    Neumann conditions on whatever boundary is left free.
    """

    self_adjoint = True

    def __init__(
        self, potential: Field, measure: Measure, *, form: str = "weak", kinetic: float = 1.0
    ) -> None:
        super().__init__(measure)
        check(PARAMETERS, potential=potential, measure=measure, form=form, kinetic=kinetic)
        self.potential, self.kinetic, self.form = potential, kinetic, form
        self.order, self.left_order = (1, 1) if form == "weak" else (2, 0)

    def matrix(self, g: Jet, f: Jet, sample: Sample) -> Tensor:
        if self.form == "strong":
            return inner(g.value, self.action(f, sample), sample.x.weight)
        w = sample.x.weight
        v = evaluate(self.potential, sample.x.x, "the potential")
        return -self.kinetic * inner(g.gradient, f.gradient, w) - inner(g.value, f.value, w * v)

    def action(self, f: Jet, sample: Sample) -> Tensor:
        """∇²f − V f; needs jets of order 2."""
        v = evaluate(self.potential, sample.x.x, "the potential")
        return self.kinetic * f.laplacian - _against(v, f.value)


class SelfAdjointDifferential(PointwiseForm):
    """T = −A where A f = (1/ρ)(−∇·(a ∇f) + V f) in L²(ρ dx), in weak form; where a is a scalar
    field also pointwise, for the Ritz solver.

    ⟨g|T f⟩ = −∫ (a ∇g·∇f + V g f) dx and ⟨g|f⟩ = ∫ ρ g f dx.

    Args:
        measure: dx; or ρ dx as ``Weighted(dx, ρ)`` with ρ > 0, for a weight on the right of
            −∇·(a ∇f) + V f = λ ρ f. (Weight a product as a whole, not its factors.)
        diffusion: a, scalar field (B,) or matrix field (B, d, d), symmetric; default 1.
        potential: V, default 0.
    """

    order = 1
    self_adjoint = True

    def __init__(
        self,
        measure: Measure,
        *,
        diffusion: Field | None = None,
        potential: Field | None = None,
    ) -> None:
        super().__init__(measure)
        self.diffusion, self.potential = diffusion, potential

    def matrix(self, g: Jet, f: Jet, sample: Sample) -> Tensor:
        x, w = sample.x.x, self._plain(sample)
        flux, weight = f.gradient, w
        if self.diffusion is not None:
            a = cast(self.diffusion(x), x, "the diffusion")
            if a.ndim == 3:
                flux = torch.einsum("bde,b...e->b...d", _symmetric(a, x), flux)
            else:
                weight = w * evaluate(lambda _: a, x, "the diffusion")
        out = -inner(g.gradient, flux, weight)
        if self.potential is not None:
            v = evaluate(self.potential, x, "the potential")
            out = out - inner(g.value, f.value, w * v)
        return out

    def action(self, f: Jet, sample: Sample) -> Tensor:
        """(a ∇²f + ∇a·∇f − V f)/ρ; needs jets of order 2, and a as a differentiable scalar field.

        Raises:
            ValueError: a is a matrix field: jets hold Laplacians, not second derivatives one by
                one.
        """
        x = sample.x.x
        out = f.laplacian
        if self.diffusion is not None:
            with torch.enable_grad():
                at = x.detach().requires_grad_()
                a = cast(self.diffusion(at), at, "the diffusion")
                if a.ndim == 3:
                    raise ValueError(
                        "a SelfAdjointDifferential whose diffusion is a matrix has no pointwise "
                        "action, which residuals need: train its functions, or use "
                        "schmidt.operators.ritz.galerkin, which needs ⟨g|Tf⟩ only"
                    )
                a = evaluate(lambda _: a, at, "the diffusion")
                slope = torch.zeros_like(at)
                if a.requires_grad:
                    (slope,) = torch.autograd.grad(a.sum(), at)
            rows = slope.reshape(len(x), *[1] * (f.value.ndim - 1), f.dim)
            out = _against(a.detach(), out) + (rows * f.gradient).sum(-1)
        if self.potential is not None:
            out = out - _against(evaluate(self.potential, x, "the potential"), f.value)
        if isinstance(self.measure, Weighted):
            out = _against(1 / self.measure.density(x).to(x), out)
        return out

    def _plain(self, sample: Sample) -> Tensor:
        """The weights of dx, from those of ρ dx."""
        if not isinstance(self.measure, Weighted):
            return sample.x.weight
        density = self.measure.density(sample.x.x)
        if not bool((density > 0).all()):
            raise ValueError(
                f"the density of a SelfAdjointDifferential must be positive: in {density.dtype} it "
                "is zero at some points. Choose a proposal that stays where it is positive"
            )
        return sample.x.weight / density


def _symmetric(a: Tensor, x: Tensor) -> Tensor:
    points, dim = x.shape
    if a.shape != (points, dim, dim):
        raise ValueError(
            f"the diffusion must map points (B, d) to values (B,) or matrices (B, d, d): it gave "
            f"{tuple(a.shape)} for points {tuple(x.shape)}"
        )
    if not torch.allclose(a, a.mT, atol=1e-6):
        raise ValueError("the diffusion matrix must be symmetric")
    return a


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
        if not callable(diffusion):
            check(PARAMETERS, diffusion=diffusion)
        check(PARAMETERS, drift=drift, measure=measure)
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
