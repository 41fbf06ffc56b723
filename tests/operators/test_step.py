"""The training core: a step changes its state alone, and compiled it does the same."""

import copy

import numpy as np
import pytest
import torch

from schmidt.operators import (
    Ansatz,
    DisjointMLP,
    Distribution,
    DivergedError,
    Gaussian,
    GaussianEnvelope,
    IndexTable,
    Kernel,
    Matrix,
    Run,
    SpIN,
    Training,
    fit,
)
from schmidt.operators.methods import METHODS
from schmidt.operators.step import LOOK_EVERY
from support.small import oscillator

CAPTURED = ("sequential", "joint", "none", "neuralef", "neuralef-deflation")


def network():
    torch.manual_seed(0)
    trunk = DisjointMLP(2, 3, (16,))
    return Ansatz(trunk, GaussianEnvelope([1.0] * 3))


def made(method="sequential", **settings):
    training = Training(**{"steps": 50, "batch": 64, "optimizer": "rmsprop", **settings})
    form = oscillator("strong") if method == "spin-x" else oscillator()
    return Run(form, network(), None, method=method, training=training)


def state_of(run):
    """Every tensor that a run has, by name, as copies."""
    found = {"points": run.generator.get_state(), "torch": torch.get_rng_state()}
    for name, part in run._parts().items():
        found |= {f"{name}/{k}": v.clone() for k, v in part.state_dict().items()}
    return found


@pytest.mark.parametrize("name", METHODS)
def test_a_step_changes_nothing_but_its_state(name):
    """Form, samples, settings and torch's randomness are as they were; from one state, one step."""
    run = made(name)
    samples = run.draw()
    kept = [t.clone() for s in samples for t in (s.x.x, s.x.weight)]
    before, twin = state_of(run), copy.deepcopy(run.state)
    run.core(run.state, samples)
    after = state_of(run)
    assert torch.equal(before["points"], after["points"])
    assert torch.equal(before["torch"], after["torch"])
    assert all(
        torch.equal(a, b)
        for a, b in zip(kept, (t for s in samples for t in (s.x.x, s.x.weight)), strict=True)
    )
    assert any(not torch.equal(before[k], after[k]) for k in before if k.startswith("right/"))
    run.core(twin, samples)
    for name, network in twin.networks.items():
        for a, b in zip(network.parameters(), run.networks[name].parameters(), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("name", METHODS)
def test_a_surrogate_has_no_side_effects(name):
    """Called twice it gives the same gradient, and the method's state is as it was."""
    run = made(name)
    run.step()
    first, second = run.batches()
    before = {k: v.clone() for k, v in run.method.state_dict().items()}
    rows = [
        torch.autograd.grad(
            run.method.surrogate(run.form, first, second),
            run.state.parameters,
            retain_graph=True,
            materialize_grads=True,
        )
        for _ in range(2)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*rows, strict=True))
    after = run.method.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)


@pytest.mark.parametrize("method", CAPTURED)
@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_a_compiled_step_is_the_step(method, shift):
    runs = [made(method, compiled=how, extra_shift=shift) for how in (None, "graphs")]
    runs[1].compile()
    for _ in range(4):
        outcomes = [run.step() for run in runs]
    assert outcomes[0].batches is not None
    assert outcomes[1].batches is None
    for name in ("networks", "averaged"):
        ours, theirs = (getattr(r, name)["right"].parameters() for r in runs)
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_compiled_steps_serve_two_sides_and_kernels():
    a = np.random.default_rng(0).standard_normal((20, 12))
    training = Training(steps=3, batch=16, compiled="graphs", log_every=1)
    svd = fit(Matrix(a), IndexTable(12, 2), IndexTable(20, 2), training=training)
    kernel = Kernel(
        lambda y, x: (-((y - x.T) ** 2)).exp(), Distribution(Gaussian(1.0, 1)), symmetric=True
    )
    small = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    for result in (svd, fit(kernel, small, training=training)):
        assert np.isfinite([h["objective"] for h in result.history]).all()


def test_a_compiled_run_notices_nan_and_saves_none(tmp_path):
    training = Training(
        steps=2 * LOOK_EVERY, batch=64, lr=1e30, optimizer="sgd", warmup=1, compiled="graphs"
    )
    with pytest.raises(DivergedError, match=f"NaN or Inf before step {LOOK_EVERY}"):
        fit(oscillator(), network(), training=training, checkpoint=tmp_path)
    (file,) = tmp_path.glob("checkpoint-*.safetensors")
    assert file.name.startswith("checkpoint-00000000-")


def test_what_cannot_be_compiled_is_refused():
    for method in ("spin", "eigengame", SpIN(3)):
        with pytest.raises(ValueError, match="cannot be compiled"):
            made(method, compiled="graphs").compile()
    with pytest.raises(ValueError, match="compiled must be one of graphs, inductor or None"):
        made(compiled="graph")
