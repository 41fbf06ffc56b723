"""The step that is captured on a GPU, run uncaptured: the library's step, resumable anywhere."""

from dataclasses import replace

import pytest
import torch

from schmidt.experiments.reproduce import graphs, model
from schmidt.operators.form import Sample
from schmidt.operators.measures import Points
from schmidt.operators.methods import DivergedError
from schmidt.operators.run import Run


def made(recipe, method="sequential"):
    settings = model.training(recipe, seed=0)
    return Run(model.form(recipe), model.network(recipe, 0), None, method, settings)


@pytest.mark.parametrize("method", graphs.CAPTURED)
def test_a_step_is_the_librarys_step(tiny, method):
    fast, slow = made(tiny, method), made(tiny, method)
    step = graphs.Step(fast, tiny)
    for t in range(5):
        x, weight = step.points(t)
        half = tiny.batch // 2
        parts = [Points(x[i : i + half], weight[i : i + half]) for i in (0, half)]
        drawn = iter([Sample(p, p) for p in parts])
        slow._draw = lambda n, generator, it=drawn: next(it)
        slow.step(t)
        step.replay(t)
    for name in ("networks", "averaged"):
        ours, theirs = (getattr(r, name)["right"].parameters() for r in (fast, slow))
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    assert bool(step.finite)


def test_points_depend_on_the_step_and_the_seed_alone(tiny):
    step = graphs.Step(made(tiny), tiny)
    chosen = [0, graphs.BLOCK - 1, graphs.BLOCK, 3 * graphs.BLOCK + 7]
    forwards = [step.points(t)[0].clone() for t in chosen]
    for t, before in zip(reversed(chosen), reversed(forwards), strict=True):
        assert torch.equal(step.points(t)[0], before)
    assert not torch.equal(forwards[0], forwards[1])
    x, weight = step.points(5)
    expected = 2 / (tiny.batch * density(x, tiny.width))
    torch.testing.assert_close(weight, expected, rtol=1e-4, atol=0)


def density(x, width):
    return (-x.pow(2).sum(1) / (2 * width**2)).exp() / (2 * torch.pi * width**2)


def run(recipe, folder, report=None):
    settings = replace(model.training(recipe, 0), checkpoint_every=1)
    network = model.network(recipe, 0)
    return graphs.fit(recipe, "sequential", network, settings, folder, report, 1)


def test_a_stopped_run_goes_on_to_the_same_bits(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(graphs, "BLOCK", 4)
    whole = run(tiny, tmp_path / "whole")

    class Stop(Exception):
        pass

    def killer(step):
        if step >= 8:
            raise Stop

    with pytest.raises(Stop):
        run(tiny, tmp_path / "cut", killer)
    resumed = run(tiny, tmp_path / "cut")
    assert resumed.steps == whole.steps == tiny.steps
    for a, b in zip(whole.right.parameters(), resumed.right.parameters(), strict=True):
        assert torch.equal(a, b)


def test_nan_stops_the_run(tiny, tmp_path):
    with pytest.raises(DivergedError, match="NaN or Inf before step"):
        run(replace(tiny, lr=1e30), tmp_path)


def test_what_cannot_be_captured_is_refused(tiny):
    with pytest.raises(ValueError, match="only the paper's"):
        graphs.Step(made(tiny), replace(tiny, optimizer="soap"))
    assert not graphs.usable(tiny, "sequential", "cpu")
    assert not graphs.usable(tiny, "spin", "cuda")
    assert not graphs.usable(replace(tiny, extra_shift=1.0), "joint", "cuda")
    assert graphs.usable(tiny, "joint", "cuda")
