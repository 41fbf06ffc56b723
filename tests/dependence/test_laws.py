"""Laws of pairs: samplers draw from them, weights act on them, and moments are exact."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from schmidt.dependence import (
    Augmented,
    ClassPairs,
    Dependence,
    GivenPairs,
    JointTable,
    LoaderPairs,
    PairedLowRank,
    moments,
)
from schmidt.dependence.laws import folds
from schmidt.dependence.moments import pooled
from schmidt.operators import IndexTable, Jet, Training, fit, spectrum
from schmidt.operators.run import Run

Svd = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


def as_double(x: Tensor) -> Tensor:
    return x.double().reshape(len(x), -1)


def test_weighted_pairs_are_drawn_in_proportion(generator: torch.Generator) -> None:
    pairs = GivenPairs(torch.arange(4), torch.arange(4), [1.0, 0.0, 2.0, 5.0])
    x, y = pairs(40_000, generator)
    assert torch.equal(x, y)
    share = x.bincount(minlength=4) / len(x)
    np.testing.assert_allclose(share, np.array([1, 0, 2, 5]) / 8, atol=0.01)


@pytest.mark.parametrize("prior", ["empirical", "uniform"])
def test_class_pairs_have_one_class_and_the_prior(prior: str, generator: torch.Generator) -> None:
    cx, cy = np.array(list("aaabbc")), np.array(list("abbbcc"))
    pairs = ClassPairs(np.arange(6), cx, np.arange(6), cy, prior=prior)
    x, y = pairs(60_000, generator)
    assert (cx[x] == cy[y]).all()
    wanted = [1 / 3] * 3 if prior == "uniform" else [4 / 12, 5 / 12, 3 / 12]
    np.testing.assert_allclose(pairs.prior, wanted)
    share = [(cx[x] == c).mean() for c in "abc"]
    np.testing.assert_allclose(share, wanted, atol=0.01)
    for items, weight in ((x, pairs.weights[0]), (y, pairs.weights[1])):
        np.testing.assert_allclose(items.bincount() / len(items), weight, atol=0.01)


def test_classes_of_one_domain_only_are_named_and_left_out() -> None:
    with pytest.warns(UserWarning, match="2 classes are in one domain only.*cat, owl"):
        pairs = ClassPairs(
            np.arange(4), ["cat", "dog", "cow", "dog"], np.arange(3), ["dog", "cow", "owl"]
        )
    assert pairs.dropped == ("cat", "owl")
    assert pairs.x.tolist() == [1, 2, 3]
    assert pairs.y.tolist() == [0, 1]


def test_a_loader_is_cut_into_draws_of_any_size(generator: torch.Generator) -> None:
    x = torch.arange(10)
    pairs = LoaderPairs(DataLoader(TensorDataset(x, -x), batch_size=4))
    drawn = [pairs(n, generator) for n in (3, 6, 11)]
    seen = torch.cat([d[0] for d in drawn])
    assert torch.equal(seen, torch.cat([x, x])[:20])
    assert all(torch.equal(a, -b) for a, b in drawn)


def test_augmentations_change_each_side_on_its_own(generator: torch.Generator) -> None:
    z = torch.arange(5.0)

    def jitter(items: Tensor, generator: torch.Generator) -> Tensor:
        return items + 0.1 * torch.rand(len(items), generator=generator)

    x, y = Augmented(GivenPairs(z, z), jitter, jitter)(100, generator)
    assert torch.equal(x.floor(), y.floor())
    assert not bool((x == y).any())


def test_moments_are_those_of_the_law(rng: np.random.Generator) -> None:
    x, y, w = rng.normal(size=(50, 3)) + 5, rng.normal(size=(50, 2)), rng.uniform(size=50)
    found = moments(GivenPairs(x, y, w), as_double, as_double)
    cov = np.cov(np.hstack([x, y]).T, aweights=w, ddof=0)
    np.testing.assert_allclose(found.mean_f, w @ x / w.sum())
    np.testing.assert_allclose(found.cov_f, cov[:3, :3], atol=1e-12)
    np.testing.assert_allclose(found.cov_g, cov[3:, 3:], atol=1e-12)
    np.testing.assert_allclose(found.cross, cov[:3, 3:], atol=1e-12)


def test_moments_of_classes_are_those_of_all_their_pairs(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(9, 2))
    cx, cy = np.array([0, 1, 1, 2, 2, 2, 0]), np.array([0, 1, 2, 2, 1, 0, 0, 0, 1])
    pairs = ClassPairs(x, cx, y, cy, prior="uniform")
    i, j = np.nonzero(cx[:, None] == cy)
    weight = 1 / (np.bincount(cx)[cx[i]] * np.bincount(cy)[cy[j]])
    found = moments(pairs, as_double, as_double)
    wanted = moments(GivenPairs(x[i], y[j], weight), as_double, as_double)
    for name in ("mean_f", "mean_g", "cov_f", "cov_g", "cross"):
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name))


def test_parts_pool_to_the_whole(rng: np.random.Generator) -> None:
    x, y, c = rng.normal(size=(60, 3)), rng.normal(size=(60, 2)), np.arange(60) % 12
    for pairs in (GivenPairs(x, y, rng.integers(9, size=60)), ClassPairs(x, c, y, c[::-1].copy())):
        parts = folds(pairs, 4, 0)
        assert len(parts) == 4
        found = pooled([(moments(part, as_double, as_double), mass) for part, mass in parts])
        wanted = moments(pairs, as_double, as_double)
        for name in ("mean_f", "mean_g", "cov_f", "cov_g", "cross"):
            torch.testing.assert_close(getattr(found, name), getattr(wanted, name))
    assert folds(LoaderPairs([]), 4, 0) == []
    assert folds(GivenPairs(x[:3], y[:3]), 4, 0) == []


def test_weights_are_repetitions_forward_and_backward() -> None:
    x, y = torch.randn(6, 2).double(), torch.randn(6, 2).double()
    count = torch.tensor([1, 3, 1, 2, 4, 1])
    network = torch.nn.Linear(2, 2).double(), torch.nn.Linear(2, 2).double()
    steps = []
    for draw in (
        lambda n, generator: (x, y, count.double()),
        lambda n, generator: (x.repeat_interleave(count, 0), y.repeat_interleave(count, 0)),
    ):
        run = Run(Dependence(draw), *network, method=PairedLowRank.of("joint", 2, "biased"))
        parts = run.batches()
        loss = run.method.surrogate(run.form, *parts)
        found = torch.autograd.grad(loss, run.state.parameters)
        steps.append([run.method.objective(run.form, *parts), *found])
    for mine, other in zip(*steps, strict=True):
        torch.testing.assert_close(mine, other)


def test_the_constant_mode_has_value_one(table: np.ndarray, correspondence: Svd) -> None:
    f, g = IndexTable(5, 5), IndexTable(4, 5)
    law = JointTable(table, centred=False)
    found = spectrum(law, f, g).ritz
    np.testing.assert_allclose(found[0], 1, atol=1e-10)
    np.testing.assert_allclose(found[1:4], correspondence(table)[1][:3], atol=1e-10)


def test_a_table_is_its_weighted_pairs(table: np.ndarray) -> None:
    i, j = np.indices(table.shape).reshape(2, -1)
    pairs = Dependence((i, j, table.ravel()), biased=True)
    f, g = torch.randn(5, 3).double(), torch.randn(4, 3).double()
    law = JointTable(table)
    sample = pairs.evaluation()
    found = pairs.matrix(Jet(g[sample.y.x][None], 1, 0), Jet(f[sample.x.x][None], 1, 0), sample)
    wanted = law.matrix(Jet(g[None], 1, 0), Jet(f[None], 1, 0), law.whole)
    torch.testing.assert_close(found, wanted)


def test_training_finds_the_correspondence_analysis_of_a_table(
    table: np.ndarray, correspondence: Svd
) -> None:
    left, exact, right = correspondence(table)
    networks = IndexTable(5, 3, scale=0.5).double(), IndexTable(4, 3, scale=0.5).double()
    result = fit(
        JointTable(table),
        *networks,
        method=PairedLowRank.of("sequential", 3, "halves"),
        training=Training(steps=600, optimizer="adam", lr=3e-2),
        progress=False,
    )
    np.testing.assert_allclose(result.spectrum.norm, exact[:3], atol=1e-4)
    learned = result.learned
    for found, known, size in ((learned.right, left, 5), (learned.left, right, 4)):
        at = found(torch.arange(size)).detach().numpy()
        overlap = np.abs((at * known[:, :3]).sum(0)) / np.linalg.norm(known[:, :3], axis=0)
        np.testing.assert_allclose(overlap, np.linalg.norm(at, axis=0), atol=1e-4)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="as many x as y"):
        GivenPairs(torch.zeros(3), torch.zeros(4))
    with pytest.raises(ValueError, match="y of the pairs contain NaN"):
        GivenPairs(torch.zeros(2), torch.tensor([0.0, float("nan")]))
    with pytest.raises(ValueError, match="weights of shape"):
        GivenPairs(torch.zeros(3), torch.zeros(3), [1.0])
    with pytest.raises(ValueError, match="not negative"):
        GivenPairs(torch.zeros(2), torch.zeros(2), [1.0, -1.0])
    with pytest.raises(ValueError, match="at least two classes"):
        ClassPairs(np.zeros(3), [0, 0, 1], np.zeros(2), [0, 2])
    with pytest.raises(ValueError, match="classes of shape"):
        ClassPairs(np.zeros(3), [0, 1], np.zeros(2), [0, 1])
    with pytest.raises(ValueError, match="prior must be"):
        ClassPairs(np.zeros(2), [0, 1], np.zeros(2), [0, 1], prior="flat")
    with pytest.raises(ValueError, match="no batches"):
        LoaderPairs([])(3, torch.Generator())
    with pytest.raises(ValueError, match="row 0 of the joint table is zero"):
        JointTable([[0, 0], [1, 2]])
    with pytest.raises(ValueError, match="none negative"):
        JointTable([[0, -1], [1, 2]])
