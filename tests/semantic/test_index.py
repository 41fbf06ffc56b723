"""What users of SemanticIndex see."""

import json

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer

from schmidt import SemanticIndex
from schmidt.semantic.decomposition import triplets
from schmidt.storage import DamagedFileError


def test_the_weights_are_scikit_learns_and_the_factors_their_svd(two_topics):
    index = SemanticIndex(6).fit(two_topics)
    weights = TfidfVectorizer(sublinear_tf=True).fit_transform(two_topics).toarray()
    v, s, uh = np.linalg.svd(weights, full_matrices=False)
    np.testing.assert_allclose(index.factorization_.values, s[:6], rtol=1e-7)
    expected = (v[:, :6] * s[:6]) @ uh[:6]
    got = index.document_vectors_ @ index.factorization_.left.T
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_with_all_dimensions_scores_are_those_of_tfidf(two_topics):
    texts = two_topics[:30]
    index = SemanticIndex(30).fit(texts)
    vectorizer = TfidfVectorizer(sublinear_tf=True)
    weights = vectorizer.fit_transform(texts)
    got = index.scores(texts[:5])
    np.testing.assert_allclose(got, (weights[:5] @ weights.T).toarray(), atol=1e-6)


def test_an_indexed_document_folds_in_to_its_own_place(two_topics):
    index = SemanticIndex(8).fit(two_topics)
    np.testing.assert_allclose(index.transform(two_topics), index.document_vectors_, atol=1e-6)
    hit, *_ = index.search(two_topics[7], n=1)
    assert hit.position == 7
    assert hit.score == pytest.approx(1)


def test_documents_are_found_by_words_they_do_not_contain(two_topics):
    index = SemanticIndex(2).fit(two_topics)
    assert all(h.position < 100 for h in index.search("w03", n=100))
    missing = [i for i, text in enumerate(two_topics[:100]) if "w03" not in text]
    assert len(missing) > 20
    assert all(t < "w40" for t, _ in index.related_terms("w03", n=20))


def test_the_number_of_dimensions_is_chosen_between_topics_and_words(rng):
    """Ten topics of twelve words each: fewer than ten directions confuse topics, and all 120
    words are no better than some of them."""
    texts = [" ".join(f"t{i % 10}w{int(w)}" for w in rng.integers(12, size=30)) for i in range(150)]
    index = SemanticIndex().fit(texts)
    d = index.dimensions_
    assert index.rank_ == d.chosen
    assert 8 <= index.rank_ <= 60
    assert d.log_rank[0] > d.log_rank[list(d.tried).index(d.best)] + 1
    assert d.queries > 500
    again = SemanticIndex().fit(texts)
    np.testing.assert_array_equal(again.dimensions_.log_rank, d.log_rank)


def test_a_few_documents_are_enough():
    index = SemanticIndex().fit(["a cat sat", "a dog ran", "cat and dog", "fish swim in water"])
    assert 1 <= index.rank_ <= 4
    assert index.search("cat")[0].position in (0, 2)


def test_added_documents_are_found_and_nothing_else_changes(two_topics):
    index = SemanticIndex(4).fit(two_topics[:150])
    before = index.scores(["w01 w02"])
    index.add(two_topics[150:], names=[f"new {i}" for i in range(50)])
    np.testing.assert_allclose(index.scores(["w01 w02"])[:, :150], before, atol=1e-12)
    np.testing.assert_allclose(
        index.document_vectors_[150:], index.transform(two_topics[150:]), atol=1e-12
    )
    assert index.search(two_topics[170], n=1)[0].name == "new 20"
    with pytest.raises(ValueError, match="names must be different"):
        index.add(["w01"], names=["new 3"])
    assert len(index.names_) == len(index.document_vectors_) == 200


def test_saved_and_loaded_it_answers_the_same(two_topics, tmp_path):
    index = SemanticIndex(5, stop_words=["w00"], query="mean-of-terms").fit(two_topics)
    index.add(["w01 w02 w03"])
    path = index.save(tmp_path / "index.safetensors")
    again = SemanticIndex.load(path)
    assert again.search("w05 w06", n=200) == index.search("w05 w06", n=200)
    assert again.get_params() == index.get_params()
    assert again.add(["w09"]).names_ == [*range(201), 201]
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DamagedFileError, match="damaged"):
        SemanticIndex.load(path)


def test_terms_are_named_by_their_most_frequent_word_and_stems_are_saved(tmp_path):
    pytest.importorskip("snowballstemmer")
    texts = [
        "features of a feature",
        "features and cats",
        "a cat, cats, tails",
        "cats have features",
    ]
    index = SemanticIndex(2, stemmer="english", stop_words="english").fit(texts)
    assert index.terms_ == ["cats", "features", "tails"]
    again = SemanticIndex.load(index.save(tmp_path / "index.safetensors"))
    assert again.terms_ == index.terms_
    assert again.search("featuring a cat") == index.search("feature, cat") != []


def test_what_cannot_be_saved_is_refused(two_topics, tmp_path):
    with pytest.raises(TypeError, match="stemmer that is a function"):
        SemanticIndex(2, stemmer=str.lower).fit(two_topics).save(tmp_path / "a")
    names = [(i,) for i in range(200)]
    with pytest.raises(TypeError, match="cannot save names like"):
        SemanticIndex(2).fit(two_topics, names).save(tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_queries_without_known_words_find_nothing(two_topics):
    texts = [*two_topics, ""]
    for query in ("fold-in", "mean-of-terms"):
        index = SemanticIndex(3, query=query).fit(texts)
        assert index.search("unheard of") == []
        assert index.related_terms("unheard") == []
        np.testing.assert_array_equal(index.scores(["unheard"]), np.zeros((1, 201)))
        assert 200 not in {h.position for h in index.search("w01", n=500)}


@pytest.mark.parametrize("shape", [(40, 300), (300, 40)])
def test_triplets_are_those_of_numpy_whatever_the_way(rng, shape):
    from scipy import sparse

    dense = rng.standard_normal(shape) * (rng.random(shape) < 0.2)
    dense[:, -1] = dense[:, 0]
    s = np.linalg.svd(dense)[1]
    for rank in (1, 12, 40):
        v, values, u = triplets(sparse.csr_array(dense), rank)
        kept = int((s[:rank] > 1e-7 * s[0]).sum())
        np.testing.assert_allclose(values, s[:kept], rtol=1e-6)
        np.testing.assert_allclose(v.T @ dense @ u, np.diag(values), atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "documents", "message"),
    [
        ({}, "one text", "got one string"),
        ({}, ["one"], "at least two documents"),
        ({}, ["one", 2], "number 1 is of type int"),
        ({}, ["", " "], "contain no words"),
        ({"vocabulary": ["zebra"]}, ["one", "two"], "no document contains a word"),
        ({"vocabulary": []}, ["one", "two"], "vocabulary is empty"),
        ({"vocabulary": ["die", "die"]}, ["die", "two"], "same stem"),
        ({"rank": 3}, ["one two", "two three"], "between 1 and 2"),
        ({"weighting": "bm25"}, ["one", "two"], "weighting must be one of"),
        ({"query": "sum"}, ["one", "two"], "query must be one of"),
        ({"stop_words": "latin"}, ["one", "two"], "stop_words must be"),
    ],
)
def test_bad_input_is_named(settings, documents, message):
    with pytest.raises(ValueError, match=message):
        SemanticIndex(**settings).fit(documents)


def test_bad_questions_are_named(two_topics):
    index = SemanticIndex(2).fit(two_topics)
    with pytest.raises(ValueError, match="a query is a string"):
        index.search(["w01"])
    with pytest.raises(ValueError, match="n must be at least 1"):
        index.search("w01", n=0)
    with pytest.raises(ValueError, match="3 names for 200"):
        SemanticIndex(2).fit(two_topics, ["a", "b", "c"])
    with pytest.raises(NotFittedError, match="call fit first"):
        SemanticIndex().search("x")
    snowball = pytest.importorskip("snowballstemmer")
    assert "english" in snowball.algorithms()
    with pytest.raises(ValueError, match="unknown stemmer 'klingon'"):
        SemanticIndex(2, stemmer="klingon").fit(two_topics)


def test_it_is_an_estimator_and_stop_words_are_left_out():
    index = clone(SemanticIndex(2, stop_words="english", seed=3))
    assert index.get_params()["rank"] == 2
    json.dumps(index.get_params())
    index.fit(["the cat and the dog", "the dog or a fish", "fish and cat"])
    assert index.terms_ == ["cat", "dog", "fish"]
