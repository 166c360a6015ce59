"""Reading images, a real CT as a DICOM folder included."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from ball_images import sitk_image
from context_propagation.core.errors import UserInputError
from context_propagation.files.image_files import read_image, read_source_volume


@pytest.mark.parametrize("ending", ["nii.gz", "nii", "nrrd", "mha"])
def test_formats_give_the_same_volume(tmp_path, ending):
    image = sitk_image(np.arange(24, dtype=np.int16).reshape(2, 3, 4))
    sitk.WriteImage(image, str(tmp_path / f"image.{ending}"))

    volume = read_source_volume([tmp_path / f"image.{ending}"])

    assert np.array_equal(volume.channels[0], np.arange(24).reshape(2, 3, 4))
    assert volume.spacing_kji_mm == pytest.approx((1.5, 1.25, 1.0))
    assert volume.ijk_to_lps[:3, 3] == pytest.approx([10, -20, 30])


def test_a_rescaled_nifti_file_is_read_in_its_units(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    stored = nibabel.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    stored.header.set_slope_inter(2.0, -1000.0)
    nibabel.save(stored, tmp_path / "image.nii.gz")
    raw = np.asarray(nibabel.load(tmp_path / "image.nii.gz").dataobj)

    assert np.array_equal(sitk.GetArrayFromImage(read_image(tmp_path / "image.nii.gz")).T, raw)


@pytest.fixture(scope="module")
def volume(ct_dicom):
    """The real CT."""
    return read_source_volume([ct_dicom])


def test_a_dicom_folder_is_read_in_hounsfield_units(volume):
    assert volume.channels.shape == (1, 20, 512, 512)
    assert volume.spacing_kji_mm == pytest.approx((2.0, 0.9765625, 0.9765625))
    assert volume.plane_of_axis == ("axial", "coronal", "sagittal")
    assert -1100 <= volume.channels.min() < -900
    assert 200 < volume.channels.max() < 5000


def test_the_names_of_dicom_files_do_not_decide_the_order_of_slices(volume, ct_dicom, tmp_path):
    for number, file in enumerate(sorted(ct_dicom.iterdir(), key=lambda f: hash(f.name))):
        shutil.copy(file, tmp_path / f"{number:03d}.dcm")

    moved = read_source_volume([tmp_path])

    assert np.array_equal(moved.channels, volume.channels)
    assert np.array_equal(moved.ijk_to_lps, volume.ijk_to_lps)


def test_a_missing_dicom_slice_is_refused(ct_dicom, tmp_path):
    names = list(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(ct_dicom)))
    for name in names[:8] + names[9:]:
        shutil.copy(name, tmp_path)

    with pytest.raises(UserInputError, match=r"has a step of 4 mm between .* where 2 mm is usual; add the missing"):
        read_image(tmp_path)


def test_a_single_dicom_slice_is_refused(ct_dicom, tmp_path):
    file = next(ct_dicom.iterdir())
    shutil.copy(file, tmp_path)

    with pytest.raises(UserInputError, match="holds one slice only"):
        read_image(tmp_path)
    with pytest.raises(UserInputError, match="or the whole DICOM folder"):
        read_image(file)


def write_series(folder: Path, uid: str, description: str, origins: list[tuple[float, float, float]]) -> None:
    """A small DICOM series, one file per origin."""
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number, origin in enumerate(origins):
        image = sitk.GetImageFromArray(np.full((1, 8, 8), number, np.int16))
        image.SetOrigin(origin)
        tags = {
            "0008|0060": "CT",
            "0008|103e": description,
            "0020|000d": "1.2.3",
            "0020|000e": uid,
            "0008|0018": f"{uid}.{number}",
            "0020|0032": "\\".join(map(str, origin)),
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0020|0013": str(number),
        }
        for key, value in tags.items():
            image.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{description}-{number}.dcm"))
        writer.Execute(image)


def test_a_folder_with_two_series_names_both(tmp_path):
    origins = [(0.0, 0.0, 2.0 * number) for number in range(4)]
    write_series(tmp_path, "1.2.3.4", "arterial", origins)
    write_series(tmp_path, "1.2.3.5", "venous", origins[:3])

    with pytest.raises(UserInputError) as refused:
        read_image(tmp_path)

    assert "holds 2 series" in str(refused.value)
    assert "'arterial' (4 slices, " in str(refused.value)
    assert "'venous' (3 slices, " in str(refused.value)


def test_a_tilted_gantry_is_refused(tmp_path):
    write_series(tmp_path, "1.2.3.4", "tilted", [(0.0, 0.5 * number, 2.0 * number) for number in range(4)])

    with pytest.raises(UserInputError, match=r"0\.5 mm sideways"):
        read_image(tmp_path)


def written_with(path: Path, line: str, before: str) -> Path:
    """An image of ones, voxels of 1 mm, with a further line in its header."""
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((4, 5, 6), np.int16)), str(path))
    path.write_bytes(path.read_bytes().replace(f"\n{before}".encode(), f"\n{line}\n{before}".encode(), 1))
    image = sitk.ReadImage(str(path))
    assert (sitk.GetArrayFromImage(image).max(), image.GetSpacing()) == (1, (1, 1, 1))  # so ITK does not hear it
    return path


@pytest.mark.parametrize(
    ("key", "value", "harmless"),
    [
        ("ElementToIntensityFunctionSlope", "0.5", "1"),
        ("ElementToIntensityFunctionOffset", "3", "0"),
        ("DistanceUnits", "cm", "mm"),
    ],
)
def test_an_mha_that_says_what_itk_does_not_hear_is_refused(tmp_path, key, value, harmless):
    path = written_with(tmp_path / "image.mha", f"{key} = {value}", "ElementType")
    with pytest.raises(UserInputError, match=f"{key} = {value}, which ITK leaves out; write {harmless}"):
        read_image(path)

    written_with(path, f"{key} = {harmless}", "ElementType")
    assert read_image(path).GetSpacing() == (1, 1, 1)


def test_an_nrrd_in_other_units_than_millimetres_is_refused(tmp_path):
    path = written_with(tmp_path / "image.nrrd", 'space units: "cm" "cm" "cm"', "space directions")
    with pytest.raises(UserInputError, match="has space units of 'cm', which ITK takes for mm; write it in mm"):
        read_image(path)

    written_with(path, 'space units: "mm" "mm" "mm"', "space directions")
    assert read_image(path).GetSpacing() == (1, 1, 1)
