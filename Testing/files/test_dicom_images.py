"""DICOM folders and multi-frame files: every slice lies where its own header says, or the series is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from context_propagation.files.image_files import read_image, read_source_volume
from context_propagation.files.rtstruct_reading import read_roi
from context_propagation.segmentations.segmentation_files import write_predicted

pydicom = pytest.importorskip("pydicom")
from dicom_changes import SHAPE, VOXELS, change, change_all, refusal  # noqa: E402
from dicom_files import GEOMETRIES, Geometry, Series, write_ct_series  # noqa: E402


@pytest.fixture
def series(tmp_path) -> Series:
    return write_ct_series(tmp_path / "ct", VOXELS)


def copied(file: Path, name: str, **attributes: object) -> None:
    path = file.with_name(name)
    path.write_bytes(file.read_bytes())
    change(path, SOPInstanceUID=pydicom.uid.generate_uid(), **attributes)


def moved(dataset: pydicom.Dataset, offset: tuple[float, float, float]) -> list[float]:
    return [round(float(a) + b, 6) for a, b in zip(dataset.ImagePositionPatient, offset, strict=True)]


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_each_voxel_lies_where_its_own_slice_says(tmp_path, geometry):
    folder = write_ct_series(tmp_path / "ct", VOXELS, geometry).folder

    image = read_image(folder)

    indices = np.array([(0, 0, 0), (5, 7, 9), (2, 3, 4)])
    for kji, lps in zip(indices, geometry.lps(indices), strict=True):
        assert image[image.TransformPhysicalPointToIndex(lps.tolist())] == VOXELS[tuple(kji)]
        i, j, k = image.TransformPhysicalPointToContinuousIndex(lps.tolist())
        assert np.abs([i - round(i), j - round(j), k - round(k)]).max() < 1e-6


# Where a slice lies


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
@pytest.mark.parametrize("of_all", [True, False])
def test_a_slice_that_does_not_say_where_it_lies_is_refused(series, keyword, of_all):
    for file in sorted(series.folder.glob("*.dcm"))[0 if of_all else 3 :][: 6 if of_all else 1]:
        change(file, **{keyword: None})

    assert f"has no {keyword}, so that its place is unknown" in refusal(series.folder)


@pytest.mark.parametrize("spacing", [1.25, 0.625, 2.75])
def test_positions_that_were_rounded_to_a_tenth_of_a_millimetre_are_even(tmp_path, spacing):
    folder = write_ct_series(tmp_path / "ct", np.zeros((12, 4, 4), np.int16), Geometry(step_mm=spacing)).folder
    change_all(folder, lambda _, one: {"ImagePositionPatient": [round(float(x), 1) for x in one.ImagePositionPatient]})

    # 11 steps between the first and the last position, each of which was moved by .05 mm at most
    assert read_image(folder).GetSpacing()[2] == pytest.approx(spacing, abs=0.1 / 11)


def test_steps_that_each_drift_a_little_are_refused_for_the_whole_stack(tmp_path):
    # 0.019 mm sideways from one slice to the next: 0.57 mm over 31 slices of 1 mm pixels
    folder = write_ct_series(tmp_path / "ct", np.zeros((31, 4, 4), np.int16)).folder
    change_all(folder, lambda n, one: {"ImagePositionPatient": moved(one, (0.019 * n, 0, 0))})

    assert "shifted 0.019 mm sideways from one to the next (gantry tilt?)" in refusal(folder)


def test_a_stack_whose_steps_grow_is_refused(tmp_path):
    folder = write_ct_series(tmp_path / "ct", np.zeros((20, 4, 4), np.int16)).folder
    change_all(folder, lambda n, one: {"ImagePositionPatient": moved(one, (0, 0, 0.01 * n * n))})

    assert "spaced unevenly; resample to even spacing" in refusal(folder)


def test_one_slice_beside_the_others_is_named(series):
    change(series.folder / "004.dcm", ImagePositionPatient=moved(series.slices[3], (4, 0, 0)))

    assert "'004.dcm' lies 4 mm sideways of the other slices" in refusal(series.folder)


def test_a_missing_slice_is_named_as_that(series):
    (series.folder / "003.dcm").unlink()

    assert "has a step of 5 mm between '002.dcm' and '004.dcm' where 2.5 mm is usual; add the missing" in refusal(
        series.folder
    )


def test_a_slice_of_another_orientation_is_named(series):
    change(series.folder / "003.dcm", ImageOrientationPatient=[1, 0, 0, 0, 0, -1])

    assert "'003.dcm' has another orientation than the other slices, by 90 degrees" in refusal(series.folder)


def test_slices_of_another_pixel_spacing_are_named(series):
    change(series.folder / "006.dcm", PixelSpacing=[0.5, 0.5])

    assert "'006.dcm' has pixels of 0.5 x 0.5 mm where 1 x 1 mm is usual" in refusal(series.folder)


@pytest.mark.parametrize(
    ("keyword", "value"), [("FrameOfReferenceUID", "1.2.3"), ("PatientID", "case 2"), ("PatientName", "Else^Somebody")]
)
def test_a_slice_of_another_patient_or_frame_is_named(series, keyword, value):
    change(series.folder / "002.dcm", **{keyword: value})

    assert f"'002.dcm' has the {keyword} '{value}' where" in refusal(series.folder)


def test_a_slice_of_another_size_is_named(series):
    change(series.folder / "002.dcm", Rows=4, PixelData=VOXELS[1, :4].tobytes())

    assert "'002.dcm' has the size '10 x 4 pixels' where '10 x 8 pixels' is usual" in refusal(series.folder)


def test_an_orientation_that_is_a_little_off_a_right_angle_is_set_right_and_that_is_said(series, caplog):
    # the angle between rows and columns is 90.57 degrees: both turn by half of .01, the corners move by half of that
    change_all(series.folder, lambda *_: {"ImageOrientationPatient": [1, 0, 0, 0.01, 1, 0]})

    image = read_image(series.folder)

    direction = np.reshape(image.GetDirection(), (3, 3))
    assert np.allclose(direction.T @ direction, np.eye(3), atol=1e-9)
    assert "0.57 degrees off a right angle" in caplog.text


def test_an_orientation_far_off_a_right_angle_is_refused_as_sheared(series):
    change_all(series.folder, lambda *_: {"ImageOrientationPatient": [1, 0, 0, 0.6, 0.8, 0]})

    assert "is sheared: its axes are 36.9 degrees off a right angle" in refusal(series.folder)


# What else a folder holds


def test_a_localizer_among_the_slices_is_left_out_and_that_is_said(series, caplog):
    before = read_image(series.folder)
    attributes = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}
    copied(series.folder / "001.dcm", "localizer.dcm", **attributes)

    image = read_image(series.folder)

    assert np.array_equal(sitk.GetArrayFromImage(image), sitk.GetArrayFromImage(before))
    assert image.GetOrigin() == before.GetOrigin()
    assert "the localizer 'localizer.dcm' is left out" in caplog.text


def test_a_slice_that_was_sent_twice_is_named(series):
    copied(series.folder / "004.dcm", "again.dcm")

    message = refusal(series.folder)

    assert "'004.dcm'" in message
    assert "'again.dcm'" in message
    assert "lie at the same position; a slice was sent twice" in message


def test_two_phases_in_one_series_are_named_with_what_differs(series):
    change_all(series.folder, lambda *_: {"AcquisitionNumber": 1})
    for number in range(1, 7):
        copied(series.folder / f"{number:03d}.dcm", f"second-{number}.dcm", AcquisitionNumber=2)

    assert "holds 2 images at each of 6 positions: several phases (AcquisitionNumber '1', '2')" in refusal(
        series.folder
    )


# Files without preamble


def without_preamble(file: Path) -> None:
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    stream = DicomBytesIO()
    stream.is_little_endian = stream.is_implicit_VR = True
    write_dataset(stream, pydicom.dcmread(file))
    file.write_bytes(stream.getvalue())


def test_files_without_preamble_are_the_same_series_for_image_and_structure_set(series, tmp_path):
    mask = np.zeros(SHAPE, bool)
    mask[2:4, 2:5, 3:7] = True
    write_predicted(tmp_path / "rs.dcm", mask, "GTV", read_source_volume([series.folder]), [series.folder])
    for file in [*series.folder.glob("*.dcm"), tmp_path / "rs.dcm"]:
        without_preamble(file)

    volume = read_source_volume([series.folder])

    assert np.array_equal(volume.channels[0], VOXELS)
    assert np.array_equal(read_roi(tmp_path / "rs.dcm", "GTV", volume, [series.folder]).mask, mask)
    write_predicted(tmp_path / "new.dcm", mask, "GTV", volume, [series.folder])
    assert np.array_equal(read_roi(tmp_path / "new.dcm", "GTV", volume, [series.folder]).mask, mask)
