"""Nesting: what makes the learned singular functions come out one by one and in order.

The low-rank approximation objective of L terms only fixes a *subspace*. Nesting combines the
objectives of the first 1, 2, …, L terms, and every way of doing so is a pair of masks (m, M):

    gradient of term l  ∝  −m_l T*g_l + Σ_i M_il f_i ⟨g_i|g_l⟩          (Ryu et al. 2024, eq. 8)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from schmidt.parameters import Number, check


@dataclass(frozen=True)
class Masks:
    """The nesting masks: ``vector`` m of shape (L,) and ``matrix`` M of shape (L, L).

    ``matrix[i, l]`` says how strongly term ``i`` is projected out of term ``l``. When ``matrix``
    is symmetric the masks belong to one scalar objective (:func:`joint`, :func:`none`); the
    sequential masks do not, and define a gradient field only.
    """

    vector: Tensor
    matrix: Tensor

    @property
    def modes(self) -> int:
        return len(self.vector)

    def to(self, like: Tensor) -> Masks:
        """The same masks with the dtype and on the device of ``like``."""
        return Masks(self.vector.to(like), self.matrix.to(like))


def _groups(modes: int, step: int) -> Tensor:
    check({"modes": Number(1, whole=True)}, modes=modes)
    check({"step": Number(1, modes, whole=True)}, step=step)
    return torch.arange(modes) // step


def sequential(modes: int, step: int = 1, *, constant: bool = False) -> Masks:
    """Sequential nesting: mode l sees only the modes before it (eq. 5).

    m_l = 1 and M_il = 1{i ≤ l}. With ``step`` > 1 the modes are nested in groups of that size:
    inside a group only the subspace is determined. Best with disjoint networks. With ``constant``
    the masks are of modes + 1, a known mode 0 going before all others: M_0l = 1 (D.4).
    """
    group = _groups(modes, step)
    if constant:
        group = torch.cat([torch.tensor([-1]), group])
    return Masks(torch.ones(len(group)), (group[:, None] <= group[None, :]).float())


def joint(
    modes: int,
    weights: Sequence[float] | Tensor | None = None,
    step: int = 1,
    *,
    constant: bool = False,
) -> Masks:
    """Joint nesting: one objective, the weighted sum of all truncated ones (eq. 6, Prop. C.4).

    m_l = Σ_{k ≥ l} w_k and M_il = m_max(i, l).

    Args:
        modes: L.
        weights: L positive numbers w; default 1/L each, as the paper advises.
        step: keep only the truncations at multiples of ``step`` (and at L); modes inside a group
            are then determined up to a rotation.
        constant: the masks are of modes + 1, a known mode 0 going before all others (D.4):
            m = (m_1, m_1, m_2, …, m_L) and M_il = min(m_i, m_l).
    """
    group = _groups(modes, step)
    if weights is None:
        w = torch.full((modes,), 1.0 / modes, dtype=torch.float64)
    else:
        w = torch.as_tensor(weights, dtype=torch.float64)
    if w.shape != (modes,):
        raise ValueError(f"joint nesting needs {modes} weights, got shape {tuple(w.shape)}")
    if not bool((w > 0).all()) or not bool(torch.isfinite(w).all()):
        raise ValueError(f"joint nesting needs positive, finite weights, got {w.tolist()}")
    last = torch.ones(modes, dtype=torch.bool)
    last[:-1] = group[1:] != group[:-1]
    w = torch.where(last, w, torch.zeros_like(w))
    vector = w.flip(0).cumsum(0).flip(0)
    if constant:
        vector = torch.cat([vector[:1], vector])
    index = torch.arange(len(vector))
    return Masks(vector, vector[torch.maximum(index[:, None], index[None, :])])


def none(modes: int, *, constant: bool = False) -> Masks:
    """No nesting: the plain objective (3). Only the span of the L functions is determined."""
    modes = len(_groups(modes, 1)) + constant
    return Masks(torch.ones(modes), torch.ones(modes, modes))
