"""The objective with the constant mode: masks, gradients, estimators, and its other names."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from schmidt import nesting
from schmidt.dependence import Dependence, JointTable, PairedLowRank
from schmidt.operators import Jet, NestedLowRank, Points, Sample
from schmidt.operators.methods import Batch

NAMES = ("sequential", "joint", "none")


def batch(f: Tensor, g: Tensor, weight: Tensor | None = None) -> Batch:
    """A batch of pairs with the given values of the functions."""
    w = torch.full((len(f),), 1 / len(f)) if weight is None else weight / weight.sum()
    at = torch.arange(len(f))
    sample = Sample(Points(at, w.to(f)), Points(at.clone(), w.to(f)))
    return Batch(sample, Jet(f[None], 1, 0), Jet(g[None], 1, 0), False)


def gradients(loss: Callable[[Tensor, Tensor], Tensor], f: Tensor, g: Tensor) -> Tensor:
    """The gradients in f and in g, side by side."""
    f, g = f.clone().requires_grad_(), g.clone().requires_grad_()
    return torch.cat([part.flatten() for part in torch.autograd.grad(loss(f, g), (f, g))])


@pytest.fixture
def values() -> tuple[Tensor, Tensor]:
    return torch.randn(12, 3, dtype=torch.float64), torch.randn(12, 3, dtype=torch.float64)


def form() -> Dependence:
    return Dependence((torch.zeros(4, 1), torch.zeros(4, 1)), biased=True)


def test_joint_masks_with_a_constant_mode() -> None:
    weights = [0.5, 0.3, 0.2]
    plain, masks = nesting.joint(3, weights), nesting.joint(3, weights, constant=True)
    m = plain.vector
    assert torch.equal(masks.vector, torch.stack([m[0], m[0], m[1], m[2]]))
    torch.testing.assert_close(masks.matrix, torch.minimum(masks.vector[:, None], masks.vector))
    torch.testing.assert_close(masks.matrix[1:, 1:], plain.matrix)


def test_sequential_masks_with_a_constant_mode() -> None:
    masks = nesting.sequential(3, constant=True)
    assert torch.equal(masks.vector, torch.ones(4))
    assert torch.equal(masks.matrix[0], torch.ones(4))
    assert torch.equal(masks.matrix[1:, 0], torch.zeros(3))
    assert torch.equal(masks.matrix[1:, 1:], nesting.sequential(3).matrix)
    assert torch.equal(nesting.none(3, constant=True).matrix, torch.ones(4, 4))


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_mode_is_centring(name: str, table: np.ndarray) -> None:
    f, g = torch.randn(5, 3).double(), torch.randn(4, 3).double()
    centred, kept = NestedLowRank(getattr(nesting, name)(3)), PairedLowRank.of(name, 3, "halves")
    law = JointTable(table)

    def loss(method: NestedLowRank | PairedLowRank) -> Callable[[Tensor, Tensor], Tensor]:
        def surrogate(u: Tensor, v: Tensor) -> Tensor:
            whole = Batch(law.whole, Jet(u[None], 1, 0), Jet(v[None], 1, 0), False)
            return method.surrogate(law, whole, whole)

        return surrogate

    torch.testing.assert_close(gradients(loss(kept), f, g), gradients(loss(centred), f, g))
    whole = Batch(law.whole, Jet(f[None], 1, 0), Jet(g[None], 1, 0), False)
    if name != "sequential":  # whose value is a diagnostic only
        found = (method.objective(law, whole, whole) for method in (kept, centred))
        torch.testing.assert_close(*found)


@pytest.mark.parametrize("name", NAMES)
def test_a_constant_mode_is_centring_on_pairs(name: str, values: tuple[Tensor, Tensor]) -> None:
    centred, kept = NestedLowRank(getattr(nesting, name)(3)), PairedLowRank.of(name, 3, "biased")
    weight = torch.rand(12).double()
    found = [
        gradients(lambda f, g, m=method: m.surrogate(form(), *[batch(f, g, weight)] * 2), *values)
        for method in (kept, centred)
    ]
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("estimator", ["distinct", "halves", "biased"])
@pytest.mark.parametrize("name", NAMES)
def test_only_products_over_distinct_pairs_are_unbiased(name: str, estimator: str) -> None:
    """Every batch of 2 pairs of a 2 × 2 law, weighed by its probability: an exact expectation."""
    p = torch.tensor([[0.35, 0.1], [0.15, 0.4]], dtype=torch.float64)
    f, g = torch.randn(2, 2).double(), torch.randn(2, 2).double()
    cells = list(itertools.product(range(2), range(2)))
    every = list(itertools.product(cells, repeat=2))
    chance = torch.tensor([[p[c] for c in pairs] for pairs in every]).prod(1)
    method = PairedLowRank.of(name, 2, estimator)

    def expected(u: Tensor, v: Tensor) -> Tensor:
        total = torch.zeros(())
        for pairs, weight in zip(every, chance, strict=True):
            i, j = torch.tensor(pairs).T
            halves = [batch(u[i[k]], v[j[k]]) for k in (slice(1), slice(1, 2))]
            total = total + weight * method.surrogate(form(), *halves)
        return total

    def exact(u: Tensor, v: Tensor) -> Tensor:
        law = JointTable(p)
        whole = Batch(law.whole, Jet(u[None], 1, 0), Jet(v[None], 1, 0), False)
        return PairedLowRank.of(name, 2, "halves").surrogate(law, whole, whole)

    off = (gradients(expected, f, g) - gradients(exact, f, g)).abs().max()
    assert off < 1e-12 if estimator != "biased" else off > 1e-3


def test_without_nesting_it_is_the_spectral_contrastive_loss(
    values: tuple[Tensor, Tensor],
) -> None:
    f, g = values
    whole = batch(f, g)
    method = PairedLowRank.of("none", 3, "biased")
    ratio = 1 + f @ g.T
    contrastive = -2 * ratio.diagonal().mean() + ratio.square().mean()
    torch.testing.assert_close(method.objective(form(), whole, whole), contrastive + 1)

    def loss(u: Tensor, v: Tensor) -> Tensor:
        kernel = 1 + u @ v.T
        return -2 * kernel.diagonal().mean() + kernel.square().mean()

    found = gradients(lambda u, v: method.surrogate(form(), *[batch(u, v)] * 2), f, g)
    torch.testing.assert_close(found, gradients(loss, f, g))


def test_without_nesting_it_is_minus_twice_the_h_score(values: tuple[Tensor, Tensor]) -> None:
    f, g = (v - v.mean(0) for v in values)
    whole = batch(f, g)
    cov_f, cov_g = f.T @ f / 12, g.T @ g / 12
    h = (f * g).sum(1).mean() - (cov_f @ cov_g).trace() / 2
    objective = PairedLowRank.of("none", 3, "biased").objective(form(), whole, whole)
    torch.testing.assert_close(objective, -2 * h)


def test_only_dependence_has_a_constant_mode(values: tuple[Tensor, Tensor]) -> None:
    from schmidt.operators import Matrix

    whole = batch(*values)
    with pytest.raises(ValueError, match="constant mode belongs to dependence"):
        PairedLowRank.of("joint", 3).surrogate(Matrix(np.eye(12)), whole, whole)
    with pytest.raises(ValueError, match="need masks of 4 modes"):
        PairedLowRank.of("joint", 2).surrogate(form(), whole, whole)
    with pytest.raises(ValueError, match="unknown estimator"):
        PairedLowRank.of("joint", 2, "other")
    with pytest.raises(ValueError, match="unknown nesting"):
        PairedLowRank.of("other", 2)
