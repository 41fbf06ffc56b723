"""From a recipe to the form, the network and the training settings."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from schmidt.experiments.reproduce.recipe import Recipe
from schmidt.operators.differential import Schrodinger
from schmidt.operators.form import Form
from schmidt.operators.jet import Jet, JetModule
from schmidt.operators.measures import Gaussian, Lebesgue
from schmidt.operators.networks import (
    Ansatz,
    DisjointMLP,
    ExponentialEnvelope,
    FourierFeatures,
    GaussianEnvelope,
)
from schmidt.operators.training import Training
from schmidt.problems.hydrogen import coulomb, hydrogen2d
from schmidt.problems.oscillator import harmonic, oscillator2d
from schmidt.problems.problem import Problem

DIM = 2


def problem(recipe: Recipe) -> Problem:
    """The problem with its exact answer, and with the points that judge every method alike."""
    return hydrogen2d() if recipe.problem == "hydrogen" else oscillator2d(recipe.shift)


def form(recipe: Recipe) -> Form:
    """The form that training sees."""
    if recipe.sampling == "radial":
        return recipe.scale * problem(recipe).form
    measure = Lebesgue(Gaussian(recipe.width, DIM), "plain")
    potential = coulomb if recipe.problem == "hydrogen" else harmonic
    plain = Schrodinger(potential, measure, form=recipe.form)
    return recipe.scale * (plain + recipe.shift if recipe.shift else plain)


class Biased(JetModule):
    """A trunk with a trained constant added to each of its functions."""

    def __init__(self, trunk: DisjointMLP) -> None:
        super().__init__()
        self.trunk = trunk
        self.bias = nn.Parameter(torch.zeros(trunk.modes))

    def propagate(self, u: Jet) -> Jet:
        return self.trunk.propagate(u) + self.bias


def fourier_network(recipe: Recipe) -> nn.Module:
    """The network of the public scripts.

    √p · exp(−r/s_l) · MLP_l(cos Bx, sin Bx), normal weights of variance 2/fan-in, biases 0: what is
    trained is the function over √p, p the sampling density (D.3).
    """
    inputs = FourierFeatures(DIM, recipe.frequencies, recipe.kappa)
    trunk = DisjointMLP(inputs.features, recipe.modes, recipe.hidden, activation=recipe.activation)
    with torch.no_grad():
        for weight in [*trunk.weights, trunk.readout]:
            weight.normal_(0, math.sqrt(2 / weight.shape[-2]))
        for bias in trunk.biases:
            bias.zero_()
    variance = recipe.width**2
    factors: list[JetModule] = [GaussianEnvelope([1 / (2 * variance)], learn=False)]
    if recipe.decay is not None:
        factors.append(ExponentialEnvelope([1 / recipe.decay] * recipe.modes))
    root = (2 * math.pi * variance) ** (-DIM / 4)
    return Ansatz(Biased(trunk), *factors, inputs=inputs, amplitude=root)


def network(recipe: Recipe, seed: int) -> nn.Module:
    """A freshly drawn network."""
    if recipe.network == "bounded":
        return problem(recipe).networks("disjoint", recipe.modes, seed)[0]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return fourier_network(recipe)


def rmsprop(parameters: Iterable[Tensor], lr: float) -> torch.optim.Optimizer:
    """RMSprop with the memory and the floor of the public scripts."""
    return torch.optim.RMSprop(parameters, lr=lr, alpha=0.999, eps=1e-10)


def training(recipe: Recipe, seed: int, device: str = "cpu") -> Training:
    """The settings of a run."""
    made = Training(
        steps=recipe.steps,
        batch=recipe.batch,
        lr=recipe.lr,
        warmup=recipe.warmup,
        ema=recipe.ema,
        extra_shift=recipe.extra_shift,
        shift_until=recipe.shift_until,
        seed=seed,
        device=device,
        dtype="float32",
        log_every=max(1, recipe.steps // 200),
        checkpoint_every=max(100, recipe.steps // 20),
    )
    return replace(made, optimizer=rmsprop if recipe.optimizer == "paper" else recipe.optimizer)


def exact_values(recipe: Recipe) -> np.ndarray:
    """The exact leading values, one per trained mode."""
    exact = problem(recipe).exact
    assert exact is not None
    return exact.values(recipe.modes)
