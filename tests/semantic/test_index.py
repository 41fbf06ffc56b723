"""What users of SemanticIndex see."""

import copy
import json
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer

from schmidt import SemanticIndex
from schmidt.semantic.decomposition import triplets
from schmidt.storage import DamagedFileError


def test_the_weights_are_scikit_learns_and_the_factors_their_svd(two_topics):
    index = SemanticIndex(6, weighting="tfidf").fit(two_topics)
    weights = TfidfVectorizer(sublinear_tf=True).fit_transform(two_topics).toarray()
    v, s, uh = np.linalg.svd(weights, full_matrices=False)
    np.testing.assert_allclose(index.factorization_.values, s[:6], rtol=1e-7)
    expected = (v[:, :6] * s[:6]) @ uh[:6]
    got = index.document_vectors_ @ index.factorization_.left.T
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_with_all_dimensions_scores_are_those_of_tfidf(two_topics):
    texts = two_topics[:30]
    index = SemanticIndex(30, lexical=0, weighting="tfidf").fit(texts)
    vectorizer = TfidfVectorizer(sublinear_tf=True)
    weights = vectorizer.fit_transform(texts)
    got = index.scores(texts[:5])
    np.testing.assert_allclose(got, (weights[:5] @ weights.T).toarray(), atol=1e-6)


def test_an_indexed_document_folds_in_to_its_own_place(two_topics):
    index = SemanticIndex(8, lexical=0).fit(two_topics)
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


def test_several_numbers_of_dimensions_stand_for_one(two_topics):
    index = SemanticIndex().fit(two_topics)
    assert index.ranks_ == (5, 9, 19, 38, 75)  # 75 words
    assert SemanticIndex(max_rank=40).fit(two_topics).ranks_ == (2, 5, 10, 20, 40)
    assert SemanticIndex((3, 30, 3)).fit(two_topics).ranks_ == (3, 30)
    query = ["w01 w02 w40"]
    single = [SemanticIndex(k, lexical=0).fit(two_topics).scores(query) for k in (3, 30)]
    both = SemanticIndex((3, 30), lexical=0).fit(two_topics).scores(query)
    np.testing.assert_allclose(both, np.mean(single, axis=0), atol=1e-6)


def test_the_score_is_the_mean_of_its_parts_each_by_its_largest(two_topics):
    queries = ["w01 w02 w40", "w70", "unheard"]
    words, near, half, third = (
        SemanticIndex(9, lexical=w).fit(two_topics).scores(queries) for w in (1, 0, 0.5, 0.3)
    )
    near = np.maximum(near, 0)
    near[:2] /= near[:2].max(axis=1, keepdims=True)
    np.testing.assert_allclose(words.max(axis=1), [1, 1, 0])
    np.testing.assert_allclose(half, (words + near) / 2, atol=1e-9)
    np.testing.assert_allclose(third, 0.3 * words + 0.7 * near, atol=1e-9)


def test_bm25_is_okapis(two_topics):
    texts = two_topics[:20]
    counts = np.array([[t.split().count(f"w{i:02d}") for i in range(75)] for t in texts], float)
    has = (counts > 0).sum(0)
    idf = np.log(1 + (20 - has + 0.5) / (has + 0.5))
    norm = 1.2 * (0.25 + 0.75 * counts.sum(1) / counts.sum(1).mean())[:, None]
    weights = idf * counts * 2.2 / (counts + norm)
    expected = weights[:, 3] * 2 + weights[:, 38]
    got = SemanticIndex(lexical=1).fit(texts).scores(["w03 w03 w38"])[0]
    np.testing.assert_allclose(got, expected / expected.max(), atol=1e-12)


@pytest.mark.parametrize("settings", [{}, {"rank": 1}, {"rank": 3}, {"weighting": "tfidf"}])
def test_a_word_that_one_document_has_finds_it_first(settings, rng):
    """Also where that document lies outside the span of the dimensions."""
    notes = [" ".join(f"n{i}{j}" for j in range(3)) for i in range(8)]
    index = SemanticIndex(**settings).fit(notes)
    for i in range(8):
        for j in range(3):
            assert index.search(f"n{i}{j}")[0].position == i
    titles = [f"the w{rng.integers(40)} of w{rng.integers(40)} own{i}" for i in range(150)]
    index = SemanticIndex(**settings).fit(titles)
    assert all(index.search(f"own{i}", n=1)[0].position == i for i in range(150))
    if not settings:
        both = [[h.position for h in index.search(f"own{i} the w1", n=3)] for i in range(150)]
        assert all(i in found for i, found in enumerate(both))


def test_rounding_neither_finds_nor_orders_documents(rng):
    texts = ["ships sail the sea", "goats climb hills", "the sea has fish", "grass on hills"]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        index = SemanticIndex().fit([texts[i] for i in order], order)
        assert {h.name for h in index.search("fish")} == {0, 2}
        places = [order.index(h.name) for h in index.search("the sea")]
        assert places == sorted(places)  # both score the same: in the order of the index


def test_equal_scores_are_in_the_order_of_words_and_then_of_the_index(monkeypatch):
    """What differs by rounding is equal, also where the list is cut."""
    index = SemanticIndex().fit([f"sea fish{i}" for i in range(8)])
    score = 0.5 + 1e-13 * np.array([0, 3, 1, 7, 2, 6, 4, 5])
    words = np.array([1.0, 1, 2, 1, 1, 1, 1, 1])
    monkeypatch.setattr(index, "_parts", lambda counts: (score[None], words[None]))
    for n in (1, 3, 8):
        assert [h.position for h in index.search("sea", n=n)] == [2, 0, 1, 3, 4, 5, 6, 7][:n]


def test_a_few_documents_are_enough():
    index = SemanticIndex().fit(["a cat sat", "a dog ran", "cat and dog", "fish swim in water"])
    assert 1 <= index.rank_ <= 4
    assert index.search("cat")[0].position in (0, 2)
    two = SemanticIndex().fit(["cat", "dog"])
    assert [h.position for h in two.search("dog")] == [1]
    twins = SemanticIndex().fit(["cat", "cat"])
    assert [h.position for h in twins.search("cat")] == [0, 1]


def test_accents_and_case_are_the_same_however_they_are_typed():
    texts = ["un café près du port", "Straße und Haus", "ﬁsh swim", "İstanbul ist groß"]
    index = SemanticIndex().fit(texts)
    for query, position in (
        ("cafe\u0301", 0), ("CAFÉ", 0), ("STRASSE", 1), ("fish", 2), ("İSTANBUL", 3), ("GROSS", 3),
    ):  # fmt: skip
        assert index.search(query)[0].position == position
    assert index.search("cafe") == []
    plain = SemanticIndex(strip_accents=True, stop_words=["près"]).fit(texts)
    assert plain.search("cafe")[0].position == plain.search("Café")[0].position == 0
    assert "pres" not in plain.terms_


def test_unknown_words_are_told_apart_from_stop_words(two_topics):
    index = SemanticIndex(stop_words=["w00"]).fit(two_topics)
    assert index.words("w00 w01 nothing NOTHING else") == (["w01"], ["nothing", "else"])
    assert index.words("w00") == ([], [])


def test_the_factorization_knows_its_error(two_topics):
    index = SemanticIndex(6).fit(two_topics)
    f = index.factorization_
    weights = index._weighting(index._words.count(two_topics)).toarray().T
    sigma = np.linalg.svd(weights)[1]
    known = f.certificate
    assert known.met
    assert f.error.low <= np.linalg.norm(weights - f.reconstruct()) <= f.error.high
    assert f.error.high - f.error.low < 1e-6 * sigma[0]
    assert sigma[:6] in known["values"]


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
    assert again.ranks_ == index.ranks_
    known, saved = again.factorization_.certificate, index.factorization_.certificate
    assert known.as_dict() == saved.as_dict()
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


@pytest.mark.parametrize("lexical", [0, 0.5, 1])
def test_queries_without_known_words_find_nothing(two_topics, lexical):
    texts = [*two_topics, ""]
    for query in ("fold-in", "mean-of-terms"):
        index = SemanticIndex(3, lexical=lexical, query=query).fit(texts)
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
        found = triplets(sparse.csr_array(dense), rank)
        v, values, u = found.right, found.values, found.left
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
        ({"rank": (1, 3)}, ["one two", "two three"], "between 1 and 2"),
        ({"rank": ()}, ["one two", "two three"], "at least one number"),
        ({"lexical": 1.5}, ["one", "two"], "lexical must be a number between 0 and 1"),
        ({"token_pattern": r"(\w)(\w)"}, ["one", "two"], "one group at most"),
        ({"token_pattern": "("}, ["one", "two"], "no regular expression"),
        ({}, {"one", "two"}, "need an order"),
        ({"weighting": "bm26"}, ["one", "two"], "weighting must be one of .*bm25"),
        ({"query": "sum"}, ["one", "two"], "query must be one of"),
        ({"stop_words": "latin"}, ["one", "two"], "stop_words must be"),
    ],
)
def test_bad_input_is_named(settings, documents, message):
    with pytest.raises(ValueError, match=message):
        SemanticIndex(**settings).fit(documents)


def test_bad_questions_are_named(two_topics):
    index = SemanticIndex(2).fit(two_topics)
    with pytest.raises(TypeError, match="text must be a text"):
        index.search(["w01"])
    with pytest.raises(ValueError, match="n must be a whole number of at least 1"):
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


def test_it_can_be_pickled_and_saved_with_numpys_numbers_and_names(two_topics, tmp_path):
    pytest.importorskip("snowballstemmer")
    names = list(np.arange(200) * 3)
    settings = {"stemmer": "english", "seed": np.int64(2), "stop_words": {"w00"}}
    index = SemanticIndex(np.int64(4), **settings).fit(np.array(two_topics), names)
    hits = index.search("w01 w02", n=50)
    for again in (
        pickle.loads(pickle.dumps(index)),
        copy.deepcopy(index),
        SemanticIndex.load(index.save(tmp_path / "index.safetensors")),
    ):
        assert again.search("w01 w02", n=50) == hits
        assert again.add(["w01"]).names_[-1] == 200


def test_documents_are_removed_and_replaced_and_nothing_else_changes(two_topics, tmp_path):
    index = SemanticIndex(6).fit(two_topics)
    query = "w01 w02 w40"
    before = index.scores([query])[0]
    words = SemanticIndex(6, lexical=1).fit(two_topics)
    index.remove([3, 150])
    assert len(index.names_) == len(index.document_vectors_) == 198
    assert {h.name for h in index.search(query, n=500)} == {
        i for i in np.flatnonzero(before > 0) if i not in (3, 150)
    }
    assert index.add(["w01"]).names_[-1] == 200
    index.remove([200]).update([two_topics[3], two_topics[150]], [7, 8])
    kept = [i for i in range(200) if i not in (3, 150)]
    swapped = [two_topics[{7: 3, 8: 150}.get(i, i)] for i in kept]
    np.testing.assert_allclose(index.document_vectors_, index.transform(swapped), atol=1e-6)
    at = index.names_.index(7)
    words.remove([3, 150])
    for i in (at, at + 1):
        assert index.search(swapped[i], n=1)[0].position == i
    again = SemanticIndex.load(index.save(tmp_path / "i.safetensors"))
    assert again.search(query, n=50) == index.search(query, n=50)
    for call, message in (
        (lambda: index.remove([3]), "not in the index: 3"),
        (lambda: index.remove("abc"), "as a list"),
        (lambda: index.remove(list(index.names_)), "all of them"),
        (lambda: index.update(["a"], [7, 8]), "2 names for 1"),
        (lambda: index.update(["a", "b"], [7, 7]), "different"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert len(index.names_) == 198


@pytest.mark.parametrize("lexical", [0, 0.5, 1])
def test_more_like_one_is_of_its_kind_and_a_filter_only_leaves_out(two_topics, lexical):
    index = SemanticIndex(4, lexical=lexical).fit(two_topics)
    found = index.more_like(7, n=20)
    assert 7 not in {h.name for h in found}
    assert all(h.name < 100 for h in found)
    mask = np.arange(200) % 2 == 1
    for find in (
        lambda **k: index.search("w01 w02", n=300, **k),
        lambda **k: index.more_like(7, 300, **k),
    ):
        everything = find()
        odd = [hit for hit in everything if hit.position % 2]
        assert find(among=mask) == odd
        assert find(among=np.flatnonzero(mask).tolist()) == odd
    with pytest.raises(ValueError, match="mask must have shape"):
        index.search("w01", among=mask[:5])
    with pytest.raises(ValueError, match="not in the index"):
        index.search("w01", among=["x"])
