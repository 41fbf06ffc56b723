"""What every solver returns: singular triplets as tensors, and what it knows about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True)
class Triplets:
    """A ≈ U diag(s) Vᴴ with orthonormal columns and descending s.

    Attributes:
        left: U, (m, k); None where it is A V diag(s)⁻¹ and nobody holds it.
        values: s, (k,), real.
        right: V, (n, k).
        residuals: (k,) ‖Aᴴu − s v‖ where the solver measured it and A v = s u holds by
            construction; None where nobody has looked yet.
        spectrum: all min(m, n) singular values, where the solver found them.
        products: columns that A or Aᴴ was applied to.
        settings: what the solver did.
    """

    left: Any
    values: Tensor
    right: Tensor
    residuals: Tensor | None = None
    spectrum: Tensor | None = None
    products: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)

    def truncate(self, rank: int) -> Triplets:
        """The first ``rank`` triplets."""
        return Triplets(
            None if self.left is None else self.left[:, :rank],
            self.values[:rank],
            self.right[:, :rank],
            None if self.residuals is None else self.residuals[:rank],
            self.spectrum,
            self.products,
            self.settings,
        )

    @property
    def adjoint(self) -> Triplets:
        """Of Aᴴ; measured residuals are of the other side then, and stay what they are."""
        return Triplets(
            self.right,
            self.values,
            self.left,
            self.residuals,
            self.spectrum,
            self.products,
            self.settings,
        )
