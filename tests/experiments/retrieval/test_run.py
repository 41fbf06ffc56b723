"""All methods on a small data set: what must hold whatever the digits."""

import numpy as np
import pytest

from schmidt.experiments.retrieval import Items, RetrievalSettings, chance, run, split
from schmidt.experiments.retrieval.methods import RetrievalInputs
from schmidt.experiments.retrieval.protocol import RetrievalResults

SMALL = RetrievalSettings(components=12, modes=8, hidden=(32,), steps=150, batch=128, warmup=10)


def planted(rng, classes=40, each=6, other=None):
    """A class is a point in ten dimensions, less and less wide; each domain maps it in its own way
    and adds noise."""
    centre = rng.standard_normal((classes, 10)) * 0.8 ** np.arange(10)
    labels = np.repeat(np.arange(classes), each)
    common = rng.standard_normal((10, 20))
    sides = []
    for own in (0.3, 0.3):
        mix = common + own * rng.standard_normal((10, 20))
        noise = 0.5 * rng.standard_normal((len(labels), 20))
        sides.append(Items((centre[labels] @ mix + noise).astype(np.float32), labels))
    if other is not None:
        sides[1] = Items(sides[1].features[:, :other], labels)
    return split("planted", *sides, [str(i) for i in range(classes)], k=6)


@pytest.fixture(scope="module")
def results() -> RetrievalResults:
    return run(planted(np.random.default_rng(2)), settings=SMALL)


def test_every_method_beats_chance(results):
    floor = results.chance.mean_average_precision
    assert set(results.outcomes) == {"raw", "linear", "tied", "joint", "sequential", "none"}
    for o in results.outcomes.values():
        for judged in o.judgements.values():
            assert judged.mean_average_precision > 2 * floor


def test_chance_is_the_share_of_relevant_items(results):
    assert chance(results.data).mean_precision == pytest.approx(6 / 48)


def test_first_modes_carry_more_than_last_ones(results):
    joint = results.outcomes["joint"]
    assert joint.most is not None
    assert joint.least is not None
    at = joint.most.modes.index(2)
    assert joint.most.mean_average_precision[at] > 1.3 * joint.least.mean_average_precision[at]
    full = joint.judgements["cosine"].mean_average_precision
    assert joint.most.mean_average_precision[-1] == pytest.approx(full)


def test_the_report_holds_everything(results):
    report = results.report()
    joint = report["methods"]["joint"]
    assert {"cosine", "inner product", "singular_values", "orthogonality"} <= set(joint)
    assert len(joint["singular_values"]) == 8
    assert report["settings"]["steps"] == 150
    assert report["sizes"]["train"] == {"classes": 28, "x": 168, "y": 168}
    saved = results.embeddings()
    assert saved["joint_queries"].shape == (48, 8)
    assert "raw_queries" not in saved


def test_the_seed_decides_the_result(rng):
    data = planted(rng, classes=14)
    runs = [run(data, ["joint"], SMALL, seed=s).embeddings()["joint_queries"] for s in (0, 0, 1)]
    assert (runs[0] == runs[1]).all()
    assert not np.allclose(runs[0], runs[2])


def test_features_of_different_length_leave_out_what_compares_them(rng):
    data = planted(rng, classes=14, other=15)
    seen = []
    results = run(data, ["raw", "linear", "tied", "joint"], SMALL, watch=seen.append)
    assert list(results.outcomes) == ["linear", "joint"]
    assert [o.embedding.method for o in seen] == ["linear", "joint"]


def test_inputs_are_centred_and_shared(rng):
    data = planted(rng)
    inputs = RetrievalInputs(data, components=5, damping=0.0)
    x, y = inputs.train
    assert x.shape[1] == 5
    assert x.mean(0) == pytest.approx(0, abs=1e-4)
    assert y.mean(0) == pytest.approx(0, abs=1e-4)
    pooled = (x.T @ x / len(x) + y.T @ y / len(y)) / 2
    assert pooled == pytest.approx(np.eye(5), abs=1e-3)
    assert RetrievalInputs(data, components=None).train[0] == pytest.approx(data.train.x.features)


def test_unknown_method(rng):
    with pytest.raises(ValueError, match="unknown method 'best'; known: raw, linear"):
        run(planted(rng, classes=12), ["best"], SMALL)
