"""Measures of rankings: hand-computed cases, the definition, and what ties are worth."""

import itertools

import numpy as np
import pytest

from schmidt.experiments.retrieval import judge, judge_scores, score_blocks


def ranked(relevant, k=1, **more):
    """A ranking without ties, first item best."""
    relevant = np.atleast_2d(np.array(relevant, bool))
    scores = np.tile(-np.arange(relevant.shape[1], dtype=float), (len(relevant), 1))
    return judge_scores(scores, relevant, k=k, **more)


def by_definition(scores, relevant, k):
    """P@k, AP and R-precision as E.2 writes them, for one order of the items."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    hits = [bool(relevant[i]) for i in order]
    total = sum(hits)
    precision = [sum(hits[:n]) / n for n in range(1, len(hits) + 1)]
    recall = [0.0] + [sum(hits[:n]) / total for n in range(1, len(hits) + 1)]
    ap = sum(p * (r - q) for p, r, q in zip(precision, recall[1:], recall, strict=False))
    return precision[k - 1], ap, precision[total - 1]


@pytest.mark.parametrize(
    ("relevant", "k", "precision", "ap", "r_precision"),
    [
        ([1, 0, 1, 0], 2, 1 / 2, (1 + 2 / 3) / 2, 1 / 2),
        ([1, 1, 0, 0], 3, 2 / 3, 1, 1),
        ([0, 0, 0, 1], 1, 0, 1 / 4, 0),
        ([0, 1, 1, 1], 4, 3 / 4, (1 / 2 + 2 / 3 + 3 / 4) / 3, 2 / 3),
        ([1, 1, 1], 3, 1, 1, 1),
    ],
)
def test_hand_computed(relevant, k, precision, ap, r_precision):
    j = ranked(relevant, k)
    assert j.precision[0] == pytest.approx(precision)
    assert j.average_precision[0] == pytest.approx(ap)
    assert j.r_precision[0] == pytest.approx(r_precision)
    assert j.relevant[0] == sum(relevant)


def test_random_rankings_follow_the_definition(rng):
    scores = rng.standard_normal((40, 23))
    relevant = rng.random((40, 23)) < 0.3
    relevant[:, 0] = True
    j = judge_scores(scores, relevant, k=5)
    expected = np.array([by_definition(*row, 5) for row in zip(scores, relevant, strict=True)])
    found = np.stack([j.precision, j.average_precision, j.r_precision], 1)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("scores", [[2, 1, 1, 1, 0], [1, 1, 1, 1, 1], [3, 3, 2, 1, 1]])
def test_ties_are_worth_their_mean_over_all_orders(scores, rng):
    scores = np.array(scores, float)
    relevant = np.array([0, 1, 0, 1, 1], bool)
    orders = [np.array(p) for p in itertools.permutations(range(5))]
    # Python's sort is stable: the order of equal items is the one in which they are handed over
    every = np.mean([by_definition(scores[o], relevant[o], 2) for o in orders], axis=0)
    j = judge_scores(scores[None], relevant[None], k=2)
    assert [j.precision[0], j.average_precision[0], j.r_precision[0]] == pytest.approx(every)


def test_order_of_the_gallery_does_not_matter(rng):
    scores = rng.integers(0, 4, (6, 30)).astype(float)
    relevant = rng.random((6, 30)) < 0.4
    shuffled = rng.permutation(30)
    a, b = judge_scores(scores, relevant), judge_scores(scores[:, shuffled], relevant[:, shuffled])
    assert a.average_precision == pytest.approx(b.average_precision)
    assert a.precision == pytest.approx(b.precision)


def test_blocks_with_and_without_ties_agree(rng):
    """A row is worth the same whether or not another row of its block has ties."""
    row, tied = rng.standard_normal((1, 12)), np.zeros((1, 12))
    relevant = rng.random((2, 12)) < 0.5
    both = judge_scores(np.concatenate([row, tied]), relevant, k=3)
    alone = judge_scores(row, relevant[:1], k=3)
    assert both.average_precision[0] == pytest.approx(alone.average_precision[0])
    assert both.precision[0] == pytest.approx(alone.precision[0])


def test_queries_without_relevant_items_are_left_out_and_reported():
    relevant = np.array([[1, 0], [0, 0], [0, 1]], bool)
    j = ranked(relevant)
    assert np.isnan([j.precision[1], j.average_precision[1], j.r_precision[1]]).all()
    assert j.mean_average_precision == pytest.approx((1 + 1 / 2) / 2)
    summary = j.summary()
    assert (summary["queries"], summary["without_relevant"], j.judged) == (3, 1, 2)
    assert np.isnan(ranked([0, 0]).mean_average_precision)


def test_interpolated_precision_is_the_best_from_here_on():
    assert ranked([0, 1, 1], interpolated=True).average_precision[0] == pytest.approx(2 / 3)
    assert ranked([0, 1, 1]).average_precision[0] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_interpolation_never_lowers(rng):
    scores, relevant = rng.standard_normal((9, 20)), rng.random((9, 20)) < 0.3
    relevant[:, 0] = True
    plain, best = (judge_scores(scores, relevant, interpolated=i) for i in (False, True))
    assert (best.average_precision >= plain.average_precision - 1e-12).all()


def test_embeddings_are_ranked_by_cosine_or_inner_product():
    queries, gallery = np.array([[1.0, 0.0]]), np.array([[5.0, 5.0], [1.0, 0.1]])
    classes = np.array([0, 1])
    cosine = judge(queries, gallery, np.array([1]), classes, k=1)
    inner = judge(queries, gallery, np.array([1]), classes, k=1, similarity="inner product")
    assert (cosine.precision[0], inner.precision[0]) == (1, 0)


def test_perfect_and_useless_embeddings(rng):
    classes = np.repeat(np.arange(5), 4)
    perfect = np.eye(5)[classes]
    assert judge(perfect, perfect, classes, classes, k=4).mean_average_precision == 1
    useless = judge(np.zeros((20, 3)), perfect[:, :3], classes, classes, k=4)
    assert useless.mean_precision == pytest.approx(4 / 20)
    assert useless.mean_r_precision == pytest.approx(4 / 20)


def test_scores_come_in_blocks_that_cover_all_queries(rng, monkeypatch):
    monkeypatch.setattr("schmidt.ranking.BLOCK", 50)
    queries, gallery = rng.standard_normal((13, 3)), rng.standard_normal((20, 3))
    found = np.concatenate([s for _, s in score_blocks(queries, gallery, "inner product")])
    assert found == pytest.approx(queries @ gallery.T, abs=1e-6)
    whole = judge(queries, gallery, np.arange(13) % 3, np.arange(20) % 3, k=2)
    assert len(whole.precision) == 13


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ranked([1, 0], k=3), "k must lie between 1 and the size of the gallery, 2"),
        (lambda: judge_scores(np.full((1, 2), np.nan), np.ones((1, 2), bool), k=1), "NaN"),
        (lambda: judge_scores(np.zeros((1, 2)), np.ones((1, 3), bool)), "one shape"),
        (lambda: judge(np.zeros((1, 2)), np.zeros((1, 3)), [0], [0]), "same d"),
        (lambda: judge(np.zeros((1, 2)), np.zeros((1, 2)), [0, 1], [0]), "query_classes must"),
        (lambda: judge(np.zeros((0, 2)), np.zeros((1, 2)), [], [0]), "no queries"),
        (
            lambda: judge(np.ones((1, 2)), np.ones((1, 2)), [0], [0], k=1, similarity="l2"),
            "similarity must be one of cosine, inner product, got 'l2'",
        ),
    ],
)
def test_clear_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
