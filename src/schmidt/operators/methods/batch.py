"""What every method gets: jets of the functions at sampled points."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from schmidt.operators.form import Sample, inner
from schmidt.operators.jet import Jet


@dataclass(frozen=True)
class Batch:
    """Jets of f at the sample's points of X and of g at those of Y.

    Attributes:
        evd: g and f are the same functions (eigenvalue decomposition), although for kernels they
            are seen at different points. Where they are seen at the same points, ``g`` carries the
            gradient and ``f`` the derivatives that the form needs.
    """

    sample: Sample
    f: Jet
    g: Jet
    evd: bool

    @cached_property
    def gram_f(self) -> Tensor:
        """Λ_f = ⟨f_i|f_j⟩, detached."""
        value = self.f.value.detach()
        return inner(value, value, self.sample.x.weight)

    @cached_property
    def gram_g(self) -> Tensor:
        """Λ_g = ⟨g_i|g_j⟩, detached."""
        if self.evd and self.sample.shared:
            return self.gram_f
        value = self.g.value.detach()
        return inner(value, value, self.sample.y.weight)
