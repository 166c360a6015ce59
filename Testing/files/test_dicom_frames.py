"""Multi-frame DICOM files and doses: frames lie where each says, and stored numbers come in their units."""

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
from dicom_changes import SHAPE, VOXELS, change, change_all, refusal  # noqa: E402
from dicom_files import Series, made, save, write_ct_series  # noqa: E402


@pytest.fixture
def series(tmp_path) -> Series:
    return write_ct_series(tmp_path / "ct", VOXELS)


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
