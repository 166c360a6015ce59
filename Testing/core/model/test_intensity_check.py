"""Warnings about channels that look unlike the training."""

import numpy as np
import pytest

from context_propagation.core.model.intensity_check import ChannelExpectation, channel_expectations, intensity_warnings

CT, PET, MR = ChannelExpectation("CT"), ChannelExpectation("PET"), ChannelExpectation("T1")


def channel(low: float, high: float) -> np.ndarray:
    return np.linspace(low, high, 27, dtype=np.float32).reshape(3, 3, 3)


@pytest.mark.parametrize(
    ("expected", "low", "high"),
    [
        (CT, -1024, 3071),
        (CT, -3024, 30000),  # padding outside the field of view, and metal
        (CT, -150, 200),  # a crop of soft tissue with some fat
        (PET, 0, 120),
        (PET, -0.2, 4),
        (MR, 0, 4000),
        (MR, -5, 5),
    ],
)
def test_usual_ranges_pass(expected, low, high):
    assert intensity_warnings(channel(low, high)[None], [expected]) == []


@pytest.mark.parametrize(
    ("expected", "low", "high", "said"),
    [
        (CT, 0, 4095, "not a CT in HU"),  # without the rescale intercept
        (CT, 0, 1, "not a CT in HU"),
        (PET, -1000, 2000, "no negative values"),
        (PET, 0, 90000, "not in SUV"),  # Bq/ml
        (ChannelExpectation("SUV bw"), 0, 90000, "not in SUV"),
    ],
)
def test_a_channel_out_of_its_modality_s_range_is_named(expected, low, high, said):
    (line,) = intensity_warnings(channel(low, high)[None], [expected])

    assert line.startswith(f"channel 0 ({expected.name}) ranges from {low:g} to {high:g}: ")
    assert said in line


def test_a_ct_and_a_pet_in_the_wrong_order_look_swapped():
    lines = intensity_warnings(np.stack([channel(0, 20), channel(-1000, 2000)]), [CT, PET])

    assert lines[-1] == "channels 0 (CT) and 1 (PET) look swapped; check their order"


def test_two_bad_channels_that_would_fit_no_better_swapped_are_not_called_swapped():
    lines = intensity_warnings(np.stack([channel(0, 20), channel(0, 90000)]), [CT, PET])

    assert len(lines) == 2
    assert not any("swapped" in line for line in lines)


def test_a_range_outside_the_training_s_foreground_is_named():
    expected = ChannelExpectation("density", -50.0, 400.0)

    assert intensity_warnings(channel(-1000, 1000)[None], [expected]) == []
    assert intensity_warnings(channel(0, 150)[None], [expected]) == []  # a third of the range
    (line,) = intensity_warnings(channel(0, 1)[None], [expected])
    assert "the model was trained on -50 to 400 inside its labels" in line


def test_words_that_contain_a_modality_s_name_are_not_that_modality():
    assert intensity_warnings(channel(0, 1)[None], [ChannelExpectation("contrast T1 act")]) == []


def test_only_channels_with_absolute_values_have_a_range():
    known = {"percentile_00_5": -50.0, "percentile_99_5": 400.0}
    plans = {"foreground_intensity_properties_per_channel": {"0": known, "1": known}}
    dataset = {"channel_names": {"0": "CT", "1": "T1"}}

    expectations = channel_expectations(dataset, plans, ["CTNormalization", "ZScoreNormalization"])

    assert expectations == [ChannelExpectation("CT", -50.0, 400.0), ChannelExpectation("T1")]


def test_old_datasets_name_channels_under_modality():
    (expected,) = channel_expectations({"modality": {"0": "MRI"}}, {}, ["ZScoreNormalization"])

    assert expected == ChannelExpectation("MRI")


# ---- the model's own statistics count more than the channel's name

SCALED = ChannelExpectation("CT", 0.0738, 0.912)
"""A model trained on CT that was scaled to 0..1 beforehand."""


def hounsfield() -> np.ndarray:
    return np.random.default_rng(0).normal(-200, 400, (12, 32, 32)).clip(-1024, 3071).astype(np.float32)


def test_a_ct_scaled_as_in_the_training_passes_and_one_in_hu_does_not():
    hu = hounsfield()
    scaled = (hu + 1024) / 4095

    assert intensity_warnings(scaled[None], [SCALED]) == []
    clipped = 100 * float(((hu < 0.0738) | (hu > 0.912)).mean())
    (line,) = intensity_warnings(hu[None], [SCALED])
    assert f"trained on 0.0738 to 0.912, and its normalization would clip {clipped:.1f} % of the voxels" in line


def test_a_ct_whose_statistics_are_in_hu_is_still_held_to_hu():
    (line,) = intensity_warnings(channel(0, 4095)[None], [ChannelExpectation("CT", -50.0, 400.0)])

    assert "not a CT in HU" in line


def test_a_small_organ_s_range_in_a_whole_body_passes():
    assert intensity_warnings(hounsfield()[None], [ChannelExpectation("CT", -41.0, 176.0)]) == []


@pytest.mark.parametrize(("low", "high"), [(-3.0, 3.0), (100.0, 60000.0)])
def test_a_pet_that_the_model_was_trained_on_in_other_units_passes(low, high):
    assert intensity_warnings(channel(low, high)[None], [ChannelExpectation("PET", low, high)]) == []
