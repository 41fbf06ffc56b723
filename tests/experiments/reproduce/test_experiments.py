"""Every experiment from end to end: tiny networks, a few steps, report and figures."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from schmidt.cli import main
from schmidt.experiments.reproduce import (
    EXPERIMENTS,
    hydrogen,
    lobpcg,
    nesting,
    oscillator,
    reproduce,
)
from schmidt.experiments.reproduce.model import METHODS

PNG = b"\x89PNG"


def checked(report, out, figures):
    written = report.write(out)
    text = (out / "report.md").read_text()
    numbers = json.loads((out / "results.json").read_text())
    assert {p.name for p in written} == {"report.md", "results.json", *figures}
    for name in figures:
        assert (out / name).read_bytes().startswith(PNG)
        assert f"]({name})" in text
    assert str(out) not in text
    return text, numbers


def test_hydrogen(options, contenders):
    everyone = contenders(*METHODS.values())
    report = hydrogen.experiment(options, everyone)
    figures = ("comparison.png", "modes.png", "functions.png")
    text, numbers = checked(report, options.out, figures)
    for phrase in (
        "the paper's order is",
        "| sequential | 2 |",
        "SpIN",
        "peak memory",
        "12 steps instead of 500,000",
        "finite differences",
    ):
        assert phrase in text
    assert set(numbers["runs"]) == set(METHODS.values())
    verdict = numbers["order"]["relative eigenvalue error"]
    means = {
        k: np.mean([np.mean(r["relative_error"]) for r in v]) for k, v in numbers["runs"].items()
    }
    order = [means[m] for m in ("sequential", "joint", "neuralef", "spin")]
    assert verdict["reproduced"] == all(a < b for a, b in pairwise(order))


def test_nesting(options, contenders):
    report = nesting.experiment(options, contenders("sequential", "joint", "none"))
    text, _ = checked(report, options.out, ("nesting.png",))
    assert "error after Rayleigh–Ritz" in text
    assert "| quadrature |" in text


def test_lobpcg(options, contenders, monkeypatch):
    monkeypatch.setitem(lobpcg.RITZ_BUDGET, "quick", 1.0)
    everyone = contenders("sequential", "none")
    report = lobpcg.experiment(options, everyone, (16, 24))
    text, numbers = checked(report, options.out, ("lobpcg.png",))
    assert set(numbers["grids"]) == {"LOBPCG", "LOBPCG, preconditioned"}
    assert "| LOBPCG | 24 | 576 |" in text
    assert "cusp" in text
    kept = json.loads((options.out / "results.json").read_text())
    again = lobpcg.experiment(options, everyone, (16, 24))
    again.write(options.out)
    assert json.loads((options.out / "results.json").read_text()) == kept


def test_oscillator(options, contenders, tiny_oscillator):
    rows = contenders("sequential", "neuralef", recipe=tiny_oscillator)
    sweep = [
        replace(rows[0], label=f"c = {c:g}", recipe=replace(tiny_oscillator, modes=3, shift=c))
        for c in (4.0, 6.0)
    ]
    report = oscillator.experiment(options, (rows, rows, sweep))
    figures = ("comparison.png", "modes.png", "functions.png", "norms.png", "shift.png")
    text, numbers = checked(report, options.out, figures)
    assert "6 modes, 3 of them positive" in text
    assert "separate" in text
    assert set(numbers["shift"]) == {"c = 4", "c = 6"}


def test_a_threshold_counts_what_is_on_the_wrong_side():
    exact = np.array([4.0, 2.0, 2.0, 0.0, -2.0])
    assert oscillator.wrong(np.array([4.1, 1.9, 1.5, 0.2, 0.0]), exact, 3) == 0
    assert oscillator.wrong(np.array([4.1, 0.9, 1.5, 1.2, 0.0]), exact, 3) == 2


def test_energies_are_judged_without_the_shift(tiny_oscillator):
    recipe = replace(tiny_oscillator, modes=3, shift=100.0)
    record = {"exact": [98.0, 96.0, 96.0], "values": [97.0, 96.0, None]}
    assert oscillator.energy_error(record, recipe) == pytest.approx((0.5 + 0 + 1) / 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("hydrogen", "--tier", "gpu"), "needs a GPU that torch can use"),
        (("nesting", "--seeds", "0"), "--seeds must be a whole number of at least 1, got 0"),
        (("nesting", "--workers", "-1"), "--workers must be a whole number of at least 0"),
    ],
)
def test_bad_input_is_one_clear_line(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(("reproduce", *arguments)) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_command_writes_and_prints(capsys, tmp_path, options, monkeypatch, contenders):
    def small(given):
        return nesting.experiment(replace(given, workers=0), contenders("sequential", "none"))

    monkeypatch.setitem(EXPERIMENTS, "nesting", small)
    assert main(("reproduce", "nesting", "--seeds", "1", "--out", str(tmp_path / "o"))) == 0
    out = capsys.readouterr().out
    assert "subspace distance over all modes: the paper's order is" in out
    assert "report.md" in out


def test_an_unknown_experiment_lists_the_known_ones(options):
    with pytest.raises(ValueError, match="unknown experiment 'helium'; known: hydrogen"):
        reproduce("helium", options)
