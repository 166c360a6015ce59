"""`train-psnn`: patches, loss, and trainings of a few seconds that learn, repeat and go on."""

import argparse
import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from context_propagation.cli.train_psnn import TrainPsnnRequest, add_arguments, train_psnn_folder
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import whole
from context_propagation.core.image.grid import GridMap
from context_propagation.core.model.psnn_folder import load_psnn_folder, read_psnn_description
from context_propagation.core.network.psnn_split import ChainSplit
from context_propagation.training.base import psnn_training
from context_propagation.training.base.psnn_network_training import deep_supervision_loss
from context_propagation.training.base.psnn_patches import PatchSource, mask_on_grid, plan_preprocessing, read_case
from context_propagation.training.base.psnn_settings import PsnnTrainingSettings, poolings_for
from context_propagation.training.base.psnn_training import train_psnn
from context_propagation.training.labelled_cases import find_cases

SHAPE_KJI, SPACING_IJK = (14, 24, 20), (1.5, 1.5, 3.0)
TINY = {"patch": (8, 16, 16), "channels": (4, 6, 8), "epochs": 2, "steps_per_epoch": 2}


def write_cases(folder, count, channels=2):
    """Balls in noise at different places: dark in no channel; labels of value 1, and of 2 in the lower half."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    k, j, i = np.ogrid[: SHAPE_KJI[0], : SHAPE_KJI[1], : SHAPE_KJI[2]]
    for number in range(count):
        generator = np.random.default_rng(number)
        dk, dj, di = generator.integers(-2, 3, 3)
        ball = (k - 7 - dk) ** 2 / 9 + (j - 12 - dj) ** 2 / 25 + (i - 10 - di) ** 2 / 25 < 1
        for channel in range(channels):
            signal = (40, 3)[channel] * ball + generator.normal(0, (20, 1)[channel], SHAPE_KJI)
            write_image(folder / "images" / f"case_{number}_{channel:04d}.nii.gz", signal.astype(np.float32))
        labels = ball.astype(np.uint8) + (ball & (k > 7 + dk))
        write_image(folder / "labels" / f"case_{number}.nii.gz", labels.astype(np.uint8))
    return folder


def write_image(path, array):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING_IJK)
    sitk.WriteImage(image, str(path))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_cases(tmp_path_factory.mktemp("data"), 3)


def cases_of(data, channels=2):
    return find_cases(data / "images", data / "labels", channels)


def read(data, label=None):
    return [read_case(case, "target", label, None) for case in cases_of(data)]


# ---- patches


def test_labels_are_taken_together_or_one_is_chosen(data):
    whole_ball, upper = (read(data, label)[0].mask for label in (None, 2))
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(data / "labels" / "case_0.nii.gz")))
    assert (whole_ball == (values > 0)).all()
    assert (upper == (values == 2)).all()
    assert 0 < upper.sum() < whole_ball.sum()


def test_a_ct_is_scaled_by_the_foreground_of_all_cases_and_a_pet_by_its_own_image(data):
    cases = read(data)
    plan = plan_preprocessing(cases, ("CT", "PET"), None)
    values = np.concatenate([case.volume.channels[0][case.mask] for case in cases])
    ct, pet = plan.channels
    assert ct.kind == "clip and scale"
    assert (ct.low, ct.high) == pytest.approx(tuple(np.percentile(values, (0.5, 99.5))), rel=1e-5)
    assert (ct.mean, ct.std) == pytest.approx((values.mean(), values.std()), rel=1e-5)
    assert (pet.name, pet.kind) == ("PET", "z-score")
    assert plan.spacing_mm == pytest.approx((3.0, 1.5, 1.5))
    assert plan_preprocessing(cases, ("CT", "PET"), (2.0, 2.0, 2.0)).spacing_mm == (2.0, 2.0, 2.0)


def test_a_mask_lies_on_the_network_s_grid_where_its_image_does():
    """A half space with its border between voxels 3 and 4 of 8: at half the voxels it lies between 1 and 2."""
    mask = np.zeros((8, 4, 6), bool)
    mask[4:] = True
    grid = GridMap(whole((8, 4, 6)), (4, 4, 12))
    found = mask_on_grid(mask, grid)
    assert found.shape == (4, 4, 12)
    assert found[:, 0, 0].tolist() == [0, 0, 1, 1]
    assert (found == found[:, :1, :1]).all()


def test_patches_of_one_seed_are_equal_and_every_second_one_is_centred_on_the_target(data):
    cases = read(data)
    source = PatchSource(cases, plan_preprocessing(cases, ("CT", "PET"), None), (8, 16, 16))
    images, labels = source.batch((0, 1), 4)
    assert (images.shape, labels.shape) == ((4, 2, 8, 16, 16), (4, 1, 8, 16, 16))
    source.batch((5, 5), 3)
    again = source.batch((0, 1), 4)
    assert torch.equal(images, again[0])
    assert torch.equal(labels, again[1])
    assert not torch.equal(images, source.batch((0, 2), 4)[0])
    centred = torch.stack([source.batch((0, n), 1)[1][0, 0] for n in range(8)])
    assert (centred.flatten(1).sum(1) > 0).all()
    assert set(centred.unique().tolist()) == {0.0, 1.0}


def test_an_image_smaller_than_the_patch_is_padded(data):
    cases = read(data)
    source = PatchSource(cases, plan_preprocessing(cases, ("CT", "PET"), None), (16, 32, 32))
    images, labels = source.batch((0,), 2)
    assert images.shape[2:] == labels.shape[2:] == (16, 32, 32)


# ---- architecture and loss


@pytest.mark.parametrize(
    ("patch", "spacing_mm", "stages", "expected"),
    [
        ((32, 64, 64), (2, 2, 2), 4, ((2, 2, 2),) * 3),
        ((32, 64, 64), (4, 2.5, 2.5), 4, ((2, 2, 2),) * 3),
        ((16, 64, 64), (5, 1, 1), 4, ((1, 2, 2), (1, 2, 2), (2, 2, 2))),
        ((8, 64, 64), (1, 1, 1), 4, ((2, 2, 2), (1, 2, 2), (1, 2, 2))),
        ((4, 16, 16), (9, 1, 1), 3, ((1, 2, 2), (1, 2, 2))),
    ],
)
def test_pooling_follows_voxel_size_and_patch(patch, spacing_mm, stages, expected):
    assert poolings_for(patch, spacing_mm, stages) == expected


@pytest.mark.parametrize(
    ("patch", "stages", "message"),
    [
        ((8, 8, 8), 4, "--patch 8 8 8 cannot be pooled 3 times"),
        ((32, 60, 62), 4, "--patch 32 60 62 is not divided by the poolings' 8 8 8; give 32 64 64"),
    ],
)
def test_a_patch_that_does_not_fit_is_refused_with_one_that_does(patch, stages, message):
    with pytest.raises(UserInputError, match=message):
        poolings_for(patch, (1, 1, 1), stages)


def dice_by_hand(probability, label):
    return 1 - 2 * (probability * label).sum() / (probability.sum() + label.sum())


def test_the_loss_is_the_weighted_mean_of_every_level_s_dice_loss():
    generator = torch.Generator().manual_seed(0)
    label = (torch.rand((2, 1, 4, 4, 8), generator=generator) > 0.7).float()
    levels = [torch.randn((2, 2, 4, 4, n), generator=generator) for n in (8, 4)]
    fine = torch.empty(2, 2, 4, 4, 8)  # linear between centres: 3/4 of the near one, 1/4 of the next, the border kept
    coarse = levels[1]
    fine[..., 0], fine[..., -1] = coarse[..., 0], coarse[..., -1]
    fine[..., 1:-1:2] = 0.75 * coarse[..., :-1] + 0.25 * coarse[..., 1:]
    fine[..., 2::2] = 0.25 * coarse[..., :-1] + 0.75 * coarse[..., 1:]
    dices = [dice_by_hand(torch.softmax(z, 1)[:, 1:], label) for z in (levels[0], fine)]
    assert float(deep_supervision_loss(levels, label)) == pytest.approx(float(sum(dices)) / 2, abs=1e-4)
    decayed = float(dices[0] + 0.5 * dices[1]) / 1.5
    assert float(deep_supervision_loss(levels, label, 0.5)) == pytest.approx(decayed, abs=1e-4)


# ---- training


def trained(data, output, **changes):
    settings = PsnnTrainingSettings(**{"chain": True, **TINY, **changes})
    return train_psnn(cases_of(data, len(settings.names)), output, settings, device="cpu")


def hash_of(folder):
    return load_psnn_folder(folder, device="cpu").content_hash


@pytest.fixture(scope="module")
def chain(data, tmp_path_factory):
    return trained(data, tmp_path_factory.mktemp("out") / "chain")


def test_a_chain_is_trained_network_by_network_and_loads(chain):
    model = load_psnn_folder(chain, device="cpu")
    assert isinstance(model.splits[0], ChainSplit)
    assert model.channel_names == ["CT", "PET"]
    assert (model.folds, model.target_name, model.loss) == (("all",), "target", "dice")
    lines = (chain / "training.csv").read_text().splitlines()
    assert lines[0] == "network,epoch,loss"
    assert [line.split(",")[:2] for line in lines[1:]] == [
        [name, str(epoch)] for name in ("CT stream", "early fusion", "late fusion") for epoch in (1, 2)
    ]
    assert sorted(path.name for path in chain.parent.iterdir()) == ["chain"]
    made = read_psnn_description(chain).provenance
    assert (made["cases"], made["settings"]["seed"]) == (3, 0)


@pytest.mark.long
def test_a_training_repeats_with_its_seed_alone(data, chain, tmp_path):
    assert hash_of(trained(data, tmp_path / "again")) == hash_of(chain)
    assert hash_of(trained(data, tmp_path / "other", seed=1)) != hash_of(chain)


@pytest.mark.quick(stopped_in="late fusion")
@pytest.mark.parametrize("stopped_in", ["CT stream", "late fusion"])
def test_an_interrupted_training_goes_on_and_ends_with_the_same_weights(data, chain, tmp_path, stopped_in):
    settings = PsnnTrainingSettings(chain=True, **TINY)
    seen = []

    def stop(name, fraction):
        seen.append(name)
        if name == stopped_in and fraction > 0.6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_psnn(cases_of(data), tmp_path / "chain", settings, stop, "cpu")
    assert not (tmp_path / "chain").exists()
    seen.clear()
    output = train_psnn(cases_of(data), tmp_path / "chain", settings, lambda name, _: seen.append(name), "cpu")
    assert hash_of(output) == hash_of(chain)
    assert seen.count(stopped_in) == 2  # the second epoch's steps
    assert ("CT stream" in seen) == (stopped_in == "CT stream")


def test_a_finished_training_is_returned_as_it_is(data, chain):
    before = {path: path.stat().st_mtime_ns for path in chain.iterdir()}
    assert trained(data, chain) == chain
    assert {path: path.stat().st_mtime_ns for path in chain.iterdir()} == before


def test_another_training_replaces_the_folder(data, chain, tmp_path):
    copied = shutil.copytree(chain, tmp_path / "chain")
    trained(data, copied, epochs=1)
    assert hash_of(copied) != hash_of(chain)
    assert len((copied / "training.csv").read_text().splitlines()) == 4


def test_a_few_seconds_of_training_find_the_ball(data, tmp_path):
    steps = {"epochs": 2, "steps_per_epoch": 12, "learning_rate": 0.03}
    output = trained(data, tmp_path / "model", chain=False, channel_names=("CT", "PET"), **steps)
    losses = json.loads((output / "training.json").read_text())["loss"]["network"]
    assert losses[-1] < losses[0] - 0.1
    model = load_psnn_folder(output, device="cpu")
    case = cases_of(data)[0]
    volume, _ = case.read(model)
    truth = read(data)[0].mask
    found = model.predict(model.prepare(volume))
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.6


def test_the_state_of_another_training_is_not_taken_for_this_one(data, tmp_path):
    (tmp_path / "model.training").mkdir()
    (tmp_path / "model.training" / "training.json").write_text("{}")
    with pytest.raises(UserInputError, match="belongs to another training"):
        trained(data, tmp_path / "model")


def test_a_folder_of_something_else_is_not_replaced(data, chain, tmp_path):
    copied = shutil.copytree(chain, tmp_path / "chain")
    (copied / "thesis.txt").write_text("mine")
    with pytest.raises(UserInputError, match="holds something other than a PSNN"):
        trained(data, copied, epochs=1)
    assert (copied / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "--epochs 0; give at least 1"),
        ({"steps_per_epoch": 0}, "--steps-per-epoch 0"),
        ({"seed": -1}, "--seed -1"),
        ({"chain": True, "channel_names": ("CT",)}, "two channels, CT and PET, not CT"),
        ({"label": 0}, "label is 0"),
        ({"target_name": "background"}, "cannot be named 'background'"),
        ({"spacing_mm": (1.0, 0.0, 1.0)}, "three numbers above 0"),
        ({"learning_rate": 0.0}, "learning rate is 0"),
        ({"level_decay": 2.0}, "level decay is 2"),
    ],
)
def test_settings_out_of_range_are_refused(changes, message):
    with pytest.raises(UserInputError, match=message):
        PsnnTrainingSettings(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": 7}, "holds the labels 1, 2, not 7"),
        ({"patch": (8, 16, 18)}, "--patch 8 16 18 is not divided"),
    ],
)
def test_what_does_not_fit_the_cases_is_refused_before_anything_is_written(data, tmp_path, changes, message):
    with pytest.raises(UserInputError, match=message):
        trained(data, tmp_path / "model", **changes)
    assert list(tmp_path.iterdir()) == []


def test_empty_labels_are_refused(data, tmp_path):
    copied = shutil.copytree(data, tmp_path / "data")
    for number in range(3):
        write_image(copied / "labels" / f"case_{number}.nii.gz", np.zeros(SHAPE_KJI, np.uint8))
    with pytest.raises(UserInputError, match=r"0 voxel\(s\) together"):
        trained(copied, tmp_path / "model")


def test_a_training_in_an_orientation_gives_the_same_for_flipped_arrays(data, tmp_path):
    """The same patients with k and i stored the other way round."""
    flipped = tmp_path / "flipped"
    for file in sorted(data.rglob("*.nii.gz")):
        to = flipped / file.relative_to(data)
        to.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(sitk.Flip(sitk.ReadImage(str(file)), (True, False, True)), str(to))
    here, there = (
        trained(folder, tmp_path / name, chain=False, channel_names=("CT", "PET"), epochs=1, orientation="LPS")
        for name, folder in (("a", data), ("b", flipped))
    )
    assert hash_of(here) == hash_of(there)


# ---- the command


def request(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    fields = vars(parser.parse_args([str(word) for word in words]))
    return TrainPsnnRequest(**{name: value for name, value in fields.items() if not name.startswith("scheduler")})


def test_the_command_writes_a_folder_that_loads(data, tmp_path):
    words = ["--images", data / "images", "--labels", data / "labels", "--output", tmp_path / "model", "--chain"]
    words += ["--patch", 8, 16, 16, "--channels", 4, 6, 8, "--epochs", 1, "--steps-per-epoch", 1, "--label", 2]
    words += ["--spacing", 3, 2, 2, "--name", "GTV", "--device", "cpu", "--seed", 3]
    line = train_psnn_folder(request(*words))
    assert line.startswith(f"{tmp_path / 'model'}: chain trained on 3 cases; last Dice loss 0.")
    model = load_psnn_folder(tmp_path / "model", device="cpu")
    assert (model.target_name, model.patch_size) == ("GTV", (8, 16, 16))
    assert model.preprocessing.spacing_mm == (3.0, 2.0, 2.0)


def test_the_command_s_defaults_are_those_of_the_settings():
    settings = request("--images", "a", "--labels", "b", "--output", "c").settings()
    assert settings == PsnnTrainingSettings()


def test_a_missing_second_channel_is_named_before_anything_is_written(data, tmp_path):
    copied = shutil.copytree(data, tmp_path / "data")
    (copied / "images" / "case_1_0001.nii.gz").unlink()
    words = ["--images", copied / "images", "--labels", copied / "labels", "--output", tmp_path / "model", "--chain"]
    with pytest.raises(UserInputError, match="has no image 'case_1_0001'"):
        train_psnn_folder(request(*words))
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("module", [module for modules in psnn_training.NEEDED.values() for module in modules])
def test_a_missing_package_is_named_before_any_work(data, tmp_path, monkeypatch, module):
    import sys

    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserInputError, match=f"'{module.split('.')[0]}' is not installed"):
        trained(data, tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
