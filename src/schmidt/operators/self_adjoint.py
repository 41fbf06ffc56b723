"""Measuring whether ⟨g|T f⟩ = ⟨f|T g⟩ on the functions at hand."""

from __future__ import annotations

import torch
from torch import Tensor

from schmidt.operators.derivatives import Derivatives, Function
from schmidt.operators.form import Form


class NotSelfAdjointError(ValueError):
    """A form was given to an eigenvalue method, but is measurably not self-adjoint."""


def asymmetry(
    form: Form,
    function: Function,
    derivatives: Derivatives,
    *,
    n: int,
    batches: int = 8,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> tuple[float, float]:
    """The relative size of the antisymmetric part of ⟨f_i|T f_j⟩, and its significance.

    Returns:
        (‖Π − Πᵀ‖ / 2‖Π‖ with the noise of sampling removed, its distance from zero in standard
        errors).
    """
    generator = torch.Generator().manual_seed(20240722)
    odd: list[Tensor] = []
    even = torch.zeros(())
    with torch.no_grad():
        for _ in range(batches):
            sample = form.sample(n, generator).to(device, dtype)
            f = derivatives(function, sample.x.x, form.order)
            g = f if sample.shared else derivatives(function, sample.y.x, form.order)
            pi = form.matrix(g, f, sample).double().cpu()
            odd.append((pi - pi.T) / 2)
            even = even + pi / batches
    stack = torch.stack(odd).flatten(1)
    # ⟨A_k, A_k'⟩ of independent batches has mean ‖E A‖²
    products = (stack @ stack.T)[~torch.eye(batches, dtype=torch.bool)]
    size = max(float(products.mean()), 0.0) ** 0.5
    noise = float(stack.var(0).sum() / batches) ** 0.5
    scale = max(float(even.norm()), 1e-300)
    return size / scale, size / max(noise, 1e-12 * scale)


def require_self_adjoint(
    form: Form,
    function: Function,
    derivatives: Derivatives,
    *,
    n: int,
    dtype: torch.dtype,
    device: str,
    tolerance: float = 1e-2,
) -> None:
    """Refuse a form that is not self-adjoint; what is known to be passes without measurement."""
    advice = (
        "Eigenvalues by nested low-rank approximation need a self-adjoint T. Give a second network "
        "`left` to get the singular value decomposition instead"
    )
    if form.self_adjoint is False:
        raise NotSelfAdjointError(f"this form is not self-adjoint. {advice}.")
    if form.self_adjoint and form.order < 2:
        return
    relative, significance = asymmetry(form, function, derivatives, n=n, dtype=dtype, device=device)
    if relative > tolerance and significance > 4:
        reason = (
            " (in strong form the functions must also satisfy the boundary conditions)"
            if form.order == 2
            else ""
        )
        raise NotSelfAdjointError(
            f"this form is not self-adjoint on the given functions: the antisymmetric part of "
            f"⟨f_i|T f_j⟩ is {relative:.1%} of the whole, {significance:.0f} standard errors from "
            f"zero{reason}. {advice}."
        )
