"""A proposal seen through an affine map."""

from __future__ import annotations

import torch
from torch import Tensor

from schmidt.operators.measures.proposals import Proposal


class Affine(Proposal):
    """The law of centre + A z with z from another proposal.

    Args:
        base: law of z.
        centre: (d,).
        lengths: A, (d, d), invertible.
    """

    def __init__(self, base: Proposal, centre: Tensor, lengths: Tensor) -> None:
        dim = base.dim
        if centre.shape != (dim,) or lengths.shape != (dim, dim):
            raise ValueError(
                f"need a centre of shape ({dim},) and lengths of shape ({dim}, {dim}), got "
                f"{tuple(centre.shape)} and {tuple(lengths.shape)}"
            )
        self.base, self.dim = base, dim
        self.aspect, self.sampling = base.aspect, base.sampling
        self.centre, self.lengths = centre.double(), lengths.double()
        self.volume = float(torch.linalg.det(self.lengths).abs())
        if not self.volume > 0:
            raise ValueError("the lengths of an affine map must be invertible")
        self.inverse = torch.linalg.inv(self.lengths)

    def _out(self, z: Tensor) -> Tensor:
        return self.centre + z @ self.lengths.T

    def _in(self, x: Tensor) -> Tensor:
        return (x - self.centre.to(x)) @ self.inverse.T.to(x)

    def transform(self, u: Tensor) -> Tensor:
        return self._out(self.base.transform(u))

    def density(self, x: Tensor) -> Tensor:
        return self.base.density(self._in(x)) / self.volume

    def weights(self, u: Tensor, x: Tensor) -> Tensor:
        return self.base.weights(u, self._in(x)) * self.volume

    def rule(self, n: int | None = None) -> tuple[Tensor, Tensor] | None:
        found = self.base.rule(n)
        return None if found is None else (self._out(found[0]), found[1] * self.volume)
