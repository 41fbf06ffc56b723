"""The verdict on the paper's order, on planted numbers."""

import numpy as np

from schmidt.experiments.reproduce.paper import chain, compared

RNG = np.random.default_rng(0)


def around(mean, count=6, spread=0.05):
    return mean * (1 + spread * RNG.standard_normal(count))


def test_an_order_that_holds():
    values = {"a": around(1e-3), "b": around(2e-3), "c": around(1e-2)}
    found = chain("error", values, ("a", "b", "c"))
    assert found.reproduced
    assert [link.holds for link in found.links] == [True, True]
    assert all(link.errors_apart > 2 for link in found.links)
    assert found.sentences()[0] == "error: the paper's order is reproduced"


def test_one_link_that_fails_is_said_and_not_hidden():
    values = {"a": around(1e-3), "b": around(2e-2), "c": around(1e-2)}
    found = chain("error", values, ("a", "b", "c"))
    assert not found.reproduced
    assert [link.holds for link in found.links] == [True, False]
    verdict, first, second = found.sentences()
    assert verdict == "error: the paper's order is NOT reproduced"
    assert first.startswith("a < b: reproduced")
    assert second.startswith("b < c: NOT reproduced")


def test_differences_within_the_spread_are_called_so():
    values = {"a": [1.0, 3.0], "b": [1.1, 3.1]}
    (link,) = chain("error", values, ("a", "b")).links
    assert link.holds
    assert link.errors_apart < 2
    assert "within the spread" in link.sentence()


def test_one_seed_has_no_spread():
    (link,) = chain("error", {"a": [1.0], "b": [2.0]}, ("a", "b")).links
    assert link.holds
    assert link.errors_apart is None
    assert "one seed" in link.sentence()


def test_equal_means_are_no_worse_but_not_better():
    values = {"a": [1.0, 1.0], "b": [1.0, 1.0]}
    assert compared("d", values, [("a", "b")], strict=False).reproduced
    assert not compared("d", values, [("a", "b")]).reproduced


def test_a_method_without_numbers_cannot_be_judged():
    found = chain("error", {"a": [1.0, 2.0], "b": [float("nan")]}, ("a", "b"))
    assert not found.reproduced
    assert "cannot be judged" in found.sentences()[1]
