"""Laws that every estimator keeps: who adds one supplies two functions and inherits them all."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from schmidt.certificate import Certificate


class EstimatorLaws:
    """Inherit, and give :meth:`make` and :meth:`data`.

    What an estimator says is compared by :meth:`answer`, by default its transforms and values.

    Attributes:
        judged: which of the arrays of :meth:`data` holds the numbers that must make sense.
        transient: attributes that files and pickles leave out, as their documentation says.
        unit_free: answers do not depend on the units of columns.
        unordered: to this relative tolerance answers do not depend on the order of the rows; None:
            they do, within noise.
    """

    judged = 0
    transient: tuple[str, ...] = ()
    unit_free = False
    unordered: float | None = None

    def make(self) -> Any:
        """An estimator that is not fitted."""
        raise NotImplementedError

    def data(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """What ``fit`` takes: float64 arrays with one row per sample."""
        raise NotImplementedError

    def answer(self, fitted: Any, data: tuple[np.ndarray, ...]) -> list[np.ndarray]:
        """What a fitted estimator says of data."""
        names = ("transform", "transform_x", "transform_y")
        found = [
            np.asarray(getattr(fitted, name)(data[name == "transform_y"]))
            for name in names
            if hasattr(fitted, name)
        ]
        return [*found, np.asarray(fitted.singular_values_)]

    def same(self, a: Any, b: Any, data: tuple[np.ndarray, ...]) -> None:
        for mine, other in zip(self.answer(a, data), self.answer(b, data), strict=True):
            np.testing.assert_array_equal(mine, other)

    def test_a_fit_can_be_repeated(self, rng: np.random.Generator) -> None:
        data = self.data(rng)
        self.same(self.make().fit(*data), self.make().fit(*data), data)

    def test_a_second_fit_forgets_the_first(self, rng: np.random.Generator) -> None:
        first, data = self.data(rng), self.data(rng)
        self.same(self.make().fit(*first).fit(*data), self.make().fit(*data), data)

    def test_before_it_is_fitted_it_says_so(self, rng: np.random.Generator) -> None:
        with pytest.raises(NotFittedError) as error:
            self.answer(self.make(), self.data(rng))
        assert "fit" in str(error.value)

    def test_it_says_what_is_known(self, rng: np.random.Generator) -> None:
        model = self.make().fit(*self.data(rng))
        known = getattr(model, "certificate_", None) or model.factorization_.certificate
        assert isinstance(known, Certificate)
        assert known.asked or known.notes or known.bounds
        assert not known.met or known.failure <= known.allowed

    def test_a_clone_has_the_same_settings(self, rng: np.random.Generator) -> None:
        model = self.make()
        assert clone(model).get_params() == model.get_params()
        data = self.data(rng)
        fitted = model.fit(*data)
        assert fitted is model
        self.same(clone(model).fit(*data), model, data)

    def test_fitting_changes_nothing_that_was_given(self, rng: np.random.Generator) -> None:
        data = self.data(rng)
        kept, model = [a.copy() for a in data], self.make()
        settings = dict(model.get_params())
        model.fit(*data)
        assert model.get_params() == settings
        for a, b in zip(data, kept, strict=True):
            np.testing.assert_array_equal(a, b)

    def test_files_and_pickles_keep_everything(
        self, rng: np.random.Generator, tmp_path: Path
    ) -> None:
        data = self.data(rng)
        model = self.make().fit(*data)
        copies = [pickle.loads(pickle.dumps(model))]
        if hasattr(model, "save"):
            copies.append(type(model).load(model.save(tmp_path / "model.safetensors")))
        for again in copies:
            self.same(again, model, data)
            fitted = [k for k in vars(model) if k.endswith("_") and not k.startswith("_")]
            for name in set(fitted) - set(self.transient):
                assert hasattr(again, name), name
                if isinstance(getattr(model, name), int | float | str | list):
                    assert getattr(again, name) == getattr(model, name), name

    def test_units_do_not_matter(self, rng: np.random.Generator) -> None:
        if not self.unit_free:
            pytest.skip("it says that units matter")
        data = self.data(rng)
        units = [2.0 ** rng.integers(-25, 25, size=a.shape[1:]) for a in data]
        other = tuple(a * u for a, u in zip(data, units, strict=True))
        pairs = zip(
            self.answer(self.make().fit(*data), data),
            self.answer(self.make().fit(*other), other),
            strict=True,
        )
        for mine, changed in pairs:
            np.testing.assert_allclose(changed, mine, rtol=1e-6, atol=1e-9)

    def test_the_order_of_rows_does_not_matter(self, rng: np.random.Generator) -> None:
        if self.unordered is None:
            pytest.skip("rows are dealt at random")
        data = self.data(rng)
        order = rng.permutation(len(data[0]))
        mixed = self.make().fit(*(a[order] for a in data))
        for a, b in zip(
            self.answer(mixed, data), self.answer(self.make().fit(*data), data), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=self.unordered, atol=self.unordered)

    @pytest.mark.parametrize("bad", ["nan", "inf", "masked", "complex", "empty", "words", "scalar"])
    def test_what_makes_no_sense_is_refused(self, bad: str, rng: np.random.Generator) -> None:
        data = list(self.data(rng))
        wrong: Any = data[self.judged].copy()
        if bad in ("nan", "inf"):
            wrong.reshape(-1)[3] = float(bad)
        elif bad == "masked":
            wrong = np.ma.masked_less(wrong, np.median(wrong))
        elif bad == "complex":
            wrong = wrong + 1j
        elif bad == "empty":
            data = [a[:0] for a in data]
            wrong = wrong[:0]
        elif bad == "words":
            wrong = np.full(wrong.shape, "red")
        else:
            wrong = np.float64(3.0)
        given = [*data[: self.judged], wrong, *data[self.judged + 1 :]]
        with pytest.raises((ValueError, TypeError)) as error:
            self.make().fit(*given)
        assert len(str(error.value)) > 10

    def test_arrays_of_different_lengths_are_refused(self, rng: np.random.Generator) -> None:
        data = self.data(rng)
        if len(data) == 1:
            pytest.skip("it takes one array")
        with pytest.raises((ValueError, TypeError)):
            self.make().fit(data[0], *(a[1:] for a in data[1:]))
