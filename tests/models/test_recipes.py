"""The recipes that ship with roar."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from roar.experiment import RetrainSettings
from roar.recipes import Recipe, load_recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_is_valid_and_complete(name: str) -> None:
    recipe = Recipe(**load_recipe(name))
    assert recipe.milestones == tuple(sorted(recipe.milestones))
    assert (recipe.schedule == "step") == bool(recipe.milestones)


@pytest.mark.parametrize(("name", "base", "batch", "steps"), [
    ("imagenet", 0.1, 4096, 32_000), ("birdsnap", 1.0, 256, 20_000), ("food101", 0.7, 256, 20_000)])
def test_the_papers_recipes(name: str, base: float, batch: int, steps: int) -> None:
    """Hooker et al. 2019, section 4.1: Nesterov 0.9, decay 1e-4, smoothing 0.1, base rate x batch / 256."""
    recipe = Recipe(**load_recipe(name))
    assert recipe.learning_rate == pytest.approx(base * batch / 256)
    assert (recipe.batch_size, recipe.steps) == (batch, steps)
    assert (recipe.optimizer, recipe.momentum, recipe.weight_decay) == ("sgd", 0.9, 1e-4)
    assert (recipe.label_smoothing, recipe.warmup_epochs) == (0.1, 5)
    assert (recipe.schedule, recipe.milestones, recipe.decay) == ("step", (30, 60, 80), 0.1)
    assert recipe.window is not None  # these sets do not fit into a usual machine's memory
    assert recipe.window % recipe.batch_size == 0


def test_a_source_gets_its_own_recipe_and_others_get_cifar10s() -> None:
    settings = RetrainSettings()
    assert settings.resolve("digits") == Recipe(**load_recipe("digits"))
    assert settings.resolve("somebody-elses-photos") == Recipe(**load_recipe("cifar10"))


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"steps": 0}, {"batch_size": 1}, {"learning_rate": 0},
                                   {"padding_mode": "wrap"}, {"augmentation": ["rotate"]}, {"surprise": 1}])
def test_rules(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Recipe.model_validate(wrong)
