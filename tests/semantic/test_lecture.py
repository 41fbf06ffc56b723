"""The numbers of the lecture's two examples."""

import numpy as np
import pytest

from schmidt import SemanticIndex

# rows of VS as the slides print them, both columns with the sign turned that our rule gives
DOCUMENTS = [
    [-0.711, 0.730],
    [-0.930, 1.087],
    [-1.357, 0.402],
    [-1.378, -1.397],
    [-0.327, -0.460],
]
STEMS = {"died": "die", "dies": "die"}


def stem(word):
    return STEMS.get(word, word)


@pytest.fixture
def index(lecture):
    texts, settings = lecture
    return SemanticIndex(**settings, stemmer=stem).fit(texts, ["d1", "d2", "d3", "d4", "d5"])


def test_singular_values(index):
    np.testing.assert_allclose(index.factorization_.values, [2.2853, 2.0103], atol=5e-5)


def test_documents_are_the_rows_of_VS_and_the_query_the_mean_of_rows_of_US(index):
    signs = np.sign(index.document_vectors_[0] / DOCUMENTS[0])
    np.testing.assert_allclose(index.document_vectors_ * signs, DOCUMENTS, atol=2e-3)
    (q,) = index.transform_queries(["dies, dagger"]) * signs
    np.testing.assert_allclose(q, [-1.099, 0.124], atol=2e-3)
    rows = [index.terms_.index(t) for t in ("die", "dagger")]
    np.testing.assert_allclose(q, index.term_vectors_[rows].mean(0) * signs, atol=1e-12)


def test_the_order_of_the_documents(index):
    hits = index.search("dies, dagger")
    assert [h.name for h in hits] == ["d3", "d1", "d2", "d4", "d5"]
    a, b = index.transform_queries(["dies, dagger"])[0], index.document_vectors_[2]
    assert hits[0].score == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_the_snowball_stemmer_gives_the_same(lecture):
    pytest.importorskip("snowballstemmer")
    texts, settings = lecture
    index = SemanticIndex(**settings, stemmer="english").fit(texts)
    np.testing.assert_allclose(index.factorization_.values, [2.2853, 2.0103], atol=5e-5)
    assert [h.name for h in index.search("dies, dagger")] == [2, 0, 1, 3, 4]


def test_two_concepts_in_the_5_by_7_example():
    counts = [[1, 2, 1, 5, 0, 0, 0]] * 3 + [[0, 0, 0, 0, 2, 3, 1]] * 2
    terms = ["data", "info", "retrieval", "brain", "lung"]
    texts = [
        " ".join(" ".join([t] * n) for t, n in zip(terms, column, strict=True))
        for column in np.transpose(counts)
    ]
    index = SemanticIndex(5, lexical=0, weighting="count", vocabulary=terms).fit(texts)
    assert index.rank_ == 2  # the other three are zero
    np.testing.assert_allclose(index.factorization_.values, [9.6437, 5.2915], atol=5e-5)
    first, second = ({t for t, w in c if abs(w) > 1e-12} for c in index.concepts())
    assert first == {"data", "info", "retrieval"}
    assert second == {"brain", "lung"}
    np.testing.assert_allclose(
        index.factorization_.right[:, 0], [0.1796, 0.3592, 0.1796, 0.8980, 0, 0, 0], atol=5e-5
    )
    # a document without the word is found through the others
    assert {h.position for h in index.search("info")[:4]} == {0, 1, 2, 3}
