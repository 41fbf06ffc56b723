"""The learned kernel on laws whose kernel is known."""

from __future__ import annotations

from collections.abc import Callable
from math import factorial

import numpy as np
import pytest
import scipy.sparse
from numpy.polynomial.hermite_e import hermeval

from schmidt.dependence import CDK, LinearCDK

Pairs = tuple[np.ndarray, np.ndarray]
Views = Callable[..., tuple[Pairs, Pairs]]

RHO, ORDER = 0.8, 6
SMALL = {"hidden": (32,), "batch": 256, "progress": False}


def hermite(x: np.ndarray) -> np.ndarray:
    """Orthonormal Hermite functions of order 1 … 6 of (n, 1)."""
    orders = range(1, ORDER + 1)
    columns = [hermeval(x[:, 0], np.eye(ORDER + 1)[k]) / np.sqrt(factorial(k)) for k in orders]
    return np.stack(columns, 1)


def test_normal_pairs_have_powers_of_the_correlation(gaussian: Callable[..., Pairs]) -> None:
    n, exact = 100_000, RHO ** np.arange(1, ORDER + 1)
    errors = []
    for seed in range(5):  # the oracle, who knows the functions, on held-out pairs
        x, y = gaussian(n, RHO, 1000 + seed)
        errors.append((hermite(x) * hermite(y)).mean(0) - exact)
    oracle = np.sqrt(np.mean(np.square(errors)))
    found = CDK(ORDER, hidden=(64,), steps=100, polish="ritz", progress=False).fit(
        *gaussian(n, RHO, 0)
    )
    assert (np.abs(found.singular_values_train_ - exact) < 2 * oracle).all()
    few = np.sqrt(n / 20_000) * oracle  # a fifth of the rows has judged
    assert (np.abs(found.singular_values_ - exact) < 3 * few).all()
    x, y = gaussian(n, RHO, 77)
    for values, functions in (
        (found.transform_x(x), hermite(x)),
        (found.transform_y(y), hermite(y)),
    ):
        overlap = np.corrcoef(values[:, :3].T, functions[:, :3].T)[:3, 3:]
        np.testing.assert_allclose(np.abs(overlap), np.eye(3), atol=0.1)
    assert found.maximal_correlation_ == pytest.approx(RHO, abs=0.01)


@pytest.mark.parametrize("nesting", ["joint", "sequential"])
def test_training_reaches_the_closed_form_of_a_finite_alphabet(
    nesting: str, table: np.ndarray, rng: np.random.Generator
) -> None:
    cells = rng.choice(table.size, size=3000, p=table.ravel())
    x, y = (np.eye(size)[i] for size, i in zip(table.shape, divmod(cells, 4), strict=True))
    exact = LinearCDK(3, ridge=0).fit(x, y)
    settings = {**SMALL, "skip": False, "polish": None, "steps": 800, "lr": 1e-2, "held_out": 0}
    found = CDK(3, **settings, nesting=nesting).fit(x, y)
    np.testing.assert_allclose(
        found.singular_values_train_, exact.singular_values_train_, atol=0.03
    )
    kernels = (c.dependence(np.eye(5), np.eye(4), pairwise=True) for c in (found, exact))
    weight = np.outer(table.sum(1), table.sum(0))
    assert (weight * np.subtract(*kernels) ** 2).sum() < 0.01


def test_a_linear_start_is_the_linear_kernel(views: Views) -> None:
    (x, _), (y, _) = views()
    start = CDK(4, **SMALL, steps=1, lr=1e-9, cap=None, polish=None, held_out=0).fit(x, y)
    linear = LinearCDK(4, ridge=0.1).fit(x, y)
    overlap = np.abs(np.corrcoef(start.transform_x(x).T, linear.transform_x(x).T)[:4, 4:])
    assert (overlap.diagonal()[:2] > 0.7).all()


def test_a_deterministic_function_has_maximal_correlation_one(rng: np.random.Generator) -> None:
    x = rng.uniform(-2, 2, size=(4000, 1))
    found = CDK(2, **SMALL, steps=300, lr=1e-2, polish="span").fit(x, x**2)
    assert abs(np.corrcoef(x.T, (x**2).T)[0, 1]) < 0.1
    assert found.maximal_correlation_ > 0.99


def test_independent_variables_have_none(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(2, 8000, 2))
    found = CDK(2, **SMALL, steps=300, polish=None).fit(x, y)
    assert found.maximal_correlation_ < 0.1
    assert abs(found.score(*rng.normal(size=(2, 8000, 2)))) < 0.01


def test_a_polish_puts_the_span_in_order(views: Views) -> None:
    x, y = views(count=30, noise=0.3)
    found = CDK(5, **SMALL, nesting="none", polish="span", steps=150, held_out=0).fit(x, y)
    s = found.singular_values_train_
    assert (np.diff(s) < 0).all()
    f, g = found.transform_x(x[0]), found.transform_y(y[0])
    np.testing.assert_allclose(f.T @ f / len(f), np.diag(s), atol=1e-4)
    np.testing.assert_allclose(g.T @ g / len(g), np.diag(s), atol=1e-4)


@pytest.mark.parametrize("share", [False, True, "flag"])
def test_classes_that_were_never_seen_are_retrieved(share: bool | str, views: Views) -> None:
    (x, cx), (y, cy) = views(count=120, each=10, dim=5, noise=0.2)
    if share is not False:  # one network: domains of one kind
        y = x + 0.2 * np.random.default_rng(1).normal(size=x.shape)
    seen = cx < 100
    found = CDK(5, **SMALL, share=share, steps=300).fit((x[seen], cx[seen]), (y[seen], cy[seen]))
    queries, gallery = x[~seen], y[~seen]
    for metric in ("cosine", "inner"):
        first, scores = found.retrieve(queries, gallery, 5, metric=metric)
        assert (cy[~seen][first] == cx[~seen][:, None]).mean() > 0.3  # by chance 0.05
        assert (np.diff(scores) <= 0).all()
    assert found.score((queries, cx[~seen]), (gallery, cy[~seen])) > 0.5


def test_retrieval_is_by_the_largest_similarity(views: Views) -> None:
    (x, _), (y, _) = views(count=4)
    found = LinearCDK(3, ridge=0.1).fit(x, y)
    f, g = found.transform_x(x), found.transform_y(y)
    positions, scores = found.retrieve(x, y, 7, metric="inner")
    np.testing.assert_allclose(scores, np.sort(f @ g.T)[:, ::-1][:, :7], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(f @ g.T, positions, 1), scores, atol=1e-5)
    f, g = (a[:, :2] / np.linalg.norm(a[:, :2], axis=1, keepdims=True) for a in (f, g))
    scores = found.retrieve(x, y, 7, modes=2)[1]
    np.testing.assert_allclose(scores, np.sort(f @ g.T)[:, ::-1][:, :7], rtol=1e-4, atol=1e-5)


def test_truncation_keeps_the_first_modes(views: Views) -> None:
    x, y = views()
    found = CDK(5, **SMALL, steps=5).fit(x, y)
    short = found.truncate(2)
    assert (short.modes_, found.modes_) == (2, 5)
    np.testing.assert_allclose(short.transform_x(x[0]), found.transform_x(x[0])[:, :2], atol=1e-6)
    np.testing.assert_array_equal(short.singular_values_, found.singular_values_[:2])
    some = (x[0][:9], y[0][:9])
    np.testing.assert_allclose(short.dependence(*some), found.dependence(*some, modes=2), atol=1e-6)
    np.testing.assert_allclose(
        found.dependence(*some), found.dependence(*some, pairwise=True).diagonal(), rtol=1e-5
    )


def test_the_cap_bounds_every_embedding(views: Views) -> None:
    (x, _), (y, _) = views()
    found = CDK(5, **SMALL, steps=5, cap=0.1).fit(x, y)
    raw = found.right_.network(found.right_.mix.new_tensor(100 * x)).norm(dim=1)
    assert float(raw.max()) <= 0.1 + 1e-6


def test_runs_repeat_and_leave_the_global_generator_alone(views: Views) -> None:
    import torch

    x, y = views()
    state = torch.get_rng_state()
    a, b, c = (CDK(3, **SMALL, steps=20, seed=s).fit(x, y).transform_x(x[0]) for s in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    assert torch.equal(state, torch.get_rng_state())


def test_items_of_another_kind_are_refused() -> None:
    x = np.random.default_rng(0).standard_normal((200, 1))
    model = CDK(1, hidden=(8,), steps=2, progress=False).fit(x, x)
    with pytest.raises(ValueError, match="2 numbers each, and were fitted with 1"):
        model.transform_x(np.ones((3, 2)))
    with pytest.raises(ValueError, match="sparse"):
        CDK(1).fit(scipy.sparse.csr_array(x), x)
    with pytest.raises(ValueError, match="expected numbers"):
        CDK(1).fit(np.array(["a"] * 200), x)
