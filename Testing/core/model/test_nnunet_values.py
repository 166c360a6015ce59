"""Values in plans.json, dataset.json and a checkpoint with which nothing sensible is predicted are refused by name."""

import json
import logging
import math
import shutil

import numpy as np
import pytest
import torch

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.nnunet_folder import load_nnunet_folder
from context_propagation.core.model.nnunet_model import NnunetModel
from nnunet_folders import edit_checkpoint, edit_json, write_nnunet_folder

FULL = ("configurations", "3d_fullres")
STATISTICS = ("foreground_intensity_properties_per_channel", "0")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_nnunet_folder(tmp_path_factory.mktemp("values") / "m", channel_name="CT")


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "m")


def refusal(folder) -> str:
    with pytest.raises(UserInputError) as caught:
        load_nnunet_folder(folder)
    return str(caught.value)


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        ((*STATISTICS, "mean"), math.nan, "mean' is nan, not a finite number"),
        ((*STATISTICS, "std"), math.inf, "std' is inf, not a finite number"),
        ((*STATISTICS, "std"), 0, "std' is 0, not above 0"),
        ((*STATISTICS, "percentile_00_5"), "x", "percentile_00_5' is 'x', not a finite number"),
        ((*STATISTICS, "percentile_99_5"), -60, "percentile_99_5' is -60, not above -50.0"),
        (STATISTICS[:1], {}, "not the statistics that CTNormalization computes with"),
        ((*FULL, "spacing"), [1, 1, 0], "'spacing' is [1, 1, 0], not three voxel sizes above 0"),
        ((*FULL, "spacing"), [1, 1], "not three voxel sizes above 0"),
        ((*FULL, "spacing"), [1, 1, math.nan], "'spacing.2' is nan, not a finite number"),
        ((*FULL, "patch_size"), [16, 16, 10**9], "not three whole numbers from 1 to 4096"),
        ((*FULL, "use_mask_for_norm"), [], "not true or false for each normalization scheme"),
        (("transpose_forward",), [0, 0, 1], "not the axes 0, 1, 2 in some order"),
        (("transpose_backward",), [1, 0, 2], "not what undoes transpose_forward [0, 1, 2]"),
        ((*FULL, "resampling_fn_data_kwargs", "order"), 9, "order' is 9, not a whole number from 0 to 5"),
        ((*FULL, "resampling_fn_data_kwargs", "colour"), 1, "not an argument of resample_data_or_seg_to_shape"),
        ((*FULL, "resampling_fn_probabilities_kwargs", "is_seg"), True, "is_seg' is True, not False"),
        ((*FULL, "architecture", "arch_kwargs", "n_stages"), 10**9, "has the argument 1000000000"),
        ((*FULL, "architecture", "arch_kwargs", "features_per_stage"), [60000] * 3, "would hold"),
        ((*FULL, "architecture", "arch_kwargs", "norm_op_kwargs"), {"eps": -1, "affine": True}, "has eps -1"),
    ],
)
def test_an_impossible_value_in_plans_is_refused_by_its_name(folder, keys, value, said):
    edit_json(folder / "plans.json", *keys, value=value)
    assert said in refusal(folder)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("labels", {"background": 0, "GTV": 5}, "not the values 1, 2, ... without gaps"),
        ("labels", {"background": 0, "GTV": 1, "node": 1}, "not the values 1, 2, ... without gaps"),
        ("labels", {"background": 0, "GTV": -1}, "'labels.GTV' is -1, not whole numbers from 1"),
        ("labels", {"background": 0, "GTV": 1.5}, "'labels.GTV' is 1.5, not whole numbers"),
        ("labels", {"background": 0, "GTV": True}, "'labels.GTV' is True, not whole numbers"),
        ("labels", {"background": 0, "GTV": []}, "'labels.GTV' is [], not whole numbers"),
        ("labels", {"background": 1, "GTV": 2}, "'labels.background' is 1, not 0"),
        ("labels", ["GTV"], "not an object with a value for each label"),
        ("channel_names", {"1": "CT"}, 'not numbered "0", "1"'),
        ("channel_names", {"0": 3}, "not an object with a name for each channel"),
    ],
)
def test_an_impossible_value_in_dataset_is_refused_by_its_name(folder, key, value, said):
    edit_json(folder / "dataset.json", key, value=value)
    assert said in refusal(folder)


def test_weights_that_are_not_finite_are_refused(folder):
    file = folder / "fold_0" / "checkpoint_final.pth"
    weights = torch.load(file, weights_only=False)["network_weights"]
    name = sorted(weights)[0]
    weights[name].view(-1)[0] = math.nan
    edit_checkpoint(file, network_weights=weights)
    assert f"in '{file}' holds NaN or infinite weights" in refusal(folder)


def test_finite_weights_that_overflow_are_refused_and_not_an_empty_target(folder):
    file = folder / "fold_0" / "checkpoint_final.pth"
    weights = torch.load(file, weights_only=False)["network_weights"]
    for name, tensor in weights.items():
        if name.startswith("decoder.seg_layers"):
            tensor.fill_(3e38)
    edit_checkpoint(file, network_weights=weights)
    model = NnunetModel.load(folder, device="cpu")
    image = np.random.default_rng(0).uniform(-50, 400, (1, 16, 16, 16)).astype(np.float32)
    with pytest.raises(UserInputError, match="computes NaN or infinite values of this image"):
        model.predict(model.prepare(SourceVolume(image, np.eye(4))))


def test_a_voxel_size_that_would_fill_the_memory_is_refused_before_resampling(folder):
    edit_json(folder / "plans.json", *FULL, "spacing", value=[1e-4, 1e-4, 1e-4])
    model = NnunetModel.load(folder, device="cpu")
    with pytest.raises(UserInputError, match="160000 x 160000 x 160000 of them, needs .* check the voxel sizes"):
        model.prepare(SourceVolume(np.zeros((1, 16, 16, 16), np.float32), np.eye(4)))


# ---- trainers and checkpoints


TRAINERS = (
    "nnUNetTrainer_3000epochs", "nnUNetTrainerDiceCELoss_noSmooth_2000epochs", "nnUNetTrainer_WandB", "MyTrainer"
)  # fmt: skip


@pytest.mark.parametrize("trainer", TRAINERS)
def test_a_trainer_whose_every_tensor_fits_plans_is_accepted_and_said(folder, caplog, trainer):
    file = folder / "fold_0" / "checkpoint_final.pth"
    before = load_nnunet_folder(folder)
    edit_checkpoint(file, trainer_name=trainer)
    with caplog.at_level(logging.WARNING):
        after = load_nnunet_folder(folder)
    assert f"the trainer {trainer} is not one of nnU-Net's own" in caplog.text
    assert after.content_hash == before.content_hash
    x = torch.rand(1, 1, 16, 16, 16)
    assert torch.equal(after.networks[0](x), before.networks[0](x))


def test_a_trainer_with_another_network_is_refused_by_the_tensor_that_does_not_fit(folder, tmp_path, caplog):
    other = write_nnunet_folder(tmp_path / "other", features=(6, 8, 8))
    file = folder / "fold_0" / "checkpoint_final.pth"
    shutil.copy(other / "fold_0" / "checkpoint_final.pth", file)
    edit_checkpoint(file, trainer_name="nnUNetTrainer_wider")
    assert "(6, 1, 3, 3, 3), not (4, 1, 3, 3, 3)" in refusal(folder)
    assert caplog.text == ""


def test_the_latest_checkpoint_stands_in_where_there_is_no_other_and_any_can_be_named(folder, caplog):
    final = folder / "fold_0" / "checkpoint_final.pth"
    latest = final.rename(final.with_name("checkpoint_latest.pth"))
    load_nnunet_folder(folder)
    assert "using checkpoint_latest.pth" in caplog.text
    shutil.copy(latest, final.with_name("epoch_7.pth"))
    assert load_nnunet_folder(folder, checkpoint="epoch_7.pth").folds == ("0",)
    with pytest.raises(UserInputError, match="no fold_.*/mine.pth; name one of checkpoint_latest.pth, epoch_7.pth"):
        load_nnunet_folder(folder, checkpoint="mine.pth")
    for name in ("../fold_0/epoch_7.pth", ""):
        with pytest.raises(UserInputError, match="is no file name"):
            load_nnunet_folder(folder, checkpoint=name)


def test_plans_of_a_z_scored_channel_need_no_statistics(made, tmp_path):
    path = write_nnunet_folder(tmp_path / "m")
    plans = json.loads((path / "plans.json").read_text())
    del plans[STATISTICS[0]]
    (path / "plans.json").write_text(json.dumps({**plans, STATISTICS[0]: {"0": {"mean": math.nan}}}))
    assert load_nnunet_folder(path).folds == ("0",)
