"""Bases that stay orthonormal, whatever they are made of."""

from __future__ import annotations

import math

import pytest
import torch

from schmidt.linalg.bases import extend, orthonormalize

EYE = torch.eye(8, dtype=torch.float64)


def columns(condition: float, complex_: bool, generator: torch.Generator) -> torch.Tensor:
    """Eight columns of a given condition number, of very different sizes."""
    dtype = torch.complex128 if complex_ else torch.float64
    u, _ = torch.linalg.qr(torch.randn(60, 8, dtype=dtype, generator=generator))
    v, _ = torch.linalg.qr(torch.randn(8, 8, dtype=dtype, generator=generator))
    s = torch.logspace(0, -math.log10(condition), 8, dtype=torch.float64)
    return (u * s) @ v.mH


@pytest.mark.parametrize("complex_", [False, True])
@pytest.mark.parametrize("condition", [1.0, 1e3, 1e7, 1e14, 1e300])
def test_orthonormal_at_every_condition(
    condition: float, complex_: bool, generator: torch.Generator
) -> None:
    Z = columns(condition, complex_, generator)
    Q, R = orthonormalize(Z)
    assert torch.allclose(Q.mH @ Q, EYE.to(Q), atol=1e-13)
    assert torch.allclose(Q @ R, Z, atol=1e-14)


@pytest.mark.parametrize("size", [1e-200, 1.0, 1e100])
def test_extending_keeps_the_relation(size: float, generator: torch.Generator) -> None:
    """Z = V C + Q R, with columns in the span of V, and of sizes far apart."""
    V, _ = orthonormalize(torch.randn(60, 8, dtype=torch.float64, generator=generator))
    fresh = torch.randn(60, 4, dtype=torch.float64, generator=generator)
    Z = torch.cat([V[:, :4] * 2, fresh * torch.logspace(0, -12, 4, dtype=torch.float64)], 1) * size
    C, Q, R = extend(V, Z, generator)
    together = torch.cat([V, Q], 1)
    assert torch.allclose(together.T @ together, torch.eye(16, dtype=torch.float64), atol=1e-13)
    error = (V @ C + Q @ R - Z).norm(dim=0)
    assert bool((error <= 1e-14 * Z.norm(dim=0)).all())


def test_an_exhausted_space_goes_on_in_fresh_directions(generator: torch.Generator) -> None:
    V, _ = orthonormalize(torch.randn(30, 8, dtype=torch.float64, generator=generator))
    _, Q, R = extend(V, V.flip(1) * 3, generator)
    assert float(R.abs().max()) < 1e-13
    together = torch.cat([V, Q], 1)
    assert torch.allclose(together.T @ together, torch.eye(16, dtype=torch.float64), atol=1e-13)


def test_zero_columns(generator: torch.Generator) -> None:
    V, _ = orthonormalize(torch.randn(30, 3, dtype=torch.float64, generator=generator))
    _, Q, R = extend(V, torch.zeros(30, 2, dtype=torch.float64), generator)
    assert float(R.abs().max()) == 0
    assert torch.allclose(Q.T @ Q, torch.eye(2, dtype=torch.float64), atol=1e-14)
