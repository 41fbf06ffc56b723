"""Bases that stay orthonormal, whatever they are made of."""

from __future__ import annotations

import math

import pytest
import torch

from schmidt.linalg import bases
from schmidt.linalg.bases import extend, orthonormalize, span

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


@pytest.mark.parametrize("size", [1e-200, 1.0, 1e100, 1e200])
def test_extending_keeps_the_relation(size: float, generator: torch.Generator) -> None:
    """Z = V C + Q R, with columns in the span of V, and of sizes far apart."""
    V, _ = orthonormalize(torch.randn(60, 8, dtype=torch.float64, generator=generator))
    fresh = torch.randn(60, 4, dtype=torch.float64, generator=generator)
    Z = torch.cat([V[:, :4] * 2, fresh * torch.logspace(0, -12, 4, dtype=torch.float64)], 1) * size
    C, Q, R = extend(V, Z, generator)
    together = torch.cat([V, Q], 1)
    assert torch.allclose(together.T @ together, torch.eye(16, dtype=torch.float64), atol=1e-13)
    error = ((V @ C + Q @ R - Z) / size).norm(dim=0)
    assert bool((error <= 1e-14 * (Z / size).norm(dim=0)).all())


def test_an_exhausted_space_goes_on_in_fresh_directions(generator: torch.Generator) -> None:
    V, _ = orthonormalize(torch.randn(30, 8, dtype=torch.float64, generator=generator))
    C, Q, R = extend(V, V.flip(1) * 3, generator)
    assert torch.allclose(C, 3 * torch.eye(8, dtype=C.dtype).flip(1), atol=1e-13)
    assert float(R.abs().max()) < 1e-13
    together = torch.cat([V, Q], 1)
    assert torch.allclose(together.T @ together, torch.eye(16, dtype=torch.float64), atol=1e-13)


def test_zero_columns(generator: torch.Generator) -> None:
    V, _ = orthonormalize(torch.randn(30, 3, dtype=torch.float64, generator=generator))
    _, Q, R = extend(V, torch.zeros(30, 2, dtype=torch.float64), generator)
    assert float(R.abs().max()) == 0
    together = torch.cat([V, Q], 1)
    assert torch.allclose(together.T @ together, torch.eye(5, dtype=torch.float64), atol=1e-14)
    V = torch.eye(30, dtype=torch.float64)[:, :3]  # where Householder would begin
    _, Q, _ = extend(V, torch.zeros(30, 2, dtype=torch.float64), generator)
    together = torch.cat([V, Q], 1)
    assert torch.allclose(together.T @ together, torch.eye(5, dtype=torch.float64), atol=1e-14)
    Z = torch.zeros(30, 2, dtype=torch.float64)
    Z[:, 1] = torch.randn(30, dtype=torch.float64, generator=generator)
    C, Q, R = extend(V, 5 * Z, generator)  # one that is zero, one that is not
    together = torch.cat([V, Q], 1)
    assert torch.allclose(together.T @ together, torch.eye(5, dtype=torch.float64), atol=1e-13)
    assert torch.allclose(V @ C + Q @ R, 5 * Z, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
@pytest.mark.parametrize("exponent", [0, 1, 2, 3, 3.5, 4, 5, 8])
def test_single_precision_is_orthonormal_too(
    exponent: float, dtype: torch.dtype, generator: torch.Generator
) -> None:
    Z = columns(10.0**exponent, dtype.is_complex, generator).to(dtype)
    Q, R = orthonormalize(Z)
    assert torch.allclose(Q.mH @ Q, torch.eye(8).to(Q), atol=5e-6)
    assert torch.allclose(Q @ R, Z, atol=2e-6)


def test_no_more_work_than_needed(
    generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One pass for what is nearly orthonormal, two for others, Householder for a large κ."""
    work = []
    cholesky, qr = bases._cholesky, torch.linalg.qr
    monkeypatch.setattr(bases, "_cholesky", lambda G: work.append("pass") or cholesky(G))
    given = [columns(c, False, generator) for c in (1.0, 1e2, 1e12)]
    monkeypatch.setattr(torch.linalg, "qr", lambda Z: work.append("Householder") or qr(Z))
    orthonormalize(given[0])
    assert work == ["pass"]
    orthonormalize(given[1])
    assert work == ["pass"] * 3
    orthonormalize(given[2])
    assert work == ["pass"] * 4 + ["Householder"]


class TestSpan:
    def test_scales_of_columns_are_immaterial(self, generator: torch.Generator) -> None:
        F = torch.randn(40, 5, dtype=torch.float64, generator=generator)
        scales = torch.tensor([1e-120, 1e-3, 1.0, 1e40, 1e120], dtype=torch.float64)
        plain, found = span(F), span(F * scales)
        assert torch.allclose(found.size, plain.size, rtol=1e-10)
        assert torch.allclose((F * scales) @ found.mix, found.values, atol=1e-10)
        P, Q = (a.values @ a.values.T for a in (plain, found))
        assert torch.allclose(P, Q, atol=1e-10)

    @pytest.mark.parametrize("complex_", [False, True])
    def test_values_are_orthonormal_and_those_of_the_columns(
        self, complex_: bool, generator: torch.Generator
    ) -> None:
        dtype = torch.complex128 if complex_ else torch.float64
        F = torch.randn(40, 5, dtype=dtype, generator=generator)
        w = torch.rand(40, dtype=torch.float64, generator=generator) + 0.1
        found = span(F, weights=w)
        eye = torch.eye(5, dtype=dtype)
        assert torch.allclose(found.values.mH @ found.values, eye, atol=1e-12)
        assert torch.allclose(w.sqrt()[:, None] * (F @ found.mix), found.values, atol=1e-12)

    def test_directions_are_cut_by_their_relative_size(self) -> None:
        """Two unit columns at an angle 2φ: singular values √2 cos φ and √2 sin φ."""
        phi = 1e-3
        F = torch.tensor([[1.0, 1.0], [phi, -phi], [0.0, 0.0]], dtype=torch.float64)
        size = span(F).size
        assert size[0] == 1
        assert float(size[1]) == pytest.approx(phi)
        assert len(span(F, cut=0.99 * phi).size) == 2
        assert len(span(F, cut=1.01 * phi).size) == 1
        whole = span(F, cut=0.0)
        assert [whole.rank(t) for t in (0.5, 1.01 * phi, 0.99 * phi)] == [1, 1, 2]

    def test_columns_of_zeros_and_conditions_of_zeros_say_nothing(self) -> None:
        F = torch.eye(6, dtype=torch.float64)[:, :3]
        F[:, 1] = 0
        found = span(F)
        assert found.mix.shape == (3, 2)
        assert not found.mix[1].any()
        conditions = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
        assert span(torch.eye(6, dtype=torch.float64)[:, :3], constraints=conditions).rank(0) == 2
        assert span(F[:, :1]).size.tolist() == [1.0]
        with pytest.raises(ValueError, match="zero"):
            span(F[:, 1:2])
