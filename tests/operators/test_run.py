"""A run can be killed, resumed, interrupted; it fails clearly and refuses what cannot work."""

import json
import os
import signal
import threading

import numpy as np
import pytest
import torch
from torch import nn

from schmidt.operators import (
    Data,
    Distribution,
    DivergedError,
    Gaussian,
    IndexTable,
    Kernel,
    Lebesgue,
    Matrix,
    NestedLowRank,
    NotSelfAdjointError,
    Radial,
    Schrodinger,
    Training,
    UniformBox,
    fit,
    spectrum,
)
from schmidt.storage import DamagedFileError
from support.small import oscillator, small_network


def plain_network(modes):
    return nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, modes))


def checkpointed(directory, steps=30, resume=False, seed=0, **settings):
    training = Training(
        **{"steps": steps, "batch": 64, "checkpoint_every": 7, "log_every": 5, **settings}
    )
    return fit(
        oscillator(),
        small_network(seed=seed),
        training=training,
        checkpoint=directory,
        resume=resume,
    )


class Stop(Exception):
    pass


@pytest.mark.parametrize("optimizer", ["soap", "adam", "rmsprop"])
def test_a_killed_run_resumes_bit_for_bit(tmp_path, optimizer):
    whole = checkpointed(tmp_path / "whole", optimizer=optimizer)

    def killer(right, left):
        raise Stop

    with pytest.raises(Stop):
        fit(
            oscillator(),
            small_network(),
            training=Training(
                steps=30, batch=64, checkpoint_every=7, log_every=5, optimizer=optimizer
            ),
            checkpoint=tmp_path / "cut",
            monitor=killer,
            monitor_every=17,
        )
    assert json.loads((tmp_path / "cut/checkpoint.json").read_text())["step"] == 14
    # another start: everything must come from the checkpoint
    resumed = checkpointed(tmp_path / "cut", resume=True, seed=5, optimizer=optimizer)
    for a, b in zip(whole.right.parameters(), resumed.right.parameters(), strict=True):
        assert torch.equal(a, b)
    assert [h["objective"] for h in whole.history] == [h["objective"] for h in resumed.history]


@pytest.fixture
def caught():
    """Ctrl-C as in a terminal, also where the parent has it ignored (nohup, background jobs)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("caught")
def test_ctrl_c_keeps_the_checkpoint_and_returns_what_there_is(tmp_path):
    def press(right, left):
        os.kill(os.getpid(), signal.SIGINT)
        return {}

    training = Training(steps=30, batch=64, checkpoint_every=1000, log_every=5)
    cut = fit(
        oscillator(),
        small_network(),
        training=training,
        checkpoint=tmp_path,
        monitor=press,
        monitor_every=11,
    )
    assert cut.interrupted
    assert cut.steps == 11
    assert np.isfinite(cut.spectrum.ritz).all()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again = fit(oscillator(), small_network(), training=training, checkpoint=tmp_path, resume=True)
    whole = fit(oscillator(), small_network(), training=training)
    assert all(
        torch.equal(a, b)
        for a, b in zip(again.right.parameters(), whole.right.parameters(), strict=True)
    )


def test_fit_works_outside_the_main_thread():
    done = []
    thread = threading.Thread(
        target=lambda: done.append(
            fit(oscillator(), small_network(), training=Training(steps=3, batch=32))
        )
    )
    thread.start()
    thread.join()
    assert done[0].steps == 3


def test_a_checkpoint_of_other_settings_or_a_damaged_one_is_refused(tmp_path):
    checkpointed(tmp_path)
    with pytest.raises(ValueError, match="batch: 64 then, 32 now"):
        checkpointed(tmp_path, resume=True, batch=32)
    (tensors,) = tmp_path.glob("*.safetensors")
    tensors.write_bytes(tensors.read_bytes()[:-10])
    with pytest.raises(DamagedFileError, match=r"safetensors is damaged"):
        checkpointed(tmp_path, resume=True)
    (tmp_path / "checkpoint.json").write_text("{")
    with pytest.raises(DamagedFileError, match="not valid JSON"):
        checkpointed(tmp_path, resume=True)


@pytest.mark.parametrize(
    ("potential", "cause"),
    [
        (lambda x: x[:, 0] / 0, "potential or kernel is not finite"),
        (lambda x: x.pow(2).sum(1), "lower the learning rate"),
    ],
)
def test_nan_stops_with_step_and_cause(potential, cause):
    form = Schrodinger(potential, Lebesgue(Radial(2, scale=0.7, outer=6.0)))
    rate = 1e-2 if "finite" in cause else 1e25
    training = Training(steps=40, batch=64, lr=rate, optimizer="sgd", warmup=1)
    with pytest.raises(DivergedError, match=rf"step \d+: .*{cause}"):
        fit(form, small_network(), training=training)


def test_a_form_that_is_not_self_adjoint_is_refused_with_its_asymmetry():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((20, 20))
    with pytest.raises(NotSelfAdjointError, match=r"is \d+\.\d%.*second network `left`"):
        fit(Matrix(a), IndexTable(20, 3))
    wide = rng.standard_normal((20, 10))
    with pytest.raises(NotSelfAdjointError, match="between two different spaces"):
        fit(Matrix(wide), IndexTable(10, 3))
    skew = Kernel(lambda y, x: (-((y - 0.5 * x.T) ** 2)).exp(), Distribution(Gaussian(1.0, 1)))
    for modes in (1, 3):
        with pytest.raises(NotSelfAdjointError, match=r"antisymmetric part of .* is \d+\.\d%"):
            fit(skew, plain_network(modes), training=Training(steps=1, batch=512))


@pytest.mark.parametrize("shift", [5.0, 300.0])
def test_a_large_shift_does_not_hide_an_asymmetry(shift):
    """The strong form of ∇² on a box, without boundary conditions, is not symmetric."""
    box = Schrodinger(lambda x: 0 * x[:, 0], Lebesgue(UniformBox(0.0, 1.0, 1)), form="strong")
    with pytest.raises(NotSelfAdjointError, match="boundary conditions"):
        fit(box + shift, plain_network(3), training=Training(steps=1, batch=128))


def test_a_symmetric_kernel_passes_the_measurement():
    symmetric = Kernel(lambda y, x: (-((y - x.T) ** 2)).exp(), Distribution(Gaussian(1.0, 1)))
    assert fit(symmetric, plain_network(3), training=Training(steps=1, batch=512)).steps == 1


def test_bad_input_says_what_to_do():
    form = oscillator()
    with pytest.raises(ValueError, match=r"'sequental' – did you mean 'sequential'"):
        fit(form, small_network(), method="sequental")
    with pytest.raises(ValueError, match=r"must map \d+ points to shape \(\d+, modes\)"):
        fit(form, nn.Flatten(0))
    with pytest.raises(ValueError, match="left and right networks disagree"):
        fit(Matrix(np.ones((3, 2))), IndexTable(2, 2), IndexTable(3, 1))
    with pytest.raises(ValueError, match="no trainable parameters"):
        fit(form, small_network().requires_grad_(False))
    with pytest.raises(ValueError, match="resume needs the directory"):
        fit(form, small_network(), resume=True)
    for bad, message in {
        "steps": "steps must be a whole number of at least 1, got 0",
        "batch": "batch must be a whole number of at least 4, got 0: each of its two halves",
        "lr": "lr must be a number above 0, got 0",
    }.items():
        with pytest.raises(ValueError, match=message):
            Training(**{bad: 0})
    with pytest.raises(ValueError, match=r"optimizer must be one of soap, .* got 'adamw'"):
        Training(optimizer="adamw")


def test_own_optimizer_and_method_objects_are_accepted():
    training = Training(
        steps=5, batch=64, optimizer=lambda p, lr: torch.optim.AdamW(p, lr=lr), clip=1.0
    )
    method = NestedLowRank.joint(3, weights=[1.0, 0.5, 0.25])
    result = fit(oscillator(), small_network(), method=method, training=training)
    assert result.settings["method"] == "NestedLowRank"
    assert np.isfinite(result.spectrum.norm).all()


def test_ordinary_kernels_and_matrices_need_no_shift():
    """A sample may be all points at one size and a part of them at another."""
    rng = np.random.default_rng(0)
    data = Data(rng.standard_normal((300, 1)).astype(np.float32))
    rbf = Kernel(lambda y, x: (-((y - x.T) ** 2)).exp(), data, symmetric=True)
    assert fit(rbf, plain_network(2), training=Training(steps=2, batch=128)).steps == 2
    a = rng.standard_normal((300, 300))
    assert fit(Matrix(a + a.T), IndexTable(300, 2), training=Training(steps=2, batch=64)).steps == 2
    with pytest.raises(ValueError, match="extra_shift adds a multiple of the identity"):
        fit(rbf, plain_network(2), training=Training(steps=2, batch=128, extra_shift=1.0))


def test_zero_functions_at_the_start_are_refused():
    network = small_network()
    nn.init.zeros_(network.trunk.readout)
    with pytest.raises(ValueError, match="function 1 is identically zero at the start"):
        fit(oscillator(), network)


def test_one_network_for_both_sides_is_refused():
    table = IndexTable(4, 2)
    with pytest.raises(ValueError, match="left and right are one network"):
        fit(Matrix(np.eye(4)), table, table)


def test_stateful_layers_are_refused_where_derivatives_are_needed():
    network = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    with pytest.raises(ValueError, match="contains BatchNorm1d"):
        fit(oscillator(), network)


def test_dropout_trains_where_only_values_are_needed_and_is_off_in_the_result():
    data = Data(np.linspace(-2, 2, 64, dtype=np.float32)[:, None])
    rbf = Kernel(lambda y, x: (-((y - x.T) ** 2)).exp(), data, symmetric=True)
    network = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Dropout(0.2), nn.Linear(32, 2))
    f = fit(rbf, network, training=Training(steps=5, batch=64)).learned.right
    x = np.linspace(-1, 1, 5)
    np.testing.assert_array_equal(f(x), f(x))


def test_the_network_keeps_its_precision():
    network = small_network().double()
    result = fit(oscillator(), network, training=Training(steps=2, batch=64))
    assert next(result.right.parameters()).dtype == torch.float64
    assert result.settings["dtype"] == "float64"


def test_unnested_functions_in_any_gauge_keep_their_span():
    """Rayleigh–Ritz uses every function: Σ^½A and Σ^½A⁻ᵀ are as good as the singular functions."""
    rng = np.random.default_rng(0)
    q = np.linalg.qr(rng.standard_normal((12, 12)))[0]
    values = np.array([1.0, 0.02, *np.zeros(10)])
    angle = 0.1
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    table = IndexTable(12, 2).double()
    with torch.no_grad():
        table.table.copy_(torch.from_numpy(q[:, :2] * np.sqrt(values[:2]) @ turn))
    found = spectrum(Matrix((q * values) @ q.T), table)
    assert not found.vanished.any()
    np.testing.assert_allclose(found.ritz, values[:2], rtol=1e-8)


def test_weak_and_strong_forms_train_as_a_sum():
    """Orders combine: the sum needs second derivatives of f and first ones of g."""
    measure = Lebesgue(Radial(2, scale=0.7, outer=6.0, inner=1e-3))
    weak = Schrodinger(lambda x: x.pow(2).sum(1), measure)
    strong = Schrodinger(lambda x: x.pow(2).sum(1), measure, form="strong")
    assert strong.orders() == (2, 0)
    assert (strong + 1.0).orders() == (2, 0)
    both = (weak + strong) / 2 + 5.0
    assert both.orders() == (2, 1)
    training = Training(steps=300, batch=300, extra_shift=4.0)
    found = spectrum(oscillator(), fit(both, small_network(), training=training).right)
    np.testing.assert_allclose(found.ritz, [3, 1, 1], atol=2e-2)
