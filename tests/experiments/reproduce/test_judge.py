"""Judging is exact for exact functions, and right for wrong ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from schmidt.experiments.reproduce import judge, model
from schmidt.operators.fit import Fit
from schmidt.operators.methods import method


class Planted(nn.Module):
    """Given functions as a network."""

    def __init__(self, functions):
        super().__init__()
        self.functions = functions
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return self.functions(x)


def ground_states(x):
    """Four hydrogen states, written for torch: n = 0, and n = 1 with l = 0, −1, 1."""
    r, b = x.norm(dim=1), 2 / 3
    s0 = (-r).exp()
    z = b * r
    radial = b / np.sqrt(3) * (-z / 2).exp()
    s1 = radial * (1 - z)
    p = radial * z / np.sqrt(2)
    flat = 1 / np.sqrt(2 * np.pi)
    wave = x / (r[:, None] + 1e-300) / np.sqrt(np.pi)
    return torch.stack([s0 * flat, s1 * flat, p * wave[:, 1], p * wave[:, 0]], 1)


def normalised(x, recipe):
    values = torch.from_numpy(model.exact_values(recipe)).to(x)
    sample = model.problem(recipe).form.evaluation()
    size = (sample.x.weight[:, None] * ground_states(sample.x.x) ** 2).sum(0).sqrt()
    return ground_states(x) / size * (recipe.scale * values).sqrt()


def fit_of(network, name, recipe):
    form = model.form(recipe)
    return Fit(
        form,
        network,
        left=None,
        history=[],
        steps=0,
        seconds=0.0,
        method=method(name, recipe.modes),
    )


def test_exact_functions_have_no_error_and_norms_that_are_values(tiny, tmp_path):
    network = Planted(lambda x: normalised(x, tiny))
    found = judge.judge(tiny, fit_of(network, "sequential", tiny), tmp_path)
    assert max(found["relative_error"]) < 1e-6
    assert max(found["angle"]) < 1e-3
    assert found["subspace_total"] < 1e-6
    assert found["orthogonality"] < 1e-6
    np.testing.assert_allclose(found["norms"], found["exact"], rtol=1e-6)
    images, gram = judge.pictures(tmp_path)
    exact, reaches = judge.truth(model.problem(tiny), 4)
    np.testing.assert_allclose(images, exact, atol=1e-3)
    np.testing.assert_allclose(gram, np.eye(4), atol=1e-4)
    assert reaches == sorted(reaches)


def test_a_mixed_span_is_ordered_by_ritz_only_without_nesting(tiny, tmp_path):
    turn = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0]
    network = Planted(lambda x: normalised(x, tiny) @ turn.to(x))
    nested = judge.judge(tiny, fit_of(network, "sequential", tiny), tmp_path)
    free = judge.judge(tiny, fit_of(network, "none", tiny), tmp_path)
    assert max(nested["relative_error"]) > 1e-2
    assert max(free["relative_error"]) < 1e-6
    assert free["learned_error"] == pytest.approx(nested["learned_error"])
    assert nested["ritz_error"] == pytest.approx(free["ritz_error"])
    assert free["subspace_total"] < 1e-6
    errors = list(free["ritz_by_points"].values())
    assert errors[-1] < errors[0]  # one in ~√n, and slow at the nucleus
    assert not nested["ritz_by_points"]


def test_spin_is_judged_by_its_orthonormal_functions(tiny, tmp_path):
    mix = torch.eye(4, dtype=torch.float64) + torch.ones(4, 4, dtype=torch.float64).triu(1)
    network = Planted(lambda x: normalised(x, tiny) @ mix.to(x))
    found = judge.judge(tiny, fit_of(network, "spin", tiny), tmp_path)
    assert max(found["relative_error"]) < 1e-6


def test_a_function_that_vanished_counts_as_lost(tiny, tmp_path):
    def three(x):
        f = normalised(x, tiny)
        return torch.cat([f[:, :3], 0 * f[:, 3:]], 1)

    found = judge.judge(tiny, fit_of(Planted(three), "sequential", tiny), tmp_path)
    assert found["relative_error"][3] == 1.0
    assert found["angle"][3] == pytest.approx(1.0)


def test_extra_modes_are_trained_but_not_judged(tiny, tmp_path):
    recipe = replace(tiny, judged=1)
    network = Planted(lambda x: normalised(x, tiny))
    found = judge.judge(recipe, fit_of(network, "sequential", recipe), tmp_path)
    assert len(found["relative_error"]) == len(found["angle"]) == 1
    assert len(found["values"]) == len(found["norms"]) == 4
