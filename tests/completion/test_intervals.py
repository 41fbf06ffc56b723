"""Prediction intervals: what they cover, and when they are refused."""

import numpy as np
import pytest

from schmidt import MatrixCompletion


@pytest.fixture(scope="module")
def loud_and_quiet():
    """Rows whose noise differs, columns of very different support; a part to fit and one to ask."""
    rng = np.random.default_rng(4)
    m, n = 300, 200
    truth = rng.standard_normal((m, 2)) @ rng.standard_normal((2, n)) + rng.standard_normal((m, 1))
    noise = np.where(np.arange(m) % 2, 0.3, 1.2)[:, None]
    X = truth + noise * rng.standard_normal((m, n))
    rows, columns = np.nonzero(rng.random((m, n)) < np.linspace(0.05, 0.75, n))
    test = rng.random(len(rows)) < 0.2
    values = X[rows, columns]
    return [a[~test] for a in (rows, columns, values)], [a[test] for a in (rows, columns, values)]


def inside(intervals, values):
    return (intervals[:, 0] <= values) & (values <= intervals[:, 1])


def test_they_cover_what_they_say_whatever_the_support_and_are_narrow(loud_and_quiet, tmp_path):
    train, (rows, columns, values) = loud_and_quiet
    model = MatrixCompletion(method="variational", clip=None).fit(*train)
    for coverage in (0.5, 0.9):  # the fit to all entries is better than those that were judged
        found = inside(model.predict_interval(rows, columns, coverage=coverage), values)
        assert coverage - 0.02 < found.mean() < coverage + 0.04
    fifth = np.argsort(np.argsort(columns)) * 5 // len(columns)
    assert all(0.84 < found[fifth == i].mean() < 0.97 for i in range(5))
    loud = rows % 2 == 0
    assert min(found[loud].mean(), found[~loud].mean()) > 0.84
    widths = np.diff(model.predict_interval(rows, columns))[:, 0]
    assert widths.mean() < 2 * np.quantile(np.abs(values - model.predict(rows, columns)), 0.9)
    again = MatrixCompletion.load(model.save(tmp_path / "m.safetensors"))
    places = np.column_stack([rows, columns])
    np.testing.assert_array_equal(
        again.predict_interval(places), model.predict_interval(rows, columns)
    )
    model.fold_in(["new"] * 3, columns[:3], [0.0, 1.0, 2.0])
    new, unknown = (model.predict_interval([name], [columns[5]]) for name in ("new", rows[0]))
    assert np.diff(new) > np.diff(unknown) * 0.3


def test_units_and_limits_belong_to_them(ratings):
    rows, columns, values = ratings
    settings = {"method": "variational", "validation": 0.3}
    model = MatrixCompletion(**settings).fit(*ratings)
    found = model.predict_interval(rows, columns)
    assert found.min() == 1
    assert found.max() == 5
    large = MatrixCompletion(**settings).fit(rows, columns, 2.0**40 * values)
    np.testing.assert_allclose(large.predict_interval(rows, columns), 2.0**40 * found, rtol=1e-6)
    with pytest.raises(ValueError, match="too few for intervals"):
        model.predict_interval(rows, columns, coverage=0.9999)
    with pytest.raises(ValueError, match="coverage must be"):
        model.predict_interval(rows, columns, coverage=1.0)
    with pytest.raises(ValueError, match="need held-out entries"):
        MatrixCompletion(penalty=3.0).fit(*ratings).predict_interval([rows[0]], [columns[0]])
    with pytest.warns(UserWarning, match="unknown"):
        lonely = model.predict_interval(["nobody"], ["nothing"])
    assert np.isfinite(lonely).all()
