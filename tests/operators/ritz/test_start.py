"""Training that starts from a Ritz solution and ends with one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from schmidt import Factorization
from schmidt.operators import (
    Ansatz,
    Dependence,
    DisjointMLP,
    Distribution,
    Gaussian,
    GaussianEnvelope,
    Kernel,
    Lebesgue,
    Radial,
    Run,
    ScaledInputs,
    Schrodinger,
    SharedMLP,
    Training,
    fit,
    spectrum,
)
from schmidt.operators.form import Form
from schmidt.operators.networks import Hidden
from schmidt.operators.ritz.in_span import polished, rescale
from schmidt.operators.spectrum import Functions

MODES = 3
SHORT = Training(steps=40, batch=128, log_every=10, checkpoint_every=7)


def oscillator() -> Form:
    measure = Lebesgue(Radial(2, scale=0.7, outer=6.0, inner=1e-3))
    return Schrodinger(lambda x: x.pow(2).sum(1), measure) + 5.0


def ansatz(kind: type = SharedMLP, seed: int = 0, envelopes: int = 1) -> Ansatz:
    torch.manual_seed(seed)
    decay = GaussianEnvelope([0.9 + 0.1 * m for m in range(envelopes)])
    trunk = kind(2, MODES, (24, 24), gain=0.5)
    return Ansatz(trunk, decay, inputs=ScaledInputs(2, 1.0), amplitude=1.7)


def kernel() -> Kernel:
    return Kernel(
        lambda y, x: (-((y - 0.7 * x.T - 0.3) ** 2)).exp(),
        Distribution(Gaussian(1.0, 1)),
        Distribution(Gaussian(1.5, 1)),
    )


def plain(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, MODES))


@pytest.mark.parametrize(("kind", "envelopes"), [(SharedMLP, 1), (SharedMLP, 3), (DisjointMLP, 1)])
def test_starting_functions_are_nearly_solutions_with_the_right_norms(
    kind: type, envelopes: int
) -> None:
    """Orthogonal, in order, of norms √(σ + c), where random ones are far off."""
    form, network = oscillator(), ansatz(kind, envelopes=envelopes)
    before = spectrum(form, network)
    run = Run(form, network, training=SHORT)
    run.start_from_ritz()
    found = spectrum(form, network)
    exact = np.array([3.0, 1.0, 1.0])
    assert np.abs(found.rayleigh - exact).max() < 0.1
    assert np.abs(before.rayleigh - exact).max() > 1
    np.testing.assert_allclose(found.norm, exact + run.extra_shift, rtol=0.1)
    for a, b in zip(network.parameters(), run.averaged["right"].parameters(), strict=True):
        assert torch.equal(a, b)


def test_one_block_of_units_reproduces_the_ritz_functions() -> None:
    """Where the span of every function is the whole span, only the cut of the readout differs."""
    form, network = oscillator(), ansatz().double()
    values, wanted, _ = polished(form, network, None, MODES)
    Run(form, network, training=SHORT).start_from_ritz()
    x = torch.randn(200, 2, dtype=torch.float64)
    found, exact = network(x).detach(), wanted(x).detach()
    for level in ([0], [1, 2]):
        a, b = found[:, level], exact[:, level]
        fitted = b @ torch.linalg.lstsq(b, a).solution
        assert float((fitted - a).norm() / a.norm()) < 0.02
    assert values[0] == pytest.approx(3.0, abs=1e-2)


def test_the_start_of_a_singular_value_decomposition() -> None:
    form, right, left = kernel(), plain(0), plain(1)
    run = Run(form, right, left, training=SHORT)
    run.start_from_ritz()
    found = spectrum(form, right, left)
    assert run.extra_shift == 0
    np.testing.assert_allclose(found.norm, found.rayleigh, rtol=0.1)
    np.testing.assert_allclose(found.norm, found.ritz, rtol=0.1)


def test_it_is_a_better_start() -> None:
    first = [
        fit(oscillator(), ansatz(), training=SHORT, start=s, progress=False).spectrum
        for s in ("ritz", "random")
    ]
    errors = [np.abs(s.rayleigh - [3, 1, 1]).max() for s in first]
    assert errors[0] < 0.3 * errors[1]


class Stop(Exception):
    pass


def test_a_killed_run_that_started_from_ritz_resumes_bit_for_bit(tmp_path) -> None:
    def go(**more):
        return fit(oscillator(), training=SHORT, start="ritz", progress=False, **more)

    def killer(right, left):
        raise Stop

    whole = go(right=ansatz())
    with pytest.raises(Stop):
        go(right=ansatz(), checkpoint=tmp_path, monitor=killer, monitor_every=17)
    resumed = go(right=ansatz(seed=5), checkpoint=tmp_path, resume=True)
    for a, b in zip(whole.right.parameters(), resumed.right.parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ValueError, match="start"):
        fit(oscillator(), ansatz(), training=SHORT, checkpoint=tmp_path, resume=True)


@pytest.mark.parametrize("kind", [SharedMLP, DisjointMLP])
def test_polishing_improves_the_answer_and_leaves_what_was_learned(kind: type) -> None:
    plain_run, found = (
        fit(oscillator(), ansatz(kind), training=SHORT, polish=p, progress=False)
        for p in (None, "ritz")
    )
    error = np.abs(found.factorization.values - [3, 1, 1]).max()
    assert error < 0.1 * np.abs(plain_run.factorization.values - [3, 1, 1]).max()
    np.testing.assert_array_equal(found.learned.values, plain_run.learned.values)
    x = torch.randn(5, 2, dtype=torch.float64)
    assert torch.equal(found.learned.right(x), plain_run.learned.right(x))
    assert found.factorization.settings["polish"] == "ritz"
    assert plain_run.polished is None
    sample = found.form.evaluation()
    f = found.factorization.right(sample.x.x).detach()
    gram = (f * sample.x.weight[:, None]).T @ f
    assert float((gram - torch.eye(MODES)).abs().max()) < 1e-2


def test_polishing_a_singular_value_decomposition() -> None:
    form = kernel()
    found = fit(form, plain(0), plain(1), training=SHORT, polish="ritz", progress=False)
    s = form.evaluation()
    weighted = (
        s.y.weight.sqrt()[:, None] * form.kernel(s.y.x, s.x.x) * s.x.weight.sqrt()
    )  # fmt: skip
    exact = np.linalg.svd(weighted.numpy())[1][:MODES]
    np.testing.assert_allclose(found.factorization.values, exact, rtol=0.02)
    assert found.factorization.left is not found.factorization.right


def test_a_quadrature_makes_the_polish_exact_in_the_span() -> None:
    """A kernel of normal laws, whose functions the hidden units span to many digits."""
    form = Kernel(
        lambda y, x: (-((y - x.T) ** 2) / 2).exp(), Distribution(Gaussian(1.0, 1)), symmetric=True
    )
    found = fit(form, plain(0), training=SHORT, polish="ritz", progress=False)
    size = 0.75 + (1 / 16 + 1 / 4) ** 0.5  # A = a + b + √(a² + 2ab), a = 1/4, b = 1/2
    exact = (0.5 / size) ** 0.5 * (0.5 / size) ** np.arange(MODES)
    np.testing.assert_allclose(found.factorization.values, exact, rtol=1e-6)


def test_polished_factorizations_are_saved_and_read_back(tmp_path) -> None:
    found = fit(oscillator(), ansatz(), training=SHORT, polish="ritz", progress=False)
    path = tmp_path / "polished.npz"
    found.factorization.save(path)
    units = found.factorization.right.mix.shape[0]
    blank = Functions(Hidden(ansatz(seed=9).double()), torch.zeros(units, MODES))
    again = Factorization.load(path, left=blank, right=blank)
    np.testing.assert_array_equal(again.values, found.factorization.values)
    x = torch.randn(6, 2, dtype=torch.float64)
    assert torch.equal(again.right(x), found.factorization.right(x))


@pytest.mark.parametrize("make", [ansatz, lambda: plain(0).double()])
def test_rescaling_multiplies_functions(make: Callable[[], nn.Module]) -> None:
    network = make().double()
    x = torch.randn(4, 1 if isinstance(network, nn.Sequential) else 2, dtype=torch.float64)
    factors = torch.tensor([2.0, 0.5, 3.0], dtype=torch.float64)
    before = network(x).detach()
    rescale(network, factors)
    torch.testing.assert_close(network(x), before * factors)


def test_bad_settings_are_named() -> None:
    for bad in ({"start": "galerkin"}, {"polish": "svd"}):
        with pytest.raises(ValueError, match=r"must be one of "):
            fit(oscillator(), ansatz(), training=SHORT, progress=False, **bad)
    network = Ansatz(nn.Sequential(nn.Linear(2, 8), nn.Linear(8, 2), nn.Tanh()))
    with pytest.raises(ValueError, match="hidden units are known for"):
        fit(oscillator(), network, training=SHORT, start="ritz", progress=False)


def test_fewer_units_than_modes_leave_what_was_learned() -> None:
    """Two units and a constant span no four functions; the outputs do not either."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(1, 2), nn.Tanh(), nn.Linear(2, 4, bias=False))
    form = Kernel(
        lambda y, x: (-((y - x.T) ** 2)).exp(), Distribution(Gaussian(1.0, 1)), symmetric=True
    )
    with pytest.warns(UserWarning, match="not polished: the networks span fewer than 4"):
        found = fit(form, network, training=SHORT, polish="ritz", progress=False)
    assert found.polished is None
    assert found.factorization.rank <= 2


def test_a_network_without_known_units_is_refused_before_training() -> None:
    calls = []
    with pytest.raises(ValueError, match="hidden units are known for"):
        fit(
            oscillator(),
            nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2), nn.Tanh()),
            training=SHORT,
            polish="ritz",
            monitor=lambda *_: calls.append(1) or {},
            progress=False,
        )
    assert not calls


def test_given_pairs_do_not_judge_what_they_made() -> None:
    """300 independent pairs: whatever 64 units find in a half of them is not in the other."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 300, 5))

    def network(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, 64), nn.Tanh(), nn.Linear(64, 3)).double()

    form = Dependence((x, y))
    found = fit(form, network(0), network(1), training=SHORT, polish="ritz", progress=False)
    assert found.factorization.values.max() < 0.4
