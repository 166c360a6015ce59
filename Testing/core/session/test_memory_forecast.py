"""What caching will need, said before it: held against what the session then plans and keeps."""

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.update_settings import UpdateSettings
from context_propagation.core.session.memory_forecast import memory_forecast
from context_propagation.core.session.ready_image import ready_image
from context_propagation.core.session.session import Session
from context_propagation.core.session.session_settings import SessionSettings
from nnunet_folders import write_nnunet_folder

SHAPE = (24, 22, 20)
ROOMY = SessionSettings(update=UpdateSettings(iterations=2), memory_budget_bytes=2**30)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    pytest.importorskip("nnunetv2")
    return NnunetModel.load(write_nnunet_folder(tmp_path_factory.mktemp("model"), features=(4, 8, 8)), device="cpu")


@pytest.fixture
def volume():
    voxels = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    return SourceVolume(voxels[None], np.eye(4))


@pytest.fixture
def target():
    mask = np.zeros(SHAPE, bool)
    mask[8:14, 6:15, 5:14] = True
    return mask


def test_the_forecast_is_what_the_session_then_plans_and_keeps(model, volume, target):
    image = ready_image(model, volume)
    session = Session(model, ROOMY)

    forecast = memory_forecast(model, ROOMY, image, target)
    plan = session.set_image(image, target)

    assert (forecast.kept_bytes, forecast.peak_bytes) == (plan.cached_bytes, plan.peak_bytes)
    assert forecast.kept_bytes == session.cache.cached_bytes()
    assert (forecast.target_known, forecast.usable_bytes, forecast.messages) == (True, 2**30, ())


def test_a_ready_image_is_cached_as_the_image_itself_would_be(model, volume, target):
    straight, ready = Session(model, ROOMY), Session(model, ROOMY)

    straight.set_image(volume, target)
    ready.set_image(ready_image(model, volume), target)

    assert ready.volume is volume
    assert np.array_equal(ready.window_prediction, straight.window_prediction)


@pytest.mark.parametrize("initial", [None, np.zeros(SHAPE, bool)])
def test_before_the_target_is_predicted_the_forecast_is_the_least_that_it_can_be(model, volume, initial):
    forecast = memory_forecast(model, ROOMY, ready_image(model, volume), initial)

    split = model.splits[0]
    assert not forecast.target_known
    assert forecast.kept_bytes == split.cached_bytes(model.patch_size, ROOMY.level)
    assert forecast.messages == ()


def test_the_peak_of_a_prediction_counts_the_logits_and_probabilities_of_two_labels_and_the_label_map(model):
    large = (96, 80, 64)
    image = ready_image(model, SourceVolume(np.ones((1, *large), np.float32), np.eye(4)))
    patch_bytes = model.splits[0].peak_bytes(model.patch_size, 1)
    expected = patch_bytes + 96 * 80 * 64 * (2 * 4 + 2 * 4 + 2)

    assert memory_forecast(model, ROOMY, image).peak_bytes == expected
    tight = SessionSettings(memory_budget_bytes=expected - 1)
    assert "Predicting may need" in memory_forecast(model, tight, image).messages[-1]


def test_what_does_not_fit_is_refused(model, volume, target):
    small = SessionSettings(memory_budget_bytes=1000)
    with pytest.raises(UserInputError, match=r"Caching the target needs .* and 0 MiB may be used"):
        memory_forecast(model, small, ready_image(model, volume), target)


def test_a_forecast_for_little_memory_says_what_is_made_smaller(model, volume):
    target = np.ones(SHAPE, bool)
    image = ready_image(model, volume)
    roomy = memory_forecast(model, ROOMY, image, target)
    tight = SessionSettings(memory_budget_bytes=roomy.peak_bytes - 1)

    forecast = memory_forecast(model, tight, image, target)

    assert forecast.peak_bytes < roomy.peak_bytes
    assert "because memory is short" in forecast.messages[0]


def test_what_an_earlier_session_gives_back_counts_as_usable(model, volume, target):
    image, free = ready_image(model, volume), SessionSettings()

    with_more = memory_forecast(model, free, image, target, freed_bytes=2**40)

    assert with_more.usable_bytes >= 0.8 * 2**40 > memory_forecast(model, free, image, target).usable_bytes


def test_a_target_that_the_model_does_not_see_needs_nothing_until_it_is_edited(model):
    voxels = np.zeros(SHAPE, np.float32)
    voxels[:10] = 1.0  # nnU-Net crops to what is not zero
    outside = np.zeros(SHAPE, bool)
    outside[20] = True

    forecast = memory_forecast(model, ROOMY, ready_image(model, SourceVolume(voxels[None], np.eye(4))), outside)

    assert (forecast.kept_bytes, forecast.peak_bytes, forecast.target_known) == (0, 0, True)


def test_an_image_with_too_few_channels_is_refused(model):
    with pytest.raises(UserInputError, match="has 2 channel"):
        ready_image(model, SourceVolume(np.zeros((2, *SHAPE), np.float32), np.eye(4)))
