"""What cannot work is refused before the work begins, by name, with what is allowed and given."""

import numpy as np
import pytest
import torch
from torch import nn

from schmidt.operators import (
    Ansatz,
    DisjointMLP,
    FourierFeatures,
    Gaussian,
    Hutchinson,
    IndexTable,
    Indices,
    Kernel,
    Lebesgue,
    Matrix,
    NestedLowRank,
    Radial,
    ScaledInputs,
    Schrodinger,
    SpIN,
    Training,
    fit,
)
from schmidt.operators.checkpoint import read
from schmidt.operators.networks import BoundedInputs, PeriodicInputs
from schmidt.operators.soap import SOAP
from support.small import oscillator, small_network

NAN = float("nan")


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Training(seed=0.5), "seed"),
        (lambda: Training(seed=-1), "seed"),
        (lambda: Training(steps=True), "steps"),
        (lambda: Training(steps=10.0), "steps"),
        (lambda: Training(steps=NAN), "steps"),
        (lambda: Training(batch="64"), "batch"),
        (lambda: Training(lr=float("inf")), "lr"),
        (lambda: Training(lr="fast"), "lr"),
        (lambda: Training(ema=1.0), "ema"),
        (lambda: Training(clip=0.0), "clip"),
        (lambda: Training(extra_shift=NAN), "extra_shift"),
        (lambda: Training(dtype="float16"), "dtype"),
        (lambda: Training(dtype=torch.float32), "dtype"),
        (lambda: Training(optimizer=3), "optimizer"),
        (lambda: Training(device=0), "device"),
        (lambda: Training(checkpoint_seconds=-1), "checkpoint_seconds"),
        (lambda: NestedLowRank.sequential(2.0), "modes"),
        (lambda: SpIN(2.0), "modes"),
        (lambda: SpIN(2, decay=NAN), "decay"),
        (lambda: DisjointMLP(2, 2.0), "modes"),
        (lambda: DisjointMLP(2, True), "modes"),
        (lambda: DisjointMLP(2, 3, 32), "hidden"),
        (lambda: DisjointMLP(2, 3, (32.0,)), "hidden"),
        (lambda: DisjointMLP(2, 3, gain=NAN), "gain"),
        (lambda: IndexTable(10, 2.5), "modes"),
        (lambda: IndexTable("10", 2), "size"),
        (lambda: Indices(3.0), "size"),
        (lambda: ScaledInputs(2.0), "dim"),
        (lambda: BoundedInputs(2, 1.0, cusp=True), "scales"),
        (lambda: BoundedInputs(2, [1.0], cusp="yes"), "cusp"),
        (lambda: PeriodicInputs(1, harmonics=1.5), "harmonics"),
        (lambda: FourierFeatures(2, 8.0, 1.0), "size"),
        (lambda: FourierFeatures(2, 8, NAN), "kappa"),
        (lambda: Gaussian(1.0, 2.0), "dim"),
        (lambda: Radial(2.0, scale=1.0, outer=5.0), "dim"),
        (lambda: Lebesgue(Gaussian(1.0, 1), "latice"), "lattice"),
        (lambda: Hutchinson(2.5), "probes"),
        (lambda: SOAP([torch.zeros(2, 2, requires_grad=True)], lr=NAN), "lr"),
        (lambda: Matrix(np.eye(4), block=2.0), "block"),
        (lambda: Kernel(np.eye(3), Indices(3)), "kernel"),
        (lambda: Kernel(lambda y, x: y @ x.T, [[1.0]]), "domain"),
        (lambda: Schrodinger(1.0, Lebesgue(Gaussian(1.0, 1))), "potential"),
        (lambda: Schrodinger(lambda x: x, Gaussian(1.0, 1)), "measure"),
        (lambda: Schrodinger(lambda x: x, Lebesgue(Gaussian(1.0, 1)), kinetic=NAN), "kinetic"),
        (lambda: Ansatz(DisjointMLP(1, 1), amplitude=NAN), "amplitude"),
        (lambda: fit(oscillator(), [1.0, 2.0]), "right"),
        (lambda: fit([[1.0]], small_network()), "form"),
        (lambda: fit(oscillator(), small_network(), training={"steps": 3}), "training"),
        (lambda: fit(oscillator(), small_network(), method=3), "method"),
        (lambda: fit(oscillator(), small_network(), monitor=3), "monitor"),
        (lambda: fit(oscillator(), small_network(), monitor_every=0), "monitor_every"),
        (lambda: fit(oscillator(), small_network(), resume="yes"), "resume"),
        (lambda: fit(oscillator(), small_network(), start="ritzz"), "did you mean 'ritz'"),
    ],
)
def test_wrong_values_are_named(make, name):
    with pytest.raises((ValueError, TypeError), match=name) as refusal:
        make()
    assert len(str(refusal.value)) < 400


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused_with_what_to_do(dtype):
    with pytest.raises(ValueError, match=r"Training\(dtype='float32'\)"):
        fit(oscillator(), small_network().to(dtype), training=Training(steps=1, batch=64))
    trained = fit(
        oscillator(),
        small_network().to(dtype),
        training=Training(steps=1, batch=64, dtype="float32"),
    )
    assert next(trained.right.parameters()).dtype == torch.float32


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"error": NAN}, "step 5: the monitor returned nan for 'error'"),
        ({"error": "small"}, "'small' for 'error'"),
        (3.0, "must return a mapping"),
    ],
)
def test_a_monitor_that_returns_nonsense_stops_the_run_and_loses_nothing(tmp_path, told, message):
    training = Training(steps=9, batch=64, checkpoint_every=1000)
    with pytest.raises((ValueError, TypeError), match=message):
        fit(
            oscillator(),
            small_network(),
            training=training,
            checkpoint=tmp_path,
            monitor=lambda right, left: told,
            monitor_every=5,
        )
    assert read(tmp_path).progress.step == 5


def test_signed_eigenvalues_are_pairs_and_magnitudes_a_factorization():
    """An indefinite matrix: pairs descend, terms go by magnitude, and neither is proven."""
    a = np.diag([3.0, 2.0, -2.5, 0.5])
    torch.manual_seed(0)
    training = Training(steps=300, batch=16, optimizer="adam", lr=0.02)
    found = fit(Matrix(a), IndexTable(4, 4).double(), method="none", training=training)
    pairs, terms = found.eigenpairs, found.factorization
    assert np.all(np.diff(pairs.values) <= 0)
    assert np.all(np.diff(np.abs(terms.values)) <= 0)
    np.testing.assert_allclose(np.sort(pairs.values), np.sort(terms.values))
    for result in (pairs, terms):
        assert not result.certificate.met
        assert result.certificate.notes
        right = result.right(np.arange(4))
        np.testing.assert_allclose(a @ right, right * result.values, atol=0.1)
    assert len(terms.truncate(1).values) == 1
    assert not terms.truncate(1).certificate.met


def test_singular_values_are_no_eigenvalues():
    a = np.random.default_rng(0).standard_normal((6, 4))
    found = fit(Matrix(a), IndexTable(4, 2), IndexTable(6, 2), training=Training(steps=2, batch=8))
    with pytest.raises(ValueError, match=r"take \.factorization"):
        _ = found.eigenpairs
    assert found.factorization.certificate.met is False
    assert isinstance(found.right, nn.Module)
