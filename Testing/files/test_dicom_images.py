"""DICOM folders and multi-frame files: every slice lies where its own header says, or the series is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from context_propagation.core.errors import UserInputError
from context_propagation.files.dicom_seg_writing import check_seg_output
from context_propagation.files.image_files import read_image, read_source_volume
from context_propagation.files.rtstruct_reading import read_roi
from context_propagation.files.segmentation import Wanted
from context_propagation.segmentations.segmentation_files import read_together, write_predicted

pydicom = pytest.importorskip("pydicom")
from dicom_files import GEOMETRIES, Geometry, Series, made, save, write_ct_series  # noqa: E402

SHAPE = (6, 8, 10)
VOXELS = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)


@pytest.fixture
def series(tmp_path) -> Series:
    return write_ct_series(tmp_path / "ct", VOXELS)


def change(file: Path, **attributes: object) -> None:
    """Set attributes of a file; None removes one."""
    dataset = pydicom.dcmread(file)
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    save(file, dataset, dataset.file_meta.TransferSyntaxUID)


def change_all(folder: Path, of: Callable[[int, pydicom.Dataset], dict[str, object]]) -> None:
    for number, file in enumerate(sorted(folder.glob("*.dcm"))):
        change(file, **of(number, pydicom.dcmread(file)))


def copied(file: Path, name: str, **attributes: object) -> None:
    path = file.with_name(name)
    path.write_bytes(file.read_bytes())
    change(path, SOPInstanceUID=pydicom.uid.generate_uid(), **attributes)


def moved(dataset: pydicom.Dataset, offset: tuple[float, float, float]) -> list[float]:
    return [round(float(a) + b, 6) for a, b in zip(dataset.ImagePositionPatient, offset, strict=True)]


def refusal(path: Path) -> str:
    with pytest.raises(UserInputError) as refused:
        read_image(path)
    assert "\n" not in str(refused.value)
    return str(refused.value)


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


# Several frames in one file


def enhanced(
    series: Series,
    order: list[int],
    kind: str = pydicom.uid.EnhancedCTImageStorage,
    shared_slope: float | None = 1,
    **of_frame: Callable[[int], object],
) -> Path:
    """The series as one file whose frames are the slices in an order; `of_frame` changes a frame's group."""
    source = pydicom.dcmread(series.folder / "001.dcm")
    del source.ImagePositionPatient, source.ImageOrientationPatient, source.PixelSpacing
    source.SOPClassUID, source.NumberOfFrames = kind, len(order)
    del source.RescaleSlope, source.RescaleIntercept
    source.PixelData = VOXELS[order].tobytes()
    header = series.slices[0]
    source.SharedFunctionalGroupsSequence = [
        made(
            PixelMeasuresSequence=[made(PixelSpacing=header.PixelSpacing)],
            PlaneOrientationSequence=[made(ImageOrientationPatient=header.ImageOrientationPatient)],
        )
    ]
    if shared_slope is not None:
        rescale = made(RescaleSlope=shared_slope, RescaleIntercept=0)
        source.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence = [rescale]
    source.PerFrameFunctionalGroupsSequence = [
        made(
            PlanePositionSequence=[made(ImagePositionPatient=series.slices[k].ImagePositionPatient)],
            **{keyword: value(n) for keyword, value in of_frame.items() if value(n) is not None},
        )
        for n, k in enumerate(order)
    ]
    folder = series.folder.parent / f"enhanced {shared_slope}"
    folder.mkdir()
    save(folder / "1.dcm", source, pydicom.uid.ExplicitVRLittleEndian)
    return folder


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [3, 0, 5, 1, 4, 2]])
@pytest.mark.parametrize("as_folder", [True, False])
def test_frames_lie_where_each_says_whatever_their_order(series, order, as_folder):
    folder = enhanced(series, order)
    expected = read_image(series.folder)

    image = read_image(folder if as_folder else folder / "1.dcm")

    assert np.array_equal(sitk.GetArrayFromImage(image), VOXELS)
    assert image.GetOrigin() == pytest.approx(expected.GetOrigin())
    assert image.GetSpacing() == pytest.approx(expected.GetSpacing())
    assert image.GetDirection() == pytest.approx(expected.GetDirection())


def test_contours_refer_to_the_frames_of_a_multi_frame_series(series, tmp_path):
    folder = enhanced(series, [5, 4, 3, 2, 1, 0])
    mask = np.zeros(SHAPE, bool)
    mask[1, 2:5, 3:7] = True
    volume = read_source_volume([folder])

    write_predicted(tmp_path / "rs.dcm", mask, "GTV", volume, [folder])

    assert np.array_equal(read_roi(tmp_path / "rs.dcm", "GTV", volume, [folder]).mask, mask)
    written = pydicom.dcmread(tmp_path / "rs.dcm")
    (contour,) = written.ROIContourSequence[0].ContourSequence
    assert contour.ContourImageSequence[0].ReferencedFrameNumber == 5  # slice 1 is the last but one of six
    (listed,) = written.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence
    assert len(listed.ContourImageSequence) == 1


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [3, 0, 5, 1, 4, 2]])
def test_a_segmentation_refers_to_the_frames_of_a_multi_frame_series(series, order, tmp_path):
    pytest.importorskip("highdicom")
    folder = enhanced(series, order)
    mask = np.zeros(SHAPE, bool)
    mask[1, 2:5, 3:7] = True
    volume = read_source_volume([folder])

    write_predicted(tmp_path / "out.seg.dcm", mask, "GTV", volume, [folder])

    (found,) = read_together([tmp_path / "out.seg.dcm"], Wanted("GTV", (1,)), volume, [folder])
    assert np.array_equal(found.mask, mask)
    (frame,) = pydicom.dcmread(tmp_path / "out.seg.dcm").PerFrameFunctionalGroupsSequence
    (source,) = frame.DerivationImageSequence[0].SourceImageSequence
    assert source.ReferencedSOPInstanceUID == pydicom.dcmread(folder / "1.dcm").SOPInstanceUID
    assert source.ReferencedFrameNumber == order.index(1) + 1
    assert frame.PlanePositionSequence[0].ImagePositionPatient == series.slices[1].ImagePositionPatient


@pytest.mark.parametrize("keyword", ["PlaneOrientationSequence", "PixelMeasuresSequence"])
def test_a_multi_frame_series_that_a_segmentation_cannot_refer_to_is_refused_before_anything_is_computed(
    series, keyword, tmp_path
):
    pytest.importorskip("highdicom")
    file = enhanced(series, [0, 1, 2, 3, 4, 5]) / "1.dcm"
    dataset = pydicom.dcmread(file)
    moved = dataset.SharedFunctionalGroupsSequence[0].pop(keyword)
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        frame[keyword] = moved
    dataset.save_as(file)

    with pytest.raises(UserInputError, match="not said once for all its frames.*write .dcm, .seg.nrrd or .nii.gz"):
        check_seg_output(tmp_path / "out.seg.dcm", [file.parent])


def test_frames_at_one_position_are_several_phases(series):
    assert "holds 2 images at each of 3 positions" in refusal(enhanced(series, [0, 1, 2, 0, 1, 2]) / "1.dcm").replace(
        "1.dcm' ", ""
    )


def test_a_multi_frame_file_among_slices_is_named(series):
    folder = enhanced(series, [0, 1, 2, 3, 4, 5])
    (series.folder / "all.dcm").write_bytes((folder / "1.dcm").read_bytes())

    assert "all.dcm' has 6 frames and lies among other files" in refusal(series.folder)


def test_each_slice_is_rescaled_by_its_own_slope_also_where_the_first_one_s_is_a_whole_number(series):
    """As in a PET, whose first slice may be empty and have a slope of 1."""
    slopes = [1, 0.25, 40000, 0.1, 2, 0.5]
    change_all(series.folder, lambda number, _: {"RescaleSlope": slopes[number]})

    values = sitk.GetArrayFromImage(read_image(series.folder))

    assert values == pytest.approx(VOXELS * np.array(slopes)[:, None, None], rel=1e-6)


@pytest.mark.parametrize("silent", [0, 3])
def test_a_frame_that_says_nothing_of_its_rescale_is_stored_as_it_is(series, silent):
    """Beside frames with a slope of 2."""
    folder = enhanced(
        series,
        [0, 1, 2, 3, 4, 5],
        shared_slope=None,
        PixelValueTransformationSequence=lambda n: None if n == silent else [made(RescaleSlope=2, RescaleIntercept=0)],
    )

    assert "rescales its frames in 2 ways" in refusal(folder)


def test_frames_with_the_same_slope_written_otherwise_are_read(series):
    folder = enhanced(
        series,
        [0, 1, 2, 3, 4, 5],
        shared_slope=None,
        PixelValueTransformationSequence=lambda n: [
            made(RescaleSlope="0.5" if n % 2 else "0.50", RescaleIntercept="-100")
        ],
    )

    assert sitk.GetArrayFromImage(read_image(folder)) == pytest.approx(VOXELS / 2 - 100)


def test_a_kind_of_frames_whose_rescale_is_not_read_is_refused_where_there_is_one(series):
    kind = pydicom.uid.EnhancedUSVolumeStorage
    same, other = (enhanced(series, [0, 1, 2, 3, 4, 5], kind=kind, shared_slope=slope) for slope in (1, 2))

    assert np.array_equal(sitk.GetArrayFromImage(read_image(same)), VOXELS)
    assert "of a kind (Enhanced US Volume Storage) for which that is not known to be read" in refusal(other)


def test_frames_that_are_rescaled_differently_are_refused(series):
    folder = enhanced(
        series,
        [0, 1, 2, 3, 4, 5],
        PixelValueTransformationSequence=lambda n: [made(RescaleSlope=1 + n, RescaleIntercept=0)],
    )

    assert "rescales its frames in 6 ways" in refusal(folder)


def write_dose(series: Series, path: Path, scaling: str | None) -> Path:
    """A dose of `VOXELS` with this DoseGridScaling; None leaves it out."""
    source = pydicom.dcmread(series.folder / "001.dcm")
    del source.RescaleSlope, source.RescaleIntercept
    source.SOPClassUID, source.NumberOfFrames = pydicom.uid.RTDoseStorage, len(VOXELS)
    source.GridFrameOffsetVector, source.PixelData = [2.5 * k for k in range(6)], VOXELS.tobytes()
    source.DoseUnits = "GY"
    if scaling is not None:
        source.DoseGridScaling = scaling
    save(path, source, pydicom.uid.ExplicitVRLittleEndian)
    return path


@pytest.mark.parametrize(("scaling", "said"), [(None, "''"), ("0", "'0'"), ("-0.01", "'-0.01'")])
def test_a_dose_that_does_not_say_what_its_numbers_are_is_refused(series, tmp_path, scaling, said):
    assert f"is a dose whose DoseGridScaling is {said}; export it again" in refusal(
        write_dose(series, tmp_path / "dose.dcm", scaling)
    )


def test_a_dose_with_a_rescale_slope_beside_its_scaling_is_refused(series, tmp_path):
    path = write_dose(series, tmp_path / "dose.dcm", "0.01")
    change(path, RescaleSlope=0.01, RescaleIntercept=0)

    assert "is a dose with a DoseGridScaling and a RescaleSlope of '0.01'" in refusal(path)


def test_a_dose_of_one_file_for_each_slice_is_in_its_own_units_too(series):
    """Each file with a scaling of its own."""
    scalings = [0.01, 0.02, 0.03, 0.001, 0.5, 1]
    change_all(
        series.folder,
        lambda number, _: {
            "SOPClassUID": pydicom.uid.RTDoseStorage,
            "DoseGridScaling": scalings[number],
            "RescaleSlope": None,
            "RescaleIntercept": None,
        },
    )

    values = sitk.GetArrayFromImage(read_image(series.folder))

    assert values == pytest.approx(VOXELS * np.array(scalings)[:, None, None], rel=1e-6)


def test_a_dose_without_frame_groups_is_placed_by_its_offsets_and_is_in_its_own_units(series, tmp_path):
    image = read_image(write_dose(series, tmp_path / "dose.dcm", "0.01"))

    assert sitk.GetArrayFromImage(image) == pytest.approx(VOXELS / 100)
    assert image.GetOrigin() == pytest.approx(read_image(series.folder).GetOrigin())
    assert image.GetSpacing() == pytest.approx((1, 1, 2.5))
