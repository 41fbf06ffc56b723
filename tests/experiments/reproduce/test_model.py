"""Networks and forms are what the paper describes."""

import math
from dataclasses import replace

import pytest
import torch

from schmidt.experiments.reproduce import model
from schmidt.operators.jet import forward_mode


def by_hand(network, x, recipe):
    """√p · exp(−r/s) · (b + W₃ softplus(W₂ softplus(W₁ [cos, sin] + b₁) + b₂)) for every mode."""
    phase = x @ network.inputs.frequencies
    features = torch.cat([phase.cos(), phase.sin()], 1)
    trunk, out = network.trunk.trunk, []
    for l in range(recipe.modes):
        h = features
        for weight, bias in zip(trunk.weights, trunk.biases, strict=True):
            h = torch.nn.functional.softplus(h @ weight[l] + bias[l])
        out.append((h @ trunk.readout[l])[:, 0] + network.trunk.bias[l])
    variance = recipe.width**2
    root = ((-x.pow(2).sum(1) / (2 * variance)).exp() / (2 * math.pi * variance)).sqrt()
    f = torch.stack(out, 1) * root[:, None]
    return f if recipe.decay is None else f * (-x.norm(dim=1) / recipe.decay).exp()[:, None]


@pytest.mark.parametrize("problem", ["hydrogen", "oscillator"])
def test_the_network_is_the_papers_formula(tiny, tiny_oscillator, problem):
    recipe = tiny if problem == "hydrogen" else tiny_oscillator
    network = model.network(recipe, seed=1).double()
    with torch.no_grad():
        network.trunk.bias.normal_()
    x = torch.randn(7, 2, dtype=torch.float64) * recipe.width
    torch.testing.assert_close(network(x), by_hand(network, x, recipe))
    jet, slow = network.jet(x, 2), forward_mode(network.forward, x, 2)
    torch.testing.assert_close(jet.streams, slow.streams)


def test_weights_start_normal_with_variance_2_over_fan_in_and_biases_zero(tiny):
    recipe = replace(tiny, frequencies=128, hidden=(96, 96))
    network = model.network(recipe, seed=0)
    trunk = network.trunk.trunk
    for weight in trunk.weights:
        expected = math.sqrt(2 / weight.shape[-2])
        assert float(weight.detach().std()) == pytest.approx(expected, rel=0.03)
    assert all(not bool(b.any()) for b in [*trunk.biases, network.trunk.bias])
    spread = float(network.inputs.frequencies.std())
    assert spread == pytest.approx(2 * math.pi * 0.1, rel=0.15)


def test_seeds_make_networks(tiny):
    first, again, other = (model.network(tiny, s).trunk.trunk.readout for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_form_is_the_scaled_and_shifted_operator(tiny, tiny_oscillator):
    from schmidt.operators.jet import Jet

    for recipe in (tiny, tiny_oscillator):
        form, plain = model.form(recipe), model.problem(recipe).form
        sample = plain.evaluation(40)
        x = sample.x.x

        def g(y):
            return torch.stack([(-y.norm(dim=1)).exp(), y[:, 0] * (-y.norm(dim=1)).exp()], 1)

        jet = forward_mode(g, x, 2)
        weak = plain.matrix(jet, jet, sample)
        torch.testing.assert_close(
            form.matrix(jet, jet, sample), recipe.scale * weak, rtol=2e-2, atol=1e-3
        )
        assert form.orders() == (2, 0)
        assert isinstance(jet, Jet)


def test_points_are_independent_and_normal(tiny):
    sample = model.form(tiny).sample(20_000, torch.Generator().manual_seed(0))
    x = sample.x.x
    assert float(x.std()) == pytest.approx(16.0, rel=0.02)
    assert abs(float((x[1:] * x[:-1]).mean())) < 256 * 0.03
    inside = (x.norm(dim=1) < 16).to(torch.float64)
    assert float((sample.x.weight * inside).sum()) == pytest.approx(math.pi * 256, rel=0.05)
