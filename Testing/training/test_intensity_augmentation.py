"""Intensity augmentation with nnU-Net's transforms: seeded, channel by channel, in the image's own units."""

import numpy as np
import pytest
import torch

from context_propagation.training.intensity_augmentation import augmented

SHAPE = (12, 14, 10)


def channels(count=1, mean=0.0, deviation=1.0):
    """Noise with a bright half, one channel the same as the next."""
    noise = np.random.default_rng(0).normal(size=SHAPE)
    noise[:6] += 3
    return np.repeat((mean + deviation * (noise - noise.mean()) / noise.std())[None], count, axis=0)


def test_one_seed_gives_one_image_and_another_seed_another():
    assert np.array_equal(augmented(channels(), 3), augmented(channels(), 3))
    assert not np.allclose(augmented(channels(), 3), augmented(channels(), 4))


def test_the_seed_alone_decides_whatever_was_drawn_before():
    found = []
    with torch.random.fork_rng(devices=[]):
        for earlier in (1, 2):
            torch.manual_seed(earlier)
            found.append([augmented(channels(), seed) for seed in range(5)])
    assert np.array_equal(*found)


def test_shape_and_type_are_those_that_a_model_reads():
    found = augmented(channels(2), 0)
    assert found.shape == (2, *SHAPE)
    assert found.dtype == np.float32


def test_most_seeds_change_the_image_and_none_beyond_recognition():
    similarity = [np.corrcoef(augmented(channels(), seed).ravel(), channels().ravel())[0, 1] for seed in range(30)]
    assert sum(value < 0.9999 for value in similarity) > 20
    assert min(similarity) > 0.7


@pytest.mark.parametrize("seed", range(4))
def test_the_units_of_the_image_are_put_back(seed):
    """A CT in HU is augmented as its z-scored self is."""
    hounsfield = augmented(channels(mean=-700.0, deviation=250.0), seed)
    assert np.allclose(hounsfield, -700 + 250 * augmented(channels(), seed), atol=0.05)


def test_mean_and_spread_stay_about_the_same():
    for seed in range(20):
        found = augmented(channels(mean=1000.0, deviation=50.0), seed)
        assert found.mean() == pytest.approx(1000, abs=15)
        assert 25 < found.std() < 90


def test_channels_are_changed_independently():
    pairs = [augmented(channels(2), seed) for seed in range(10)]
    assert sum(not np.allclose(first, second, atol=1e-3) for first, second in pairs) > 5


def test_channels_of_different_units_keep_their_own():
    both = np.concatenate((channels(mean=-700.0, deviation=250.0), channels(mean=5.0, deviation=2.0)))
    found = augmented(both, 1)
    assert found[0].mean() == pytest.approx(-700, abs=75)
    assert found[1].mean() == pytest.approx(5, abs=0.6)


def test_neither_the_image_nor_the_caller_s_random_numbers_are_changed():
    given, of_torch, of_numpy = channels(), torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    augmented(given, 5)
    assert np.array_equal(given, channels())
    assert torch.equal(torch.random.get_rng_state(), of_torch)
    assert np.array_equal(np.random.get_state()[1], of_numpy)  # noqa: NPY002


@pytest.mark.parametrize("seed", [0, 2**31, 2**32 - 1, 2**32 + 5])
def test_any_seed_will_do(seed):
    assert np.isfinite(augmented(channels(), seed)).all()


def test_an_empty_channel_stays_about_empty():
    found = augmented(np.zeros((1, *SHAPE)), 0)
    assert np.isfinite(found).all()
    assert np.abs(found).max() < 1e-6
