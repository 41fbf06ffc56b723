"""Canonical dependence: discrete tables, binomial and normal pairs, whose spectra are known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from schmidt.operators import Dependence, Jet
from schmidt.operators.dependence import PairSampler
from schmidt.operators.ritz import InSpan, galerkin

Table = Tensor
"""How often (x, y) occurs: (values of x, values of y), integers."""
Pairs = tuple[Tensor, Tensor]

TABLES = {
    "any": torch.tensor([[9, 2, 4, 1, 3], [1, 8, 2, 2, 0], [2, 0, 7, 5, 1], [3, 3, 1, 9, 6]]),
    "long": torch.tensor([[5, 1], [2, 2], [0, 7]]),
    "independent": torch.outer(torch.tensor([1, 2, 3]), torch.tensor([2, 5, 1])),
    "bijection": 3 * torch.eye(4, dtype=torch.long)[[2, 0, 3, 1]],
}


def spread(table: Table) -> Pairs:
    """Pairs of indices, as often as the table says."""
    index = torch.cartesian_prod(*(torch.arange(n) for n in table.shape))
    x, y = index.repeat_interleave(table.flatten(), dim=0).T
    return x, y


def exact(table: Table) -> np.ndarray:
    """Singular values of D_x^{−1/2}(P − p qᵀ)D_y^{−1/2}."""
    joint = table.double() / table.sum()
    p, q = joint.sum(1), joint.sum(0)
    normalised = (joint - torch.outer(p, q)) / torch.outer(p, q).sqrt()
    return np.linalg.svd(normalised.numpy(), compute_uv=False)


def one_hot(index: Tensor) -> Tensor:
    return torch.eye(5, dtype=torch.float64)[index]


def powers(x: Tensor) -> Tensor:
    return x.double().reshape(-1, 1) ** torch.arange(4)


def head(form: Dependence, features: Callable[[Tensor], Tensor], modes: int) -> InSpan:
    """The closed-form head on the form's evaluation points, which are all pairs."""
    at = form.evaluation()
    return galerkin(form, features, features, modes=modes, sample=at, held_out=at)


def unbiased(pairs: Pairs) -> float:
    """n/(n − 1), by which the estimate from given pairs exceeds their own covariance."""
    return len(pairs[0]) / (len(pairs[0]) - 1)


def covariance(form: Dependence, pairs: Pairs, f: Tensor, g: Tensor) -> Tensor:
    """The estimate for the tables of functions f (of x) and g (of y)."""
    at = Dependence(pairs).evaluation()
    return form.matrix(Jet(g[at.y.x][None], 1, 0), Jet(f[at.x.x][None], 1, 0), at)


@pytest.mark.parametrize("name", TABLES)
def test_singular_values_of_a_table(name: str) -> None:
    pairs = spread(TABLES[name])
    modes = min(TABLES[name].shape)
    found = head(Dependence(pairs), one_hot, modes)
    np.testing.assert_allclose(found.values, unbiased(pairs) * exact(TABLES[name]), atol=1e-12)
    assert (name == "independent") == bool(found.values.max() < 1e-12)
    if name == "bijection":
        np.testing.assert_allclose(found.values[:3] / unbiased(pairs), 1)


def test_singular_functions_make_up_the_kernel() -> None:
    """Σ σ_l g_l(y) f_l(x) = p(x, y)/(p(x)p(y)) − 1."""
    table = TABLES["any"]
    pairs = spread(table)
    found = head(Dependence(pairs), one_hot, 4)
    f, g = (one_hot(torch.arange(n)) @ m for n, m in ((4, found.mix_f), (5, found.mix_g)))
    joint = table.double() / table.sum()
    kernel = joint / torch.outer(joint.sum(1), joint.sum(0)) - 1
    torch.testing.assert_close((f * found.values) @ g.T, unbiased(pairs) * kernel)


def test_exchanging_transposes_and_merging_loses_dependence() -> None:
    """Symmetry, and the data processing inequality for every singular value."""
    x, y = spread(TABLES["any"])
    whole, swapped, merged = (
        head(Dependence(pairs), one_hot, 3).values
        for pairs in ((x, y), (y, x), (x, y.clamp_max(2)))
    )
    torch.testing.assert_close(swapped, whole)
    assert bool((merged < whole).all())


def test_sums_of_noisy_bits_have_powers_of_the_correlation(noisy_bits: Pairs) -> None:
    """ρ = 1/2; polynomials of degree three span everything."""
    found = head(Dependence(noisy_bits), powers, 3)
    wanted = unbiased(noisy_bits) * np.array([1 / 2, 1 / 4, 1 / 8])
    np.testing.assert_allclose(found.values, wanted, rtol=1e-9)


@pytest.mark.parametrize("correlation", [0.8, -0.5])
def test_normal_pairs_have_powers_of_the_correlation(
    correlation: float, normal_pairs: Callable[[float], PairSampler]
) -> None:
    """Mehler's expansion: Hermite polynomials, |ρ|^l."""
    form = Dependence(normal_pairs(correlation))
    generator = torch.Generator().manual_seed(4)
    sample, held_out = (form.sample(2**16, generator) for _ in range(2))
    found = galerkin(form, powers, powers, modes=3, sample=sample, held_out=held_out)
    np.testing.assert_allclose(found.values, np.abs(correlation) ** np.arange(1, 4), atol=0.02)
    x = torch.linspace(-1.5, 1.5, 9, dtype=torch.float64)
    f, g = powers(x) @ found.mix_f, powers(x) @ found.mix_g
    np.testing.assert_allclose(f[:, 0].abs(), x.abs(), atol=0.1)
    np.testing.assert_allclose(f[:, 1].abs(), (x**2 - 1).abs() / math.sqrt(2), atol=0.1)
    sign = np.sign(correlation)
    np.testing.assert_allclose(f[:, 0] * sign, g[:, 0], atol=0.1)


@pytest.mark.parametrize("n", [2, 3])
def test_the_estimate_from_n_pairs_is_unbiased(n: int) -> None:
    """The mean over all n-tuples of pairs, each with its probability."""
    table = TABLES["long"]
    joint = table.double() / table.sum()
    f, g = torch.randn(3, 2, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    wanted = g.T @ (joint.T - torch.outer(joint.sum(0), joint.sum(1))) @ f
    form = Dependence(spread(table))
    mean = torch.zeros_like(wanted)
    for cells in itertools.product(itertools.product(range(3), range(2)), repeat=n):
        x, y = torch.tensor(cells).T
        mean += joint[x, y].prod() * covariance(form, (x, y), f, g)
    torch.testing.assert_close(mean, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("known", [True, False], ids=["array", "function"])
def test_drawn_pairs_have_the_right_mean(known: bool) -> None:
    """Within five standard errors, from 2000 draws of four."""
    pairs = spread(TABLES["any"])

    def draw(n: int, generator: torch.Generator) -> Pairs:
        chosen = torch.randint(len(pairs[0]), (n,), generator=generator)
        return pairs[0][chosen], pairs[1][chosen]

    form = Dependence(pairs if known else draw)
    generator = torch.Generator().manual_seed(8)
    f, g = torch.randn(4, 2, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64)
    found = []
    for _ in range(2000):
        s = form.sample(4, generator)
        found.append(covariance(form, (s.x.x, s.y.x), f, g))
    estimates = torch.stack(found)
    wanted = covariance(form, pairs, f, g) / unbiased(pairs)
    error = (estimates.mean(0) - wanted) / (estimates.std(0) / math.sqrt(2000))
    assert float(error.abs().max()) < 5


def test_constants_carry_no_dependence() -> None:
    """They are in the null space on either side, and adding them changes nothing."""
    pairs = spread(TABLES["any"])
    form = Dependence(pairs)
    f, g = torch.randn(4, 2, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    plain = covariance(form, pairs, f, g)
    assert plain.shape == (3, 2)
    torch.testing.assert_close(covariance(form, pairs, f + 7, g - 3), plain)
    for one in ((torch.ones_like(f), g), (f, torch.ones_like(g))):
        nothing = covariance(form, pairs, *one)
        torch.testing.assert_close(nothing, torch.zeros_like(nothing), rtol=0, atol=1e-12)
