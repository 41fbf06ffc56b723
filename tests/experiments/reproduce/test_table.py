"""Statistics over seeds, and their tables, on known numbers."""

import math

import numpy as np
import pytest

from schmidt.experiments.reproduce import table
from schmidt.report import cell, statistics


def test_statistics_of_known_numbers():
    s = statistics([1.0, 2.0, 3.0, 4.0, 10.0, 6.0])
    assert s.mean == pytest.approx(26 / 6)
    assert s.sd == pytest.approx(np.std([1, 2, 3, 4, 10, 6], ddof=1))
    assert (s.low, s.high) == pytest.approx((2.0, 6.0))
    assert s.count == 6


def test_missing_values_are_left_out():
    s = statistics([1.0, float("nan"), None, 3.0])
    assert (s.mean, s.count) == (2.0, 2)
    assert statistics([]).count == 0
    assert math.isnan(statistics([5.0]).sd)


def test_cells():
    assert cell(statistics([])) == "–"
    assert cell(statistics([0.015])) == "1.5e-02"
    assert cell(statistics([0.01, 0.02])) == "1.5e-02 ± 7e-03 [1.2e-02, 1.8e-02]"
    assert cell(statistics([30.0, 50.0]), ".0f") == "40 ± 14 [34, 46]"


def test_measures_of_a_record():
    record = {"relative_error": [0.1, 0.3], "memory": 5_000_000, "seconds": 7.0}
    assert table.measure(record, "error") == pytest.approx(0.2)
    assert table.measure(record, "memory") == 5.0
    assert table.measure(record, "seconds") == 7.0
    assert math.isnan(table.measure({"failed": "NaN"}, "error"))


def test_the_table_has_a_row_per_label_and_counts_failures():
    runs = {
        "a": [{"relative_error": [0.1]}, {"relative_error": [0.3]}],
        "b": [{"relative_error": [0.5]}, {"failed": "diverged"}],
    }
    lines = table.results(runs, ("error",), {"a": 0.25}).splitlines()
    assert lines[0] == "|  | seeds | relative eigenvalue error | the paper's error |"
    assert lines[2].startswith("| a | 2 | 2.0e-01 ± 1e-01 [1.4e-01, 2.6e-01] | 2e-01 |")
    assert lines[3] == "| b | 2, 1 failed | 5.0e-01 | – |"
