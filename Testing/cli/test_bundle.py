"""The commands with a bundle: its model, its label, its level, and far slices from its fusion network."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from ball_images import EDITED_SLICE, ball_mask, edited_mask, sitk_image
from bundles import write_bundle
from context_propagation.core.bundle.general_file import load_general_far
from nnunet_folders import edit_json, write_nnunet_folder

NEAR = range(EDITED_SLICE - 1, EDITED_SLICE + 2)


def voxels(path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


@pytest.fixture(scope="module")
def made(files, tmp_path_factory) -> Path:
    """Decoder level 1 and one neighbour on each side, neither of which is the command's own choice."""
    return write_bundle(tmp_path_factory.mktemp("made") / "bundle", files.model, level=1, neighbours=1)


@pytest.fixture
def bundle(made, tmp_path) -> Path:
    """A copy that a test may damage."""
    return shutil.copytree(made, tmp_path / "copied")


def test_a_bundle_changes_far_slices_and_says_whole_volume(run, propagate_arguments, made, tmp_path):
    outcome = run(*propagate_arguments(model=made, report=tmp_path / "report.json"))

    result = voxels(tmp_path / "out.nii.gz").astype(bool)
    report = json.loads((tmp_path / "report.json").read_text())
    description = json.loads((made / "bundle.json").read_text())
    changed = {k for k, n in enumerate((result ^ edited_mask()).sum(axis=(1, 2))) if n}
    assert (outcome.code, outcome.err) == (0, "")
    assert "(whole volume (trained for this model))" in outcome.out
    assert changed - set(NEAR)
    assert np.array_equal(result[EDITED_SLICE], edited_mask()[EDITED_SLICE])
    assert set(map(int, report["voxels_changed_per_slice"])) == changed
    assert report["scope"] == "whole volume (trained for this model)"
    assert report["fusion_sha256"] == description["fusion_sha256"]
    assert report["model_sha256"] == description["base"]["sha256"]
    assert (report["settings"]["level"], report["settings"]["label"]) == (1, "GTV")


def test_slices_on_which_the_network_is_not_sure_are_counted_and_named(run, propagate_arguments, files, tmp_path):
    """No margin is beyond a threshold of 1."""
    unsure = write_bundle(tmp_path / "bundle", files.model, level=1, neighbours=1, far_thresholds=1.0)

    outcome = run(*propagate_arguments(model=unsure, report=tmp_path / "report.json"))

    report = json.loads((tmp_path / "report.json").read_text())
    left = report["slices_left_alone"]
    assert left
    assert not set(left) & set(NEAR)
    assert set(map(int, report["voxels_changed_per_slice"])) <= set(NEAR)
    assert f", {len(left)} left alone for thin evidence, from axial slice {EDITED_SLICE}" in outcome.out


def test_without_the_general_far_network_the_base_model_reaches_near_slices_only(
    run, propagate_arguments, made, tmp_path
):
    arguments = propagate_arguments(model=made / "model", level=1, report=tmp_path / "report.json")
    outcome = run(*arguments, "--no-general-far")

    report = json.loads((tmp_path / "report.json").read_text())
    assert outcome.code == 0
    assert "(near slices only)" in outcome.out
    assert (report["scope"], report["fusion_sha256"]) == ("near slices only", None)
    assert set(map(int, report["voxels_changed_per_slice"])) <= set(range(EDITED_SLICE - 2, EDITED_SLICE + 3))
    assert report["model_sha256"] == json.loads((made / "bundle.json").read_text())["base"]["sha256"]


def test_the_general_far_network_reaches_far_slices_with_the_base_model_alone(run, propagate_arguments, made, tmp_path):
    arguments = propagate_arguments(model=made / "model", level=1, report=tmp_path / "report.json")
    outcome = run(*arguments)

    report = json.loads((tmp_path / "report.json").read_text())
    result = voxels(tmp_path / "out.nii.gz").astype(bool)
    assert (outcome.code, outcome.err) == (0, "")
    assert "(whole volume (general))" in outcome.out
    assert report["scope"] == "whole volume (general)"
    assert report["fusion_sha256"] == load_general_far().content_hash
    assert np.array_equal(result[EDITED_SLICE], edited_mask()[EDITED_SLICE])


def test_a_copied_and_renamed_bundle_gives_the_same_result(run, propagate_arguments, made, bundle, tmp_path):
    assert run(*propagate_arguments(model=made, output=tmp_path / "first.nii.gz")).code == 0
    assert run(*propagate_arguments(model=bundle, output=tmp_path / "second.nii.gz")).code == 0

    assert np.array_equal(voxels(tmp_path / "first.nii.gz"), voxels(tmp_path / "second.nii.gz"))


def test_a_bundle_predicts_what_its_base_model_predicts(run, predict_arguments, made, tmp_path):
    outcome = run(*predict_arguments(model=made, output=tmp_path / "bundle.nii.gz"))
    assert run(*predict_arguments(output=tmp_path / "base.nii.gz")).code == 0

    assert (outcome.code, outcome.err) == (0, "")
    assert voxels(tmp_path / "bundle.nii.gz").any()
    assert np.array_equal(voxels(tmp_path / "bundle.nii.gz"), voxels(tmp_path / "base.nii.gz"))


@pytest.mark.parametrize("label", ["GTV", "1"])
def test_the_bundle_s_own_level_and_label_may_be_named(run, propagate_arguments, made, label):
    assert run(*propagate_arguments(model=made, level=1, label=label)).code == 0


def test_a_bundle_needs_no_label_where_its_model_has_several(run, predict_arguments, tmp_path):
    labels = {"background": 0, "GTV": 1, "Heart": 2}
    base = write_nnunet_folder(tmp_path / "several", labels=labels, patch_size=(32, 32, 32))
    bundle = write_bundle(tmp_path / "bundle", base, label="Heart")

    outcome = run(*predict_arguments(model=bundle))

    assert outcome.code == 0
    assert "voxels of Heart" in outcome.out


def test_an_edit_on_another_plane_reaches_far_slices_too(run, propagate_arguments, made, tmp_path):
    mask = ball_mask()
    mask[:, :, 14] = np.roll(mask[:, :, 14], 2, axis=0)
    sitk.WriteImage(sitk_image(mask.astype(np.uint8)), str(tmp_path / "edited.nii.gz"))

    outcome = run(*propagate_arguments(model=made, edited=tmp_path / "edited.nii.gz", report=tmp_path / "report.json"))

    report = json.loads((tmp_path / "report.json").read_text())
    assert outcome.code == 0
    assert report["plane"] == "sagittal"
    assert set(map(int, report["voxels_changed_per_slice"])) - {12, 13, 14, 15, 16}


# ---- refusals


@pytest.mark.parametrize("level", [2, 3])
def test_another_level_than_the_bundle_s_is_refused_by_name(refused, propagate_arguments, made, level):
    message = refused(*propagate_arguments(model=made, level=level))
    assert f"--level {level} is not the level of bundle '{made}'" in message
    assert "is for level 1; leave --level out" in message


@pytest.mark.parametrize("command", ["predict_arguments", "propagate_arguments"])
def test_another_label_than_the_bundle_s_is_refused(refused, request, made, command):
    message = refused(*request.getfixturevalue(command)(model=made, label="Heart"))
    assert f"Bundle '{made}' refines the label 'GTV', not 'Heart'" in message


@pytest.mark.parametrize("command", ["predict_arguments", "propagate_arguments"])
def test_a_base_model_that_is_not_the_bundle_s_is_refused(refused, request, bundle, command):
    shutil.rmtree(bundle / "model")
    write_nnunet_folder(bundle / "model", patch_size=(32, 32, 32), seed=9)
    message = refused(*request.getfixturevalue(command)(model=bundle))
    assert f"The base model '{bundle / 'model'}' has SHA-256" in message
    assert "put back the model that it was made for" in message


def test_truncated_fusion_weights_are_named(refused, propagate_arguments, bundle):
    file = bundle / "fusion_0.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    assert f"'{file}' is truncated or damaged" in refused(*propagate_arguments(model=bundle))


@pytest.mark.parametrize(
    ("keys", "value", "expected"),
    [
        (("format",), "context-propagation bundle 2", "update this program"),
        (("base", "folder"), "../model", "'base.folder' is '../model', not a plain name"),
        (("level",), "1", "'level' is '1', not a whole number from 1 to 3"),
        (("orientation",), "up\nside down", "not three letters such as LPS, or null"),
        (("folds",), ["0", "1"], "'fusion' lists 1 network for 2 folds"),
    ],
)
def test_a_damaged_description_is_refused(refused, propagate_arguments, bundle, keys, value, expected):
    edit_json(bundle / "bundle.json", *keys, value=value)
    assert expected in refused(*propagate_arguments(model=bundle))


@pytest.mark.parametrize("command", ["predict", "propagate"])
def test_help_says_that_a_bundle_will_do(run, capfd, command):
    with pytest.raises(SystemExit):
        run(command, "--help")
    assert "a bundle, or the folder of a frozen model" in " ".join(capfd.readouterr().out.split())
