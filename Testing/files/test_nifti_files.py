"""NIfTI files whose header places the voxels in ways that contradict each other, or not at right angles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.files.image_files import read_image, read_source_volume
from context_propagation.files.labelmap_files import read_labelmap, write_labelmap

nibabel = pytest.importorskip("nibabel")

SHAPE = (8, 9, 10)
VOXELS = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
PLACE = np.array([[2.0, 0, 0, 10], [0, 2, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1]])
TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write(path: Path, sform=None, qform=None, codes=(1, 1), pixdim=None, voxels=VOXELS, unit="mm") -> Path:
    """A file with these forms (RAS, mm), None for none, and then this pixdim."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(voxels.dtype)
    header.set_data_shape(voxels.shape)
    header.set_xyzt_units(unit)
    if qform is not None:
        header.set_qform(qform, codes[1])
    if sform is not None:
        header.set_sform(sform, codes[0])
    header["sform_code"], header["qform_code"] = (0 if sform is None else codes[0]), (0 if qform is None else codes[1])
    if pixdim is not None:
        header["pixdim"][1:4] = pixdim
    header["vox_offset"], header["magic"] = 352, b"n+1"
    path.write_bytes(header.binaryblock + bytes(4) + voxels.tobytes(order="F"))
    return path


def place_of(image: sitk.Image) -> np.ndarray:
    """The matrix from voxel indices to RAS."""
    return TO_LPS @ SourceVolume.from_sitk([image]).ijk_to_lps


@pytest.mark.parametrize("forms", [{"sform": PLACE}, {"qform": PLACE, "pixdim": (2, 2, 3)},
                                   {"sform": PLACE, "qform": PLACE, "codes": (2, 1)}])  # fmt: skip
def test_forms_that_agree_are_taken_without_a_word(tmp_path, caplog, forms):
    image = read_image(write(tmp_path / "image.nii", **{"pixdim": (2, 2, 3), **forms}))

    assert np.allclose(place_of(image), PLACE, atol=1e-5)
    assert np.array_equal(sitk.GetArrayFromImage(image).T, VOXELS)
    assert not caplog.messages


@pytest.mark.parametrize(
    ("codes", "taken"), [((1, 1), "sform"), ((1, 2), "sform"), ((2, 1), "qform"), ((4, 1), "qform")]
)
def test_of_forms_that_contradict_each_other_the_one_that_slicer_takes_is_taken_and_that_is_said(
    tmp_path, caplog, codes, taken
):
    other = PLACE.copy()
    other[0, 3] += 538
    path = write(tmp_path / "image.nii", PLACE, other, codes, (2, 2, 3))

    image = read_image(path)

    assert np.allclose(place_of(image), {"sform": PLACE, "qform": other}[taken], atol=1e-4)
    assert np.allclose(image.GetOrigin(), sitk.ReadImage(str(path)).GetOrigin(), atol=1e-4)
    (message,) = caplog.messages
    assert f"is placed in two ways, up to 538 mm apart: by its sform and by its qform; the {taken} is taken" in message


def test_voxel_sizes_are_those_of_the_sform_where_pixdim_says_else(tmp_path, caplog):
    image = read_image(write(tmp_path / "image.nii", PLACE, pixdim=(1, 1, 1)))

    assert np.allclose(place_of(image), PLACE, atol=1e-5)
    (message,) = caplog.messages
    assert "has voxels of 1 x 1 x 1 mm by its pixdim and of 2 x 2 x 3 mm by its sform; the sform is taken" in message


def test_what_is_written_for_a_contradictory_image_any_reader_places_alike(tmp_path):
    other = PLACE.copy()
    other[0, 3] += 538
    path = write(tmp_path / "image.nii", PLACE, other, (2, 1), (2, 2, 3))
    volume = read_source_volume([path])

    write_labelmap(tmp_path / "out.nii.gz", np.ones(volume.shape_kji, bool), volume)

    header = nibabel.load(tmp_path / "out.nii.gz").header
    assert np.allclose(header.get_sform(), header.get_qform(), atol=1e-4)
    assert np.allclose(header.get_sform(), TO_LPS @ volume.ijk_to_lps, atol=1e-4)
    assert np.allclose(header.get_zooms(), (2, 2, 3))


def sheared(by: float) -> np.ndarray:
    """Both in-plane axes turned towards each other by an angle (radians, small)."""
    matrix = PLACE.copy()
    matrix[0, 1] = matrix[1, 0] = 2 * by
    return matrix


def test_axes_a_little_off_a_right_angle_are_set_right_around_the_middle_and_that_is_said(tmp_path, caplog):
    # each axis turns back by .001: the corner (7, 8) moves by half of (8, 7) * 2 mm * .001, i.e. by .0106 mm
    given = sheared(1e-3)

    image = read_image(write(tmp_path / "image.nii", given, pixdim=(2, 2, 3)))

    middle = np.array([3.5, 4, 4.5, 1])
    assert np.allclose(place_of(image) @ middle, given @ middle, atol=1e-4)
    moved = (place_of(image) - given) @ [7, 8, 9, 1]
    assert np.linalg.norm(moved) == pytest.approx(0.0106, abs=2e-4)
    (message,) = caplog.messages
    assert (
        "axes 0.11 degrees off a right angle; they are set right, which moves no voxel by more than 0.011 mm" in message
    )


@pytest.mark.parametrize("name", ["image.nii", "image.nrrd", "image.mha"])
@pytest.mark.parametrize("read", [read_image, read_labelmap])
def test_sheared_axes_are_refused_by_that_name(tmp_path, name, read):
    path = tmp_path / name
    if name.endswith("nii"):
        write(path, sheared(0.2), pixdim=(2, 2, 3))
    else:
        image = sitk.GetImageFromArray(VOXELS)
        image.SetDirection((1, 0.4, 0, 0, 1, 0, 0, 0, 1))
        sitk.WriteImage(image, str(path))

    with pytest.raises(UserInputError, match=r"is sheared: its axes are 2\d\.\d degrees off a right angle"):
        read(path)


def test_where_the_sform_is_sheared_and_the_qform_is_not_the_qform_is_taken(tmp_path, caplog):
    image = read_image(write(tmp_path / "image.nii", sheared(0.2), PLACE, pixdim=(2, 2, 3)))

    assert np.allclose(place_of(image), PLACE, atol=1e-4)
    assert "the qform is taken" in caplog.text


def test_a_file_without_forms_is_placed_at_the_origin_and_that_is_said(tmp_path, caplog):
    image = read_image(write(tmp_path / "image.nii", pixdim=(2, 2, 3)))

    assert image.GetSpacing() == (2, 2, 3)
    assert image.GetOrigin() == (0, 0, 0)
    assert "does not say where it lies" in caplog.text


def test_a_grid_in_micrometres_is_read_in_millimetres(tmp_path):
    path = write(
        tmp_path / "image.nii", PLACE @ np.diag([1000, 1000, 1000, 1]), pixdim=(2000, 2000, 3000), unit="micron"
    )

    assert np.allclose(read_image(path).GetSpacing(), (2, 2, 3))


@pytest.mark.parametrize("pixdim", [(0, 2, 3), (np.nan, 2, 3)])
def test_a_spacing_that_is_none_is_refused(tmp_path, pixdim):
    with pytest.raises(UserInputError, match="correct the spacing in its header"):
        read_image(write(tmp_path / "image.nii", pixdim=pixdim))


def test_a_nifti_of_one_time_point_is_a_volume(tmp_path):
    path = write(tmp_path / "image.nii", PLACE, pixdim=(2, 2, 3), voxels=VOXELS[..., None])

    assert np.array_equal(sitk.GetArrayFromImage(read_image(path)).T, VOXELS)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.int64, ">i2"])
def test_labels_keep_their_values_and_type(tmp_path, kind):
    labels = (VOXELS % 5).astype(kind)

    read = read_labelmap(write(tmp_path / "labels.nii", PLACE, pixdim=(2, 2, 3), voxels=labels) if kind != ">i2" else
                         _big_endian(tmp_path / "labels.nii", labels))  # fmt: skip

    assert np.array_equal(sitk.GetArrayFromImage(read.image).T, labels)
    assert read.values == (1, 2, 3, 4)


def _big_endian(path: Path, labels: np.ndarray) -> Path:
    image = nibabel.Nifti1Image(labels, PLACE)
    header = image.header.as_byteswapped(">")
    nibabel.save(nibabel.Nifti1Image(labels, PLACE, header), path)
    return path
