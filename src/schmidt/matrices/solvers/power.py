"""Power iteration with deflation, as it is taught: one component after the other."""

from __future__ import annotations

import torch

from schmidt.matrices.solvers.krylov import NotConvergedError
from schmidt.matrices.solvers.triplets import Triplets
from schmidt.matrices.sources.source import Source

STEPS = 5000


def power_iteration(
    source: Source, rank: int | float, *, accuracy: float = 1e-6, seed: int = 0, steps: int = STEPS
) -> Triplets:
    """v ← XᵀX v/‖XᵀX v‖ until it stands still; then x_i ← x_i − ⟨x_i, v⟩ v, and again.

    Deflation is a projection of v, so that X is never changed. Converges like (σ₂/σ₁)² per step;
    equal values are fine (any direction of their space will do), nearly equal ones are slow.

    Args:
        source: X (m, n), real.
        rank: k, or the share of ‖X‖_F² that the components are to explain.
        accuracy: relative change of σ per step, relative to what is still to come, at which to
            stop.
        seed: of the starting vectors.
        steps: per component.

    Raises:
        NotConvergedError: after so many steps of one component.
    """
    n = source.shape[1]
    generator = torch.Generator().manual_seed(seed)
    V = torch.zeros(n, 0, dtype=source.dtype)
    values: list[float] = []
    left: list[torch.Tensor] = []
    most = rank if isinstance(rank, int) else source.small
    energy = 0.0
    while len(values) < most:
        v = torch.randn(n, 1, dtype=torch.float64, generator=generator).to(source.dtype)
        v, image, s = _component(source, V, v, accuracy, steps, values)
        V = torch.cat([V, v], 1)
        values.append(s)
        left.append(image / s if s > 0 else image)
        energy += s * s
        if isinstance(rank, float) and energy >= rank * (source.norm2 or 0.0):
            break
    s_all = torch.tensor(values, dtype=source.dtype)
    return Triplets(torch.cat(left, 1), s_all, V, settings={"solver": "power"})


def _component(
    source: Source,
    V: torch.Tensor,
    v: torch.Tensor,
    accuracy: float,
    steps: int,
    found: list[float],
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """The leading v orthogonal to V, X v and σ."""
    rounding = 100 * torch.finfo(source.dtype).eps
    v = _project(V, v)
    for _ in range(steps):
        image = source.apply(v)
        s = float(torch.linalg.vector_norm(image))
        if s <= rounding * max([s, *found]):
            return v, image, s
        back = source.adjoint(image)
        step = _project(V, back)
        # ‖XᵀX v − σ² v‖ / σ², whose square is the relative error of σ² up to the gap
        residual = float(torch.linalg.vector_norm(back - V @ (V.mH @ back) - s * s * v)) / s**2
        v = step
        if residual <= max(accuracy**0.5 * 1e-2, rounding):
            image = source.apply(v)
            return v, image, float(torch.linalg.vector_norm(image))
    raise NotConvergedError(
        f"component {len(found) + 1} has not converged after {steps} power iterations: its "
        "variance is nearly that of the next one; use solver='auto'"
    )


def _project(V: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    for _ in range(2):
        v = v - V @ (V.mH @ v)
        v = v / torch.linalg.vector_norm(v).clamp_min(torch.finfo(v.dtype).tiny)
    return v
