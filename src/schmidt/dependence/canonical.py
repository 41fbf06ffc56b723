"""The linear canonical dependence kernel in closed form, from moments of features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from schmidt.dependence.moments import Moments, pooled
from schmidt.linalg import fix_signs

RIDGES = tuple(10 ** (k / 2) for k in range(-12, 3))
"""From 1e-6 to 10."""
NUMERICAL_RANK = 1e-10
MANY = 300
"""Features beyond which one decomposition takes long."""
UNCHOSEN = 1e-3
"""The ridge where data cannot be parted to choose it."""


@dataclass(frozen=True)
class Canonical:
    """The singular pairs of the kernel within the spans of the features.

    Attributes:
        values: (L,) descending.
        mix_f, mix_g: (K, L), (K′, L): functions (f − mean) @ mix, of norm √values.
    """

    values: Tensor
    mix_f: Tensor
    mix_g: Tensor

    def truncate(self, modes: int) -> Canonical:
        return Canonical(self.values[:modes], self.mix_f[:, :modes], self.mix_g[:, :modes])

    def padded(self, modes: int) -> Canonical:
        """As many pairs as asked for, those beyond what the features span being zero."""
        parts = (self.values[:modes], self.mix_f[:, :modes], self.mix_g[:, :modes])
        missing = modes - len(parts[0])
        return Canonical(*(torch.nn.functional.pad(t, (0, missing)) for t in parts))


def canonical(m: Moments, *, ridge: float = 0.0, tied: bool = False) -> Canonical:
    """All singular pairs of p(x,y)/(p(x)p(y)) − 1 compressed to linear functions of the features.

    Args:
        m: moments of the features.
        ridge: added to both covariances, relative to the mean of their eigenvalues. 0 is canonical
            correlation analysis; directions without variance are dropped.
        tied: one map for both sides: the kernel symmetrised over the two domains, and its positive
            part. The features must be of one kind.

    Cost O(K³).
    """
    return _Problem(m, tied).solve(ridge)


def h_score(m: Moments, c: Canonical, centre: Moments) -> float:
    """E[fᵀg] − E[f]ᵀE[g] − ½ tr Λ_f Λ_g under the law of ``m``, features centred by means of
    ``centre``."""
    f, g = (
        mix.T @ (cov + torch.outer(d, d)) @ mix
        for mix, cov, d in (
            (c.mix_f, m.cov_f, m.mean_f - centre.mean_f),
            (c.mix_g, m.cov_g, m.mean_g - centre.mean_g),
        )
    )
    cross = ((c.mix_f.T @ m.cross) * c.mix_g.T).sum()
    return float(cross - (f * g).sum() / 2)


def choose_ridge(
    parts: Sequence[tuple[Moments, float]], *, modes: int | None = None, tied: bool = False
) -> float:
    """The ridge of the largest H-score on parts that were left out, on the mean over the parts.

    Args:
        parts: moments of disjoint parts of the data, and their masses. For many features only the
            first part is left out, and every second ridge is tried.
        modes: that will be used; None for all.
    """
    many = len(parts[0][0].mean_f) > MANY
    ridges = RIDGES[::2] if many else RIDGES
    scores = torch.zeros(len(ridges), dtype=torch.float64)
    for i in range(1 if many else len(parts)):
        train = pooled([*parts[:i], *parts[i + 1 :]])
        problem = _Problem(train, tied)
        for j, ridge in enumerate(ridges):
            scores[j] += h_score(parts[i][0], problem.solve(ridge, modes), train)
    return ridges[int(scores.argmax())]


class _Problem:
    """Moments in the eigenbases of the covariances, in which every ridge is one decomposition."""

    def __init__(self, m: Moments, tied: bool) -> None:
        self.tied = tied
        if not tied:
            self.bases = [_basis(cov) for cov in (m.cov_f, m.cov_g)]
            self.cross = self.bases[0][1].T @ m.cross @ self.bases[1][1]
            return
        if m.cross.shape[0] != m.cross.shape[1]:
            raise ValueError(
                f"tied needs features of one size on both sides, got {tuple(m.cross.shape)}"
            )
        self.bases = [_basis((m.cov_f + m.cov_g) / 2)]
        basis = self.bases[0][1]
        self.cross = basis.T @ (m.cross + m.cross.T) @ basis / 2

    def solve(self, ridge: float, modes: int | None = None) -> Canonical:
        scales = [(v + ridge * mean).rsqrt() for v, _, mean in self.bases]
        compressed = scales[0][:, None] * self.cross * scales[-1]
        if self.tied:
            values, u = torch.linalg.eigh(compressed)
            values, u = values.flip(0)[:modes].clamp_min(0), u.flip(1)[:, :modes]
            sides = [u]
        else:
            u, values, vh = torch.linalg.svd(compressed, full_matrices=False)
            values, sides = values[:modes], [u[:, :modes], vh[:modes].T]
        mixes = [
            (vectors * scale) @ side * values.sqrt()
            for (_, vectors, _), scale, side in zip(self.bases, scales, sides, strict=True)
        ]
        sign = fix_signs(mixes[0])
        mixes = [mix * sign for mix in mixes]
        return Canonical(values, mixes[0], mixes[-1])


def _basis(cov: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues and vectors of a covariance without the directions that have no variance, and
    the mean of all eigenvalues."""
    values, vectors = torch.linalg.eigh(cov)
    values = values.clamp_min(0)
    if not bool(values[-1] > 0):
        raise ValueError("the features are constant: there is nothing to correlate")
    keep = values > NUMERICAL_RANK * values[-1]
    return values[keep], vectors[:, keep], values.mean()
