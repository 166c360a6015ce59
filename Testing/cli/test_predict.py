"""The predict command on good input."""

import numpy as np
import pytest
import SimpleITK as sitk

from ball_images import sitk_image
from context_propagation.core.image.source_volume import SourceVolume, same_grid
from context_propagation.core.model.nnunet_model import NnunetModel
from monai_bundles import configuration, write_monai_bundle
from nnunet_folders import write_nnunet_folder

pytestmark = pytest.mark.usefixtures("models_loaded_once")


def predicted_by_the_engine(model_folder, image, label=None) -> np.ndarray:
    model = NnunetModel.load(model_folder, label=label, device="cpu")
    return model.predict(model.prepare(SourceVolume.from_sitk([image])))


@pytest.mark.quick(ending=("nii.gz", "nrrd"))
@pytest.mark.parametrize("ending", ["nii.gz", "nii", "nrrd", "mha"])
def test_the_labelmap_is_the_engine_s_prediction_on_the_image_s_grid(run, predict_arguments, files, tmp_path, ending):
    output = tmp_path / f"out.{ending}"

    outcome = run(*predict_arguments(output=output))

    image = sitk.ReadImage(str(files.image), sitk.sitkFloat32)
    written = sitk.ReadImage(str(output))
    assert (outcome.code, outcome.err) == (0, "")
    assert same_grid(written, image)
    assert np.array_equal(sitk.GetArrayFromImage(written), predicted_by_the_engine(files.model, image))
    assert f"{int(sitk.GetArrayFromImage(written).sum())} voxels of GTV" in outcome.out
    assert list(tmp_path.iterdir()) == [output]


def test_a_seg_nrrd_has_the_label_s_name(run, predict_arguments, files, tmp_path):
    pytest.importorskip("context_propagation.mrml.nodes.segmentation_storage")
    from seg_nrrd import read_seg_nrrd

    output = tmp_path / "out.seg.nrrd"

    outcome = run(*predict_arguments(output=output))

    image = sitk.ReadImage(str(files.image), sitk.sitkFloat32)
    mask = read_seg_nrrd(output, "GTV", SourceVolume.from_sitk([image]))
    assert outcome.code == 0
    assert np.array_equal(mask, predicted_by_the_engine(files.model, image))


@pytest.mark.parametrize("label", ["Heart", "2"])
def test_a_label_is_chosen_by_name_or_value(run, predict_arguments, files, tmp_path, label):
    several = write_nnunet_folder(
        tmp_path / "several", labels={"background": 0, "GTV": 1, "Heart": 2}, patch_size=(32, 32, 32)
    )

    outcome = run(*predict_arguments(model=several, label=label))

    image = sitk.ReadImage(str(files.image), sitk.sitkFloat32)
    written = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out.nii.gz")))
    assert outcome.code == 0
    assert "voxels of Heart" in outcome.out
    assert np.array_equal(written, predicted_by_the_engine(several, image, "Heart"))


def test_several_files_are_channels_in_their_order(run, predict_arguments, files, tmp_path):
    two = write_nnunet_folder(tmp_path / "two", channels=2, patch_size=(32, 32, 32))
    first = sitk.ReadImage(str(files.image), sitk.sitkFloat32)
    second = sitk_image(sitk.GetArrayFromImage(first)[::-1].copy())
    sitk.WriteImage(second, str(tmp_path / "second.mha"))

    outcome = run(*predict_arguments(model=two, image=[files.image, tmp_path / "second.mha"]))

    model = NnunetModel.load(two, device="cpu")
    expected = model.predict(model.prepare(SourceVolume.from_sitk([first, second])))
    assert outcome.code == 0
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out.nii.gz"))), expected)


def test_an_output_that_exists_is_replaced(run, predict_arguments, tmp_path):
    older = sitk.GetImageFromArray(np.ones((2, 3, 4), np.uint8))
    sitk.WriteImage(older, str(tmp_path / "out.nii.gz"))

    assert run(*predict_arguments()).code == 0
    assert sitk.ReadImage(str(tmp_path / "out.nii.gz")).GetSize() == (28, 24, 20)


def test_help_names_both_commands(run):
    with pytest.raises(SystemExit) as stopped:
        run("--help")
    assert stopped.value.code == 0


@pytest.mark.parametrize("trusted", [False, True])
def test_a_monai_bundle_s_own_code_runs_only_where_it_is_trusted(run, files, tmp_path, trusted):
    written = tmp_path / "written"
    code = f"$__import__('pathlib').Path({str(written)!r}).touch()"
    bundle = write_monai_bundle(tmp_path / "bundle", network_def={**configuration()["network_def"], "dropout": code})
    options = ["--trust-bundle"] if trusted else []
    outcome = run("predict", "--model", bundle, "--image", files.image, "--output", tmp_path / "out.nii.gz", *options)
    assert written.exists() == trusted
    assert ("--trust-bundle" in outcome.err) == (not trusted)


def test_a_pet_in_activity_is_told_of_and_becomes_suv_where_that_is_asked_for(run, refused, files, tmp_path):
    pytest.importorskip("pydicom")
    from pydicom.uid import PositronEmissionTomographyImageStorage

    from dicom_files import made, write_ct_series

    dose = made(RadionuclideTotalDose="100000000")
    about = {"SOPClassUID": PositronEmissionTomographyImageStorage, "Modality": "PT", "Units": "BQML"}
    about |= {"CorrectedImage": ["DECY"], "DecayCorrection": "ADMIN", "RadiopharmaceuticalInformationSequence": [dose]}
    voxels = sitk.GetArrayFromImage(sitk.ReadImage(str(files.image)))
    series = write_ct_series(tmp_path / "pet", np.round(1000 * voxels).astype(np.int16), PatientWeight="50", **about)
    arguments = ("predict", "--model", files.model, "--image", series.folder, "--device", "cpu", "--output")

    plain = run(*arguments, tmp_path / "plain.nrrd")
    suv = run(*arguments, tmp_path / "suv.nrrd", "--suv")

    assert (plain.code, suv.code) == (0, 0)
    assert "is a PET in BQML; --suv makes SUVs by body weight of it" in plain.err
    assert suv.err == ""
    image = sitk.ReadImage(str(tmp_path / "suv.nrrd"))
    pet = sitk.GetImageFromArray((np.round(1000 * voxels) * (50_000 / 100e6)).astype(np.float32))  # half of each voxel
    pet.CopyInformation(image)
    assert np.array_equal(sitk.GetArrayFromImage(image), predicted_by_the_engine(files.model, pet))


def test_suv_of_a_file_that_says_nothing_of_the_dose_is_refused(refused, predict_arguments):
    assert "--suv is for a DICOM folder of a PET" in refused(*predict_arguments(), "--suv")
