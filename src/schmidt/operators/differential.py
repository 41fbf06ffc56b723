"""Differential operators: Schrödinger, and general second-order self-adjoint ones."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from schmidt.operators.form import PointwiseForm, Sample, inner
from schmidt.operators.jet import Jet
from schmidt.operators.measures import Measure

Field = Callable[[Tensor], Tensor]
"""A scalar field: points (B, d) to values (B,)."""


def _evaluate(field: Field, x: Tensor, name: str) -> Tensor:
    values = field(x)
    if values.shape != x.shape[:1]:
        raise ValueError(
            f"{name} must map points (B, d) to values (B,): it gave {tuple(values.shape)} for "
            f"points {tuple(x.shape)}"
        )
    return values


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
        if form not in ("weak", "strong"):
            raise ValueError(f"form must be 'weak' or 'strong', got {form!r}")
        if not kinetic > 0:
            raise ValueError(f"the kinetic factor must be positive, got {kinetic}")
        self.potential, self.kinetic, self.form = potential, kinetic, form
        self.order = 1 if form == "weak" else 2

    def matrix(self, g: Jet, f: Jet, sample: Sample) -> Tensor:
        if self.form == "strong":
            return inner(g.value, self.action(f, sample), sample.x.weight)
        w = sample.x.weight
        v = _evaluate(self.potential, sample.x.x, "the potential")
        return -self.kinetic * inner(g.gradient, f.gradient, w) - inner(g.value, f.value, w * v)

    def action(self, f: Jet, sample: Sample) -> Tensor:
        """∇²f − V f; needs jets of order 2."""
        v = _evaluate(self.potential, sample.x.x, "the potential")
        return self.kinetic * f.laplacian - _against(v, f.value)


class SelfAdjointDifferential(PointwiseForm):
    """T = −A where A f = (1/ρ)(−∇·(a ∇f) + V f) in L²(ρ dx), in weak form.

    ⟨g|T f⟩ = −∫ (a ∇g·∇f + V g f) dx and ⟨g|f⟩ = ∫ ρ g f dx.

    Args:
        measure: μ = ρ dx.
        diffusion: a, scalar field (B,) or matrix field (B, d, d), symmetric; default 1.
        potential: V, default 0.
        density: ρ as a field; default 1 (then ``measure`` is dx).
    """

    order = 1
    self_adjoint = True

    def __init__(
        self,
        measure: Measure,
        *,
        diffusion: Field | None = None,
        potential: Field | None = None,
        density: Field | None = None,
    ) -> None:
        super().__init__(measure)
        self.diffusion, self.potential, self.density = diffusion, potential, density

    def matrix(self, g: Jet, f: Jet, sample: Sample) -> Tensor:
        x, w = sample.x.x, sample.x.weight
        if self.density is not None:
            w = w / _evaluate(self.density, x, "the density")
        flux, weight = f.gradient, w
        if self.diffusion is not None:
            a = self.diffusion(x)
            if a.ndim == 3:
                if not torch.allclose(a, a.mT, atol=1e-6):
                    raise ValueError("the diffusion matrix must be symmetric")
                flux = torch.einsum("bde,b...e->b...d", a, flux)
            else:
                weight = w * _evaluate(self.diffusion, x, "the diffusion")
        out = -inner(g.gradient, flux, weight)
        if self.potential is not None:
            v = _evaluate(self.potential, x, "the potential")
            out = out - inner(g.value, f.value, w * v)
        return out
