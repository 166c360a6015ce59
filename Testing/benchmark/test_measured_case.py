"""The benchmark times what a user has by default."""

import pytest

from context_propagation.benchmark.measured_case import fusion_settings
from context_propagation.core.propagation.fusion_settings import FusionSettings
from context_propagation.evaluation.fusion_recipe import FusionRecipe


@pytest.mark.parametrize("channels", [32, 64, 128, 320])
def test_the_timed_fusion_network_is_the_one_that_train_fusion_makes_by_default(channels):
    recipe = FusionRecipe()

    assert fusion_settings(channels) == FusionSettings(recipe.fusion, channels, recipe.width_for(channels))
