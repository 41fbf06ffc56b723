"""The settings are the paper's: E.1 and, where they differ, the public scripts."""

from dataclasses import replace

import pytest

from schmidt.experiments.reproduce import model
from schmidt.experiments.reproduce.model import (
    HYDROGEN,
    HYDROGEN_RECIPES,
    NORMS_RECIPES,
    OSCILLATOR,
    OSCILLATOR_RECIPES,
    PAPERS_OWN,
    SPAN_RECIPES,
    SPIN,
    Recipe,
    differences,
)
from schmidt.experiments.reproduce.paper import beside, reasons

COMMON = {
    "hidden": (128, 128, 128),
    "activation": "softplus",
    "batch": 512,
    "optimizer": "paper",
    "lr": 1e-4,
    "ema": 0.995,
    "warmup": 0,
    "extra_shift": 0.0,
    "sampling": "plain",
    "network": "fourier",
    "form": "strong",
}


@pytest.mark.parametrize(
    ("recipe", "own"),
    [
        (
            HYDROGEN,
            {
                "modes": 36,
                "judged": 16,
                "scale": 100.0,
                "shift": 0.0,
                "frequencies": 1024,
                "kappa": 0.1,
                "width": 16.0,
                "decay": None,
                "steps": 500_000,
            },
        ),
        (
            OSCILLATOR,
            {
                "modes": 55,
                "judged": 28,
                "scale": 1.0,
                "shift": 16.0,
                "frequencies": 256,
                "kappa": 1.0,
                "width": 4.0,
                "decay": 10.0,
                "steps": 100_000,
            },
        ),
    ],
)
def test_the_full_recipes_are_those_of_the_public_scripts(recipe, own):
    for name, value in {**COMMON, **own}.items():
        assert getattr(recipe, name) == value, name


def test_spin_is_run_smaller_as_in_the_paper():
    assert differences(SPIN, HYDROGEN) == {
        "modes": (9, 36),
        "judged": (9, 16),
        "frequencies": (512, 1024),
        "batch": (128, 512),
    }


def test_the_optimizer_is_the_scripts_rmsprop():
    made = model.training(HYDROGEN, seed=3)
    (parameter,) = model.fourier_network(small(HYDROGEN)).trunk.trunk.weights[:1]
    group = made.make_optimizer([parameter]).param_groups[0]
    assert (group["alpha"], group["eps"], group["momentum"]) == (0.999, 1e-10, 0)
    assert (made.seed, made.dtype) == (3, "float32")
    assert made.learning_rate(0) == 1e-4
    assert made.learning_rate(250_000) == pytest.approx(5e-5)


def small(recipe: Recipe) -> Recipe:
    return replace(recipe, modes=recipe.judged, frequencies=8, hidden=(4,))


def test_judged_modes_are_complete_levels():
    recipes = [HYDROGEN_RECIPES, OSCILLATOR_RECIPES, NORMS_RECIPES, SPAN_RECIPES]
    for recipe in [SPIN, PAPERS_OWN, *(r for tiers in recipes for r in tiers.values())]:
        values = model.problem(recipe).exact.values(recipe.judged + 1)
        assert values[-1] < values[-2] * (1 - 1e-9)
        assert values[-2] > 0


def test_55_modes_at_c_16_have_28_positive_states():
    for recipe in NORMS_RECIPES.values():
        exact = model.exact_values(recipe)
        assert (len(exact), (exact > 1e-9).sum()) == (55, 28)


def test_the_sweep_is_that_of_the_remark_and_scales_with_the_levels():
    assert model.swept(28) == (14.0, 16.0, 32.0, 128.0)
    assert model.swept(6) == (6.0, 8.0, 16.0, 64.0)


def test_a_recipe_refuses_nonsense():
    with pytest.raises(ValueError, match="problem must be one of hydrogen, oscillator, got 'he'"):
        replace(HYDROGEN, problem="he")
    with pytest.raises(ValueError, match="judged must lie between 1 and 36, got 40"):
        replace(HYDROGEN, judged=40)


def test_reasons_name_what_differs_and_nothing_else():
    assert reasons(HYDROGEN, HYDROGEN) == []
    assert reasons(replace(HYDROGEN, steps=20_000), HYDROGEN) == ["20,000 steps instead of 500,000"]
    quick = " ".join(reasons(HYDROGEN_RECIPES["quick"], HYDROGEN))
    assert "soap" in quick
    assert "bounded inputs" in quick
    assert "random frequencies" not in quick


def test_numbers_beside_the_papers():
    assert "agree" in beside("x", 6.5e-3, 6e-3)
    assert "2.0 times larger" in beside("x", 1.2e-2, 6e-3)
    assert "20 times smaller" in beside("x", 3e-4, 6e-3)
