"""Options of the command that say how a model is read, and what it prints of its edits."""

import os
import shutil

import numpy as np
import pytest
import SimpleITK as sitk

from bundles import PROVENANCE, random_fusion
from context_propagation import __version__
from context_propagation.core.bundle.bundle_saving import save_bundle
from context_propagation.core.bundle.shipped_bundle import FOLDER
from context_propagation.core.phantom.phantom import PhantomSettings, make_phantom
from monai_bundles import write_monai_bundle
from nnunet_folders import edit_checkpoint


def test_the_version_is_printed(run, capfd):
    with pytest.raises(SystemExit) as stopped:
        run("--version")
    assert stopped.value.code == 0
    assert capfd.readouterr().out == f"context-propagation {__version__}\n"


@pytest.fixture
def model_copy(files, tmp_path):
    return shutil.copytree(files.model, tmp_path / "model")


def written(tmp_path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out.nii.gz")))


# ---- --checkpoint


def test_a_checkpoint_is_chosen_by_its_name(run, refused, predict_arguments, model_copy, tmp_path):
    final = model_copy / "fold_0" / "checkpoint_final.pth"
    shutil.copy(final, final.with_name("checkpoint_latest.pth"))
    final.write_bytes(b"unfinished")

    assert "truncated or damaged" in refused(*predict_arguments(model=model_copy))
    assert run(*predict_arguments(model=model_copy, checkpoint="checkpoint_latest.pth")).code == 0
    assert written(tmp_path).any()


def test_a_checkpoint_of_a_model_that_has_none_by_name_is_refused(refused, predict_arguments, files, tmp_path):
    monai = write_monai_bundle(tmp_path / "monai")
    save_bundle(tmp_path / "ours", files.model, random_fusion(), PROVENANCE, label="GTV")

    options = {"checkpoint": "checkpoint_best.pth"}
    assert "is no nnU-Net model; leave the checkpoint" in refused(*predict_arguments(model=monai, **options))
    assert "has its own checkpoints" in refused(*predict_arguments(model=tmp_path / "ours", **options))
    assert "no fold_*/checkpoint_best.pth" in refused(*predict_arguments(**options))


# ---- --orientation


def test_a_flipped_image_gives_the_same_segmentation_where_the_orientation_is_said(
    run, predict_arguments, files, tmp_path
):
    image = sitk.ReadImage(str(files.image))
    sitk.WriteImage(sitk.DICOMOrient(image, "RAI"), str(tmp_path / "flipped.nii.gz"))
    found = {}
    for name, path in (("as trained", files.image), ("flipped", tmp_path / "flipped.nii.gz")):
        for orientation in ("LPS", None):
            options = {} if orientation is None else {"orientation": orientation.lower()}
            assert run(*predict_arguments(image=path, **options)).code == 0
            found[name, orientation] = sitk.GetArrayFromImage(
                sitk.DICOMOrient(sitk.ReadImage(str(tmp_path / "out.nii.gz")), "LPS")
            )

    assert np.array_equal(found["flipped", "LPS"], found["as trained", "LPS"])
    assert not np.array_equal(found["flipped", None], found["as trained", None])


@pytest.mark.long
def test_a_phantom_that_is_stored_upside_down_is_segmented_alike_once_the_orientation_is_said(run, tmp_path):
    phantom = make_phantom(PhantomSettings("nasopharynx", number=3, spacing_ijk_mm=(2.0, 2.0, 4.0)))
    image = phantom.image(phantom.ct)
    sitk.WriteImage(image, str(tmp_path / "ct.nrrd"))
    sitk.WriteImage(sitk.DICOMOrient(image, "LPI"), str(tmp_path / "upside-down.nrrd"))
    arguments = ("predict", "--model", FOLDER / "model", "--label", "GTV", "--device", "cpu")
    found = []
    for name, options in (("ct", ()), ("upside-down", ("--orientation", "LPS")), ("upside-down", ())):
        output = tmp_path / f"{len(found)}.nrrd"
        assert run(*arguments, "--image", tmp_path / f"{name}.nrrd", "--output", output, *options).code == 0
        found.append(sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(str(output)), "LPS")))

    assert np.array_equal(found[0], found[1])
    assert found[2].sum() < 0.98 * found[0].sum()  # 631 voxels for 659


@pytest.mark.parametrize("orientation", ["LPX", "LLS", "L", ""])
def test_an_orientation_that_is_none_is_refused(refused, predict_arguments, orientation):
    assert "is not three letters such as LPS" in refused(*predict_arguments(orientation=orientation))


def test_another_orientation_than_the_models_own_is_refused(run, refused, predict_arguments, tmp_path):
    monai = write_monai_bundle(tmp_path / "monai")  # its transforms say RAS
    assert "turns images to RAS, not LPS; leave the orientation out" in refused(
        *predict_arguments(model=monai, orientation="LPS")
    )
    assert run(*predict_arguments(model=monai, orientation="RAS")).code == 0


# ---- what is printed


def test_the_slices_that_were_taken_as_edits_are_printed(run, propagate_arguments):
    outcome = run(*propagate_arguments())
    assert outcome.code == 0
    assert "from axial slice 12 (whole volume (general))" in outcome.out


def test_a_trainer_that_is_not_nnunets_own_is_said_in_one_line(run, predict_arguments, model_copy):
    edit_checkpoint(model_copy / "fold_0/checkpoint_final.pth", trainer_name="nnUNetTrainer_3000epochs")
    outcome = run(*predict_arguments(model=model_copy))
    assert outcome.code == 0
    assert outcome.err.count("\n") == 1
    assert "warning: the trainer nnUNetTrainer_3000epochs is not one of nnU-Net's own" in outcome.err


# ---- bundles


@pytest.fixture(scope="module")
def ours(files, tmp_path_factory):
    path = tmp_path_factory.mktemp("ours") / "bundle"
    save_bundle(path, files.model, random_fusion(), PROVENANCE, label="GTV")
    return path


@pytest.mark.parametrize("name", ["bundle.json", "fusion_0.safetensors", "model/plans.json", "model/fold_0"])
def test_a_link_that_leaves_a_bundle_is_refused_wherever_it_is(refused, predict_arguments, ours, tmp_path, name):
    copy = shutil.copytree(ours, tmp_path / "bundle")
    (copy / name).rename(tmp_path / "elsewhere")
    (copy / name).symlink_to(tmp_path / "elsewhere")
    assert f"'{copy / name}' is a link that leaves" in refused(*predict_arguments(model=copy))


@pytest.mark.parametrize("name", ["fusion_0.safetensors", "bundle.json", "model/plans.json"])
def test_a_pipe_in_a_bundle_is_refused_without_waiting(refused, predict_arguments, ours, tmp_path, name):
    copy = shutil.copytree(ours, tmp_path / "bundle")
    (copy / name).unlink()
    os.mkfifo(copy / name)
    assert str(copy / name) in refused(*predict_arguments(model=copy))
