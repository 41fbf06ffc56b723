"""Every method by name: planted modes, kernels, resuming, reading out, refusing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from schmidt.compare import subspace_distance
from schmidt.operators import (
    Ansatz,
    DisjointMLP,
    Distribution,
    DivergedError,
    Gaussian,
    GaussianEnvelope,
    IndexTable,
    Kernel,
    Lebesgue,
    Matrix,
    NestedLowRank,
    Radial,
    Run,
    Schrodinger,
    SharedMLP,
    Training,
    fit,
)
from schmidt.operators.methods import METHODS, NeuralEF, SpIN
from schmidt.problems import train
from schmidt.problems.oscillator import oscillator2d

EIGEN = [name for name in METHODS if name not in ("sequential", "joint", "none")]
MODES = 4
QUICK = Training(steps=400, batch=100, optimizer="adam", lr=0.03, ema=0.9, dtype="float64")
# functions move fast in so few steps, and averages of 100 steps would lag behind
SHORT = {"spin": lambda modes: SpIN(modes, decay=0.8)}


def planted(values, seed=0):
    rng = np.random.default_rng(seed)
    q = np.linalg.qr(rng.standard_normal((len(values), len(values))))[0]
    return q, (q * values) @ q.T


VALUES = np.concatenate([[1, 0.8, 0.65, 0.5], 0.3 * 0.8 ** np.arange(16)])


@pytest.mark.parametrize("name", METHODS)
def test_planted_top_modes_of_a_positive_matrix(name):
    """Values and functions, in order; without nesting by Rayleigh–Ritz alone."""
    q, a = planted(VALUES)
    torch.manual_seed(0)
    method = SHORT[name](MODES) if name in SHORT else name
    result = fit(Matrix(a), IndexTable(20, MODES, scale=0.2), method=method, training=QUICK)
    for found in (result.factorization, result.learned)[: 1 if name == "none" else 2]:
        np.testing.assert_allclose(found.values, VALUES[:MODES], rtol=1e-3)
        right = found.right(np.arange(20))
        for mode in range(MODES):
            assert subspace_distance(right[:, [mode]], q[:, [mode]]) < 1e-3
    np.testing.assert_allclose(result.spectrum.ritz, VALUES[:MODES], rtol=1e-5)
    assert np.isnan(result.spectrum.norm).all() == (name in EIGEN)
    last = result.history[-1]["values"]
    if name != "none":
        np.testing.assert_allclose(last, VALUES[:MODES], rtol=1e-3)


@pytest.mark.slow
def test_spin_with_its_usual_averages_needs_more_steps():
    _, a = planted(VALUES)
    torch.manual_seed(0)
    training = replace(QUICK, steps=3000)
    result = fit(Matrix(a), IndexTable(20, MODES, scale=0.2), method="spin", training=training)
    np.testing.assert_allclose(result.learned.values, VALUES[:MODES], rtol=2e-3)


@pytest.mark.parametrize("name", ["spin", "spin-x", "neuralef", "mu-eigengame", "gha"])
def test_kernels_whose_functions_are_seen_at_different_points(name):
    """exp(−(y − x)²) under N(0, 1), against its quadrature."""
    form = Kernel(
        lambda y, x: (-((y - x.T) ** 2)).exp(), Distribution(Gaussian(1.0, 1)), symmetric=True
    )
    sample = form.evaluation()
    root = sample.x.weight.sqrt()
    matrix = root[:, None] * form.kernel(sample.x.x, sample.x.x) * root
    exact = np.linalg.eigvalsh(matrix.numpy())[::-1][:2]
    torch.manual_seed(0)
    network = DisjointMLP(1, 2, (12,))
    training = Training(steps=250, batch=200, lr=1e-2)
    method = SHORT[name](2) if name in SHORT else name
    result = fit(form, network, method=method, training=training)
    np.testing.assert_allclose(result.spectrum.rayleigh, exact, rtol=0.03)


def oscillator(form="weak"):
    measure = Lebesgue(Radial(2, scale=0.7, outer=6.0, inner=1e-3))
    return Schrodinger(lambda x: x.pow(2).sum(1), measure, form=form) + 5.0


def network(seed=0, modes=3):
    torch.manual_seed(seed)
    return Ansatz(DisjointMLP(2, modes, (12,)), GaussianEnvelope([1.0] * modes))


@pytest.mark.parametrize("name", ["spin", "spin-x", "neuralef", "eigengame", "gha"])
def test_states_of_the_oscillator(name):
    """5 − 2(n + 1): 3, 1, 1, of a differential operator in strong form."""
    training = Training(steps=250, batch=200, lr=1e-2, dtype="float64")
    method = SHORT[name](3) if name in SHORT else name
    result = fit(oscillator("strong"), network(), method=method, training=training)
    np.testing.assert_allclose(result.spectrum.rayleigh, [3, 1, 1], atol=0.1)


class Stop(Exception):
    pass


@pytest.mark.parametrize("name", ["spin", "eigengame"])
def test_a_killed_run_resumes_bit_for_bit(tmp_path, name):
    """Moving averages are part of the checkpoint."""
    training = Training(steps=30, batch=64, checkpoint_every=7, log_every=5)

    def run(directory, seed=0, **arguments):
        return fit(
            oscillator(),
            network(seed),
            method=name,
            training=training,
            checkpoint=tmp_path / directory,
            **arguments,
        )

    def killer(right, left):
        raise Stop

    whole = run("whole")
    with pytest.raises(Stop):
        run("cut", monitor=killer, monitor_every=17)
    resumed = run("cut", seed=5, resume=True)
    for a, b in zip(whole.right.parameters(), resumed.right.parameters(), strict=True):
        assert torch.equal(a, b)
    assert [h["objective"] for h in whole.history] == [h["objective"] for h in resumed.history]


def test_another_decay_is_another_run(tmp_path):
    training = Training(steps=4, batch=64)
    fit(oscillator(), network(), method=SpIN(3), training=training, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"method.decay: 0.99 then, 0.9 now"):
        fit(
            oscillator(),
            network(),
            method=SpIN(3, decay=0.9),
            training=training,
            checkpoint=tmp_path,
            resume=True,
        )


@pytest.mark.parametrize("name", ["spin", "neuralef"])
def test_nan_stops_with_step_and_cause(name):
    measure = Lebesgue(Radial(2, scale=0.7, outer=6.0))
    form = Schrodinger(lambda x: x[:, 0] / 0, measure)
    with pytest.raises(DivergedError, match=r"step 0: .*potential or kernel is not finite"):
        fit(form, network(), method=name, training=Training(steps=2, batch=64))


def test_fewer_points_than_modes_are_too_few_for_spin():
    _, a = planted(VALUES)
    training = Training(steps=2, batch=4, dtype="float64")
    with pytest.raises(DivergedError, match=r"step 0: .*as many points in half a batch"):
        fit(Matrix(a), IndexTable(20, 12), method="spin", training=training)


@pytest.mark.parametrize("name", EIGEN)
def test_two_sets_of_functions_are_refused(name):
    with pytest.raises(ValueError, match=r"leave the left network out, or use .* 'sequential'"):
        fit(Matrix(np.ones((3, 2))), IndexTable(2, 1), IndexTable(3, 1), method=name)


def test_spin_names_the_parameters_that_are_shared():
    with pytest.raises(ValueError, match=r"several share right\.weights\.0.*Use disjoint networks"):
        fit(oscillator(), SharedMLP(2, 3, (8,)), method="spin")


def test_spin_x_says_which_form_it_needs():
    with pytest.raises(ValueError, match="form='strong'"):
        fit(oscillator(), network(), method="spin-x")


def test_the_extra_shift_is_left_out_where_it_changes_nothing():
    training = Training(steps=2, batch=64, extra_shift=3.0)
    assert Run(oscillator(), network(), method="spin", training=training).extra_shift == 0
    assert Run(oscillator(), network(), method="neuralef", training=training).extra_shift == 3


def test_learned_functions_of_spin_are_orthonormal_from_the_start():
    result = fit(oscillator(), network(), method="spin", training=Training(steps=2, batch=64))
    s = result.spectrum
    learned = result.learned
    np.testing.assert_array_equal(learned.values, s.rayleigh)
    assert learned.settings["estimate"] == "rayleigh"
    sample = result.form.evaluation()
    values = learned.right(sample.x.x)
    gram = values.T @ (sample.x.weight[:, None] * values)
    torch.testing.assert_close(gram, torch.eye(3).double(), rtol=0, atol=1e-5)


def test_a_ritz_start_gives_functions_of_norm_one():
    run = Run(oscillator(), network(), method="gha", training=Training(steps=2, batch=512))
    run.start_from_ritz()
    first, _ = run.batches()
    torch.testing.assert_close(first.gram_g.diagonal(), torch.ones(3), rtol=0.05, atol=0)


def test_without_nesting_the_ritz_functions_are_shown():
    for method in ("none", NestedLowRank.none(3)):
        solution = train(oscillator2d(), modes=3, method=method, steps=3, batch=64, progress=False)
        assert solution.shown == "ritz"
    assert NestedLowRank.sequential(3).ordered
    assert NestedLowRank.none(1).ordered
    shown = train(oscillator2d(), modes=3, method=NeuralEF(), steps=3, batch=64, progress=False)
    assert shown.shown == "learned"
    assert shown.report()["eigenvalues"]["norm"] == [None] * 3
