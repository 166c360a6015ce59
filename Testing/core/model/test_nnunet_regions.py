"""Regions: each is where the sigmoid of its own channel exceeds one half, whatever the labelmap's values are."""

import logging

import numpy as np
import pytest
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from scipy.ndimage import gaussian_filter

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.model.target import Target
from nnunet_folders import edit_json, write_nnunet_folder

TUMOUR = {"background": 0, "whole": [1, 2, 3, 4], "core": [1, 2, 3], "enhancing": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("regions") / "m"
    return write_nnunet_folder(path, labels=TUMOUR, regions_class_order=[1, 2, 3], seed=3)


@pytest.fixture(scope="module")
def image():
    return gaussian_filter(np.random.default_rng(0).normal(size=(16, 18, 20)), 1.5).astype(np.float32)[None] * 1000


@pytest.fixture(scope="module")
def probabilities(folder, image):
    predictor = nnUNetPredictor(use_mirroring=False, perform_everything_on_device=False, device=torch.device("cpu"),
                                allow_tqdm=False)  # fmt: skip
    predictor.initialize_from_trained_model_folder(str(folder), (0,))
    return predictor.predict_single_npy_array(image, {"spacing": [1, 1, 1]}, None, None, True)[1]


@pytest.mark.parametrize(
    ("name", "channel", "written", "trained", "outer"),
    [
        ("whole", 0, (1, 2, 3), (1, 2, 3, 4), ()),
        ("core", 1, (2, 3), (1, 2, 3), (1,)),
        ("enhancing", 2, (3,), (1,), (2, 1)),
    ],
)
def test_a_region_is_its_channel_above_one_half_and_is_read_as_nnunet_writes_it(
    folder, image, probabilities, name, channel, written, trained, outer
):
    model = NnunetModel.load(folder, label=name, device="cpu")

    predicted = model.predict(model.prepare(SourceVolume(image, np.eye(4))))

    assert model.target == Target(name, channel, written, trained, outer)
    assert model.target.truth_values == trained
    assert 0.02 < predicted.mean() < 0.98
    assert np.array_equal(predicted, probabilities[channel] > 0.5)


def test_values_of_the_order_that_are_the_trainings_own_are_not_told_twice(tmp_path, caplog):
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": [3]}
    path = write_nnunet_folder(tmp_path / "m", labels=labels, regions_class_order=[1, 2, 3])

    with caplog.at_level(logging.INFO):
        model = NnunetModel.load(path, label="core", device="cpu")

    assert model.target == Target("core", 1, (2, 3), outer=(1,))
    assert caplog.text == ""


def test_a_region_that_a_larger_one_is_written_over_is_warned_of(tmp_path, caplog):
    labels = {"background": 0, "core": [2], "whole": [1, 2]}
    path = write_nnunet_folder(tmp_path / "m", labels=labels, regions_class_order=[2, 1])

    NnunetModel.load(path, label="core", device="cpu")

    assert "writes a larger region over core" in caplog.text


@pytest.mark.parametrize("order", [[1, 2], [1, 1, 2], [0, 1, 2], [1, 2, "3"], "123", None, [1, 2, 70000], [1, 2, True]])
def test_an_order_that_does_not_name_one_value_for_each_region_is_refused(tmp_path, order):
    path = write_nnunet_folder(tmp_path / "m", labels=TUMOUR, regions_class_order=[1, 2, 3])
    edit_json(path / "dataset.json", "regions_class_order", value=order)

    with pytest.raises(UserInputError, match="'regions_class_order' is .*, not 3 different values above 0"):
        NnunetModel.load(path, label="core", device="cpu")
