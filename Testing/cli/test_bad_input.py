"""Input that cannot be used: exit code 2, one line that names the value and the remedy, no output, no traceback."""

import json
import os
import pickle
import shutil
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from ball_images import ORIGIN, ball_mask, edited_mask, sitk_image
from context_propagation.core.image.source_volume import SourceVolume
from nnunet_folders import edit_checkpoint, edit_json, write_nnunet_folder

pytestmark = pytest.mark.usefixtures("models_loaded_once")

CHECKPOINT = "fold_0/checkpoint_final.pth"


@pytest.fixture
def write(tmp_path):
    """Write an array as an image file."""

    def _write(name: str, array: np.ndarray, **geometry):
        path = tmp_path / name
        sitk.WriteImage(sitk_image(np.asarray(array), **geometry), str(path))
        return path

    return _write


@pytest.fixture
def model_copy(files, tmp_path):
    return shutil.copytree(files.model, tmp_path / "model")


# ---- files


@pytest.mark.parametrize("option", ["image", "initial", "edited", "model"])
def test_a_missing_file_is_named(refused, propagate_arguments, tmp_path, option):
    missing = tmp_path / "nowhere.nii.gz"
    assert f"'{missing}' does not exist; check the path" in refused(*propagate_arguments(**{option: missing}))


@pytest.mark.parametrize("option", ["image", "initial", "edited"])
def test_an_empty_file_is_named(refused, propagate_arguments, tmp_path, option):
    empty = tmp_path / "empty.nii.gz"
    empty.touch()
    assert f"'{empty}' is an empty file; export it again" in refused(*propagate_arguments(**{option: empty}))


@pytest.mark.parametrize("name", ["broken.nii.gz", "broken.nrrd", "broken.mha", "broken.jpg"])
@pytest.mark.parametrize("option", ["image", "edited"])
def test_a_file_of_something_else_is_named(refused, propagate_arguments, tmp_path, option, name):
    broken = tmp_path / name
    broken.write_bytes(b"this is no image" * 100)
    assert f"'{broken}' cannot be read; give" in refused(*propagate_arguments(**{option: broken}))


@pytest.mark.parametrize("ending", ["nii.gz", "nii", "nrrd", "mha"])
@pytest.mark.parametrize("option", ["image", "edited"])
def test_a_truncated_file_is_named(refused, propagate_arguments, files, write, option, ending):
    whole = sitk.GetArrayFromImage(sitk.ReadImage(str(getattr(files, option))))
    path = write(f"cut.{ending}", whole)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    assert f"'{path}' cannot be read" in refused(*propagate_arguments(**{option: path}))


@pytest.fixture
def seg_nrrd(tmp_path):
    segmentation_files = pytest.importorskip("context_propagation.mrml.nodes.segmentation_storage")
    path = tmp_path / "segmentation.seg.nrrd"

    def _write(origin=ORIGIN, names=("GTV",)):
        volume = SourceVolume.from_sitk([sitk_image(ball_mask().astype(np.float32), origin=origin)])
        segments = [segmentation_files.NamedMask(edited_mask(), name) for name in names]
        segmentation_files.write_seg_nrrd(path, segments, volume)
        return path

    return _write


def test_a_broken_seg_nrrd_is_named(refused, propagate_arguments, tmp_path):
    broken = tmp_path / "broken.seg.nrrd"
    broken.write_bytes(b"NRRD0004\n" + b"no header" * 20)
    assert f"'{broken}' is truncated or damaged" in refused(*propagate_arguments(edited=broken))


def test_a_truncated_seg_nrrd_is_named_and_does_not_end_the_process(refused, propagate_arguments, seg_nrrd):
    path = seg_nrrd()
    path.write_bytes(path.read_bytes()[:-60])
    assert f"'{path}' is truncated or damaged" in refused(*propagate_arguments(edited=path))


def test_a_seg_nrrd_without_the_segment_names_those_it_has(refused, propagate_arguments, seg_nrrd):
    path = seg_nrrd(names=("Heart", "Lung"))
    assert f"'{path}' holds 0 segments named 'GTV' among 'Heart', 'Lung'" in refused(*propagate_arguments(edited=path))


def test_an_empty_dicom_folder_is_named(refused, predict_arguments, tmp_path):
    folder = tmp_path / "dicom"
    folder.mkdir()
    assert f"DICOM folder '{folder}' is empty" in refused(*predict_arguments(image=folder))


def test_a_folder_without_dicom_files_is_named(refused, predict_arguments, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("nothing")
    assert "holds no DICOM series; give NIfTI" in refused(*predict_arguments(image=tmp_path / "notes"))


# ---- the image


def test_too_many_channels_are_counted(refused, predict_arguments, files):
    message = refused(*predict_arguments(image=[files.image, files.image]))
    assert "--image names 2 channels and the model has 1 (MRI)" in message


def test_too_few_channels_are_counted(refused, predict_arguments, tmp_path):
    two = write_nnunet_folder(tmp_path / "two", channels=2)
    assert "--image names 1 channel and the model has 2 (MRI, MRI)" in refused(*predict_arguments(model=two))


@pytest.mark.parametrize("difference", [{"origin": (0, 0, 0)}, {"spacing": (1, 1, 1)}])
def test_channels_on_different_grids_are_named(refused, predict_arguments, files, write, tmp_path, difference):
    two = write_nnunet_folder(tmp_path / "two", channels=2)
    other = write("other.nii.gz", np.zeros(ball_mask().shape, np.float32), **difference)
    message = refused(*predict_arguments(model=two, image=[files.image, other]))
    assert f"'{other}'" in message
    assert f"is not on the grid of '{files.image}'" in message
    assert "resample it onto that grid first" in message


@pytest.mark.parametrize("ending", ["nii.gz", "nrrd"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_finite_are_counted(refused, predict_arguments, write, value, ending):
    array = np.zeros(ball_mask().shape, np.float32)
    array[3, 4, 5:8] = value
    image = write(f"image.{ending}", array)
    assert f"'{image}' has 3 NaN or infinite voxels; replace them" in refused(*predict_arguments(image=image))


def test_a_2d_image_is_named(refused, predict_arguments, tmp_path):
    image = tmp_path / "flat.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((8, 9), np.float32)), str(image))
    assert f"'{image}' is 2D; give 3D volumes" in refused(*predict_arguments(image=image))


def test_a_single_slice_is_named(refused, predict_arguments, write):
    image = write("slice.nii.gz", np.zeros((1, 8, 9), np.float32))
    assert f"'{image}' is one slice (9 x 8 x 1)" in refused(*predict_arguments(image=image))


def test_a_4d_image_is_named(refused, predict_arguments, tmp_path):
    image = tmp_path / "series.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 5, 6, 7), np.float32), isVector=False), str(image))
    assert f"'{image}' is 4D; give 3D volumes, one file per channel" in refused(*predict_arguments(image=image))


def test_a_colour_image_is_named(refused, predict_arguments, tmp_path):
    image = tmp_path / "colour.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((5, 6, 7, 3), np.uint8), isVector=True), str(image))
    assert f"'{image}' has 3 values per voxel" in refused(*predict_arguments(image=image))


# ---- the model


def test_a_model_folder_without_plans_is_named(refused, predict_arguments, model_copy):
    (model_copy / "plans.json").unlink()
    assert f"'{model_copy / 'plans.json'}' is missing" in refused(*predict_arguments(model=model_copy))


def test_a_truncated_checkpoint_is_named(refused, predict_arguments, model_copy):
    checkpoint = model_copy / CHECKPOINT
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    assert f"'{checkpoint}' is truncated or damaged" in refused(*predict_arguments(model=model_copy))


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_checkpoint_with_code_is_refused_and_nothing_of_it_runs(refused, predict_arguments, model_copy, legacy):
    mark = model_copy / "it-ran"
    if legacy:
        (model_copy / CHECKPOINT).write_bytes(pickle.dumps({"network_weights": Payload(mark)}))
    else:
        edit_checkpoint(model_copy / CHECKPOINT, logging=Payload(mark))
        mark.exists() and mark.rmdir()  # nnunet_folders re-reads what it wrote
    message = refused(*predict_arguments(model=model_copy))
    assert str(model_copy / CHECKPOINT) in message
    assert not mark.exists()


def test_plans_that_name_code_are_refused(refused, predict_arguments, model_copy):
    keys = ("configurations", "3d_fullres", "architecture", "network_class_name")
    edit_json(model_copy / "plans.json", *keys, value="os.system")
    assert "'os.system', which is not known to be safe" in refused(*predict_arguments(model=model_copy))


def test_a_wrong_architecture_is_named(refused, predict_arguments, model_copy):
    keys = ("configurations", "3d_fullres", "architecture", "arch_kwargs", "features_per_stage")
    edit_json(model_copy / "plans.json", *keys, value=[4, 8, 16])
    message = refused(*predict_arguments(model=model_copy))
    assert str(model_copy / CHECKPOINT) in message
    assert "take both from one training" in message


@pytest.mark.parametrize("label", ["Liver", "7"])
def test_a_label_that_the_model_lacks_is_named(refused, predict_arguments, label):
    assert f"no label '{label}'; it has GTV (1)" in refused(*predict_arguments(label=label))


def test_a_model_with_several_labels_asks_for_one(refused, predict_arguments, tmp_path):
    several = write_nnunet_folder(tmp_path / "several", labels={"background": 0, "GTV": 1, "Heart": 2})
    assert "several labels: GTV (1), Heart (2); name the one to refine as the label" in refused(
        *predict_arguments(model=several)
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_cuda_without_a_device_is_refused(refused, predict_arguments):
    assert "Device 'cuda' was asked for and this computer has none; use cpu or auto" in refused(
        *predict_arguments(device="cuda")
    )


# ---- the segmentations


@pytest.mark.parametrize("option", ["initial", "edited"])
def test_a_segmentation_that_does_not_overlap_the_image_is_named(refused, propagate_arguments, write, option):
    far = write("far.nii.gz", edited_mask().astype(np.uint8), origin=(500, 500, 500))
    message = refused(*propagate_arguments(**{option: far}))
    assert f"'{far}' does not overlap the image" in message
    assert "give the segmentation of this image" in message


def test_a_seg_nrrd_that_does_not_overlap_the_image_is_named(refused, propagate_arguments, seg_nrrd):
    far = seg_nrrd(origin=(500, 500, 500))
    assert f"'{far}' does not fit the image" in refused(*propagate_arguments(edited=far))


def test_an_intensity_image_as_segmentation_is_named(refused, propagate_arguments, files):
    assert "which are not labels (whole numbers above 0); give a labelmap" in refused(
        *propagate_arguments(edited=files.image)
    )


@pytest.mark.parametrize("options", [{}, {"label": "GTV"}])
def test_labelmaps_without_the_label_name_what_they_hold(refused, propagate_arguments, write, options):
    initial = write("initial.nii.gz", ball_mask().astype(np.uint8) * 3)
    edited = write("edited.nii.gz", edited_mask().astype(np.uint8) * 5)
    message = refused(*propagate_arguments(initial=initial, edited=edited, **options))
    assert f"'{initial}' and '{edited}' hold the labels 3, 5, not 1 (GTV); choose another label" in message


def test_an_edit_that_changes_nothing_is_refused(refused, propagate_arguments, files):
    message = refused(*propagate_arguments(edited=files.initial))
    assert "is unchanged; redraw at least one slice" in message


@pytest.mark.parametrize("slices", ["20", "12,99"])
def test_a_slice_out_of_range_is_named(refused, propagate_arguments, slices):
    message = refused(*propagate_arguments(slices=slices))
    assert f"Slice {slices.split(',')[-1]} is outside the image; slices along this axis run from 0 to 19" in message


def test_a_slice_that_was_not_edited_is_named(refused, propagate_arguments):
    message = refused(*propagate_arguments(slices="3,12"))
    assert "--slices names 3, where the two segmentations are equal; they differ on axial slices 12" in message


def test_slices_that_are_no_numbers_are_named(refused, propagate_arguments):
    assert "--slices 'twelve' is not a list of slices" in refused(*propagate_arguments(slices="twelve"))


def test_edits_on_two_planes_are_refused(refused, propagate_arguments, write):
    mask = ball_mask()
    mask[12, :, :] = True
    mask[:, 10, :] = True
    edited = write("edited.nii.gz", mask.astype(np.uint8))
    assert "redraw slices of one plane at a time" in refused(*propagate_arguments(edited=edited))


# ---- the outputs


@pytest.mark.parametrize("option", ["output", "report", "figure"])
def test_an_output_in_a_missing_folder_is_refused_before_the_work(refused, propagate_arguments, tmp_path, option):
    # the model is missing too: the output is looked at first
    ending = {"output": "nii.gz", "report": "json", "figure": "png"}[option]
    path = tmp_path / "nowhere" / f"out.{ending}"
    message = refused(*propagate_arguments(model=tmp_path / "no-model", **{option: path}))
    assert f"'{path}' cannot be written: folder '{path.parent}' does not exist; create it" in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_in_a_folder_that_is_write_protected_is_refused(refused, predict_arguments, tmp_path):
    folder = tmp_path / "protected"
    folder.mkdir(mode=0o500)
    assert "cannot be written" in refused(*predict_arguments(output=folder / "out.nii.gz"))


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a file system that refuses new files")
def test_an_output_on_a_file_system_that_refuses_files_is_refused(refused, predict_arguments):
    assert "cannot be written" in refused(*predict_arguments(output="/proc/out.nii.gz"))


def test_an_output_that_is_a_folder_is_refused(refused, predict_arguments, tmp_path):
    (tmp_path / "out.nii.gz").mkdir()
    assert "is a folder; give a file name" in refused(*predict_arguments())


def test_an_output_of_unknown_format_is_refused(refused, predict_arguments, tmp_path):
    assert "unknown format; end its name in .seg.nrrd" in refused(*predict_arguments(output=tmp_path / "out.stl"))


def test_a_figure_of_unknown_format_is_refused(refused, propagate_arguments, tmp_path):
    assert "end its name in .png" in refused(*propagate_arguments(figure=tmp_path / "out.bmp"))


def test_a_summary_of_unknown_format_is_refused(refused, propagate_arguments, tmp_path):
    assert "case.pdf' is no page" in refused(*propagate_arguments(summary=tmp_path / "case.pdf"))


def test_an_output_does_not_replace_an_input(refused, propagate_arguments, files):
    before = files.edited.read_bytes()
    assert "choose another name" in refused(*propagate_arguments(output=files.edited))
    assert files.edited.read_bytes() == before


def test_two_outputs_of_one_name_are_refused(refused, propagate_arguments, tmp_path):
    same = tmp_path / "out.nii.gz"
    assert "choose another name" in refused(*propagate_arguments(output=same, report=same))


# ---- the command line itself


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "COMMAND"),
        (["train"], "train"),
        (["predict"], "--model"),
        (["predict", "--device", "tpu"], "tpu"),
        (["propagate", "--level", "4"], "4"),
        (["propagate", "--plane", "oblique"], "oblique"),
        (["propagate", "--optimizer", "sgd"], "sgd"),
    ],
)
def test_wrong_arguments_are_named_in_one_line(refused, arguments, named):
    message = refused(*arguments)
    assert named in message
    assert "--help" in message


def test_a_level_beyond_the_decoder_is_named(refused, propagate_arguments):
    assert "Decoder level 3 is beyond this network's decoder" in refused(*propagate_arguments(level=3))


@pytest.mark.quick(command="register-pet")  # predict's process imports torch
@pytest.mark.parametrize(
    ("command", "first", "second", "error"),
    [
        ("register-pet", "--ct", "--pet", "Image '{missing}' does not exist"),
        ("predict", "--model", "--image", "Model folder "),
    ],
)
def test_the_installed_command_gives_exit_code_2_and_one_line(files, tmp_path, command, first, second, error):
    missing = tmp_path / "no"
    arguments = [command, first, missing, second, files.image, "--output", tmp_path / "out.nii.gz"]
    words = [sys.executable, "-m", "context_propagation.cli.main", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("context-propagation: error: " + error.format(missing=missing))
    assert list(tmp_path.iterdir()) == []


# ---- warnings


def test_a_ct_that_is_not_in_hu_is_warned_about_and_segmented(run, predict_arguments, tmp_path):
    ct = write_nnunet_folder(tmp_path / "ct", channel_name="CT", patch_size=(32, 32, 32))

    outcome = run(*predict_arguments(model=ct))

    assert outcome.code == 0
    assert "context-propagation: warning: channel 0 (CT) ranges from " in outcome.err
    assert (tmp_path / "out.nii.gz").is_file()


def test_swapped_channels_are_warned_about(run, predict_arguments, write, tmp_path):
    both = write_nnunet_folder(tmp_path / "both", channels=2, patch_size=(32, 32, 32))
    names = json.loads((both / "dataset.json").read_text())["channel_names"]
    edit_json(both / "dataset.json", "channel_names", value=dict(zip(names, ("CT", "PET"), strict=True)))
    generator = np.random.default_rng(0)
    ct = write("ct.nii.gz", generator.uniform(-1000, 1500, ball_mask().shape).astype(np.float32))
    pet = write("pet.nii.gz", generator.uniform(0, 15, ball_mask().shape).astype(np.float32))

    right = run(*predict_arguments(model=both, image=[ct, pet]))
    swapped = run(*predict_arguments(model=both, image=[pet, ct]))

    assert (right.code, right.err) == (0, "")
    assert swapped.code == 0
    assert "channels 0 (CT) and 1 (PET) look swapped; check their order" in swapped.err


# ---- outputs that would replace something else


def test_a_report_replaces_neither_a_slice_nor_a_file_of_the_model(refused, propagate_arguments, model_copy, tmp_path):
    weights, plans, other = model_copy / CHECKPOINT, model_copy / "plans.json", tmp_path / "dataset.json"
    shutil.copy(model_copy / "dataset.json", other)
    kept = [path.read_bytes() for path in (weights, plans, other)]

    assert "does not end in .json" in refused(*propagate_arguments(model=model_copy, report=weights))
    assert "is a file of the model" in refused(*propagate_arguments(model=model_copy, report=plans))
    assert "is no report of this command" in refused(*propagate_arguments(report=other))
    assert [path.read_bytes() for path in (weights, plans, other)] == kept


@pytest.mark.parametrize("values", [np.float32, np.int16])
def test_a_segmentation_does_not_replace_an_image(refused, predict_arguments, write, values):
    other = write("other.nii.gz", np.arange(ball_mask().size).reshape(ball_mask().shape).astype(values))
    before = other.read_bytes()

    assert "is no segmentation but an image; choose another name" in refused(*predict_arguments(output=other))
    assert other.read_bytes() == before


@pytest.mark.parametrize("entry", [("NDims", "x"), ("NDims", "0"), ("DimSize", "7 8"), ("DimSize", "7 0 6")])
def test_an_mha_whose_header_cannot_be_is_named(refused, predict_arguments, write, entry):
    key, value = entry
    path = write("image.mha", np.zeros(ball_mask().shape, np.float32))
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(f"{key} = {value}".encode() if one.startswith(key.encode()) else one for one in lines))

    assert f"'{path}' cannot be read: the {key} in its header is '{value}'" in refused(*predict_arguments(image=path))
