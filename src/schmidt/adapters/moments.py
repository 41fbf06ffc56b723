"""Second moments of a low-rank gradient by rows and columns, and Adam's quotient from them.

Adafactor (Shazeer & Stern 2018, arXiv:1804.04235) keeps of the squares of an m × n gradient only
the means of rows and columns, V ≈ rows colsᵀ / mean. Where the gradient is Ĝ = L R with thin L and
R, these come exactly in O((m + n) r²), and diag(rows)^-½ M diag(cols)^-½ of a momentum M = L R is
again a product of thin matrices: nothing of size m × n is ever formed.
"""

from __future__ import annotations

from torch import Tensor

from schmidt.adapters.tangent import Directions, Frames, Gauge, coefficients, stacked


def square_means(f: Frames, X: Directions) -> tuple[Tensor, Tensor]:
    """The means over rows (…, m) and over columns (…, n) of the squares of B·X_A + X_B·A."""
    L, R = stacked(f, X)
    rows = ((L @ (R @ R.mT)) * L).sum(-1) / R.shape[-1]
    columns = (R * ((L.mT @ L) @ R)).sum(-2) / L.shape[-2]
    # sums of squares, which rounding may put below zero
    return rows.clamp_min(0), columns.clamp_min(0)


def quotient(
    f: Frames, M: Directions, rows: Tensor, columns: Tensor, eps: float, gauge: Gauge
) -> Directions:
    """The tangent part of U = M / √V for V = (rows + ε²)(columns + ε²)ᵀ / mean(rows + ε²).

    Args:
        f: the factors.
        M: coefficients of the momentum, bias-corrected.
        rows: means of squares over rows (…, m), bias-corrected.
        columns: likewise over columns (…, n).
        eps: ε of Adam, in the units of the gradient.
        gauge: of the answer.
    """
    rows, columns = rows + eps**2, columns + eps**2
    L, R = stacked(f, M)
    L = L * (rows.mean(-1, keepdim=True) / rows).sqrt().unsqueeze(-1)
    R = R * columns.rsqrt().unsqueeze(-2)
    return coefficients(f, (f.B.mT @ L) @ R, L @ (R @ f.A.mT), gauge)
