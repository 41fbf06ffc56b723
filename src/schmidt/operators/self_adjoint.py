"""Measuring whether ⟨g|T f⟩ = ⟨f|T g⟩ on the functions at hand."""

from __future__ import annotations

import torch
from torch import Tensor

from schmidt.operators.derivatives import Derivatives, Function
from schmidt.operators.form import Form
from schmidt.operators.jet import Jet


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
    """The relative size of the antisymmetric part of ⟨p_i|T p_j⟩, and its significance.

    The probes p are the given functions and their products with random plane waves, which keep
    decay and boundary values and are enough even for a single function. Multiples of the identity
    in T, which are symmetric and may be large, are left out.

    Returns:
        (‖Π − Πᵀ‖ / 2‖Π‖ with the noise of sampling removed, its distance from zero in standard
        errors).
    """
    form = form.unshifted
    generator = torch.Generator().manual_seed(20240722)
    waves: list[Tensor] = []
    odd: list[Tensor] = []
    even = torch.zeros(())

    def probes(x: Tensor) -> Jet:
        jet = derivatives(function, x, form.order)
        if not x.is_floating_point() or x.ndim != 2:
            return jet
        if not waves:
            spread = float(x.std()) if len(x) > 1 else 1.0
            direction = torch.randn(x.shape[1], 2, generator=generator) / max(spread, 1e-12)
            waves.append(direction.to(x))
        phase = Jet.coordinates(x, form.order).mix(waves[0])
        sine, cosine = phase.value.sin(), phase.value.cos()
        wave = phase.chain(sine, cosine, -sine)
        scaled = [jet]
        for column in range(2):
            factor = Jet(wave.streams[:, :, column : column + 1], jet.dim, jet.order)
            if jet.streams.ndim == 4:
                factor = Jet(factor.streams[..., None], jet.dim, jet.order)
            scaled.append(jet * factor)
        return Jet.cat(scaled)

    with torch.no_grad():
        for _ in range(batches):
            sample = form.sample(n, generator).to(device, dtype)
            f = probes(sample.x.x)
            g = f if sample.shared else probes(sample.y.x)
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
    if form.self_adjoint and form.order < 2:
        return
    sample = form.sample(2, torch.Generator().manual_seed(0))
    if sample.x.x.shape[1:] != sample.y.x.shape[1:] or not form.one_space:
        raise NotSelfAdjointError(f"this form maps between two different spaces. {advice}.")
    relative, significance = asymmetry(form, function, derivatives, n=n, dtype=dtype, device=device)
    if form.self_adjoint is False or (relative > tolerance and significance > 4):
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
