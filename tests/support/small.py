"""The harmonic oscillator in the plane, and a network that learns it in seconds."""

import torch

from schmidt.operators import (
    Ansatz,
    Form,
    GaussianEnvelope,
    Lebesgue,
    Radial,
    ScaledInputs,
    Schrodinger,
    SharedMLP,
)


def oscillator(form: str = "weak") -> Form:
    """∇² − |x|² + 5, with the eigenvalues 3, 1, 1, −1, …"""
    measure = Lebesgue(Radial(2, scale=0.7, outer=6.0, inner=1e-3))
    return Schrodinger(lambda x: x.pow(2).sum(1), measure, form=form) + 5.0


def small_network(modes: int = 3, seed: int = 0) -> Ansatz:
    torch.manual_seed(seed)
    inputs = ScaledInputs(2, 1.0)
    trunk = SharedMLP(inputs.features, modes, (24, 24))
    return Ansatz(trunk, GaussianEnvelope([1.0]), inputs=inputs)
