"""Structure sets that are written: new ones, and given ones with everything that did not change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from context_propagation.files.rtstruct_writing import (
    write_changed_roi,
)

pydicom = pytest.importorskip("pydicom")
from dicom_files import GEOMETRIES, Roi, Series, save, write_ct_series  # noqa: E402
from structure_sets import (  # noqa: E402
    FEW_GEOMETRIES,
    INNER,
    SHAPE,
    SQUARE,
    blobs,
    contour_bytes,
    plain,
    read,
    square,
    structure_set,
    volume_of,
    write_alone,
    written_anew,
)


def test_a_new_structure_set_refers_to_the_slices_the_study_and_the_patient(series):
    mask = np.zeros(SHAPE, bool)
    mask[1:4, 5:11, 6:13] = True

    dataset = plain(written_anew(mask, series, "GTV größer"))

    source = series.slices[0]
    assert dataset.SOPClassUID == dataset.file_meta.MediaStorageSOPClassUID == pydicom.uid.RTStructureSetStorage
    assert dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID
    for keyword in ("StudyInstanceUID", "PatientID", "PatientBirthDate", "StudyDate", "StudyID", "AccessionNumber"):
        assert dataset[keyword].value == source[keyword].value
    assert str(dataset.PatientName) == "Müller^Å"
    assert dataset.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert dataset.SeriesInstanceUID != source.SeriesInstanceUID
    assert (dataset.ApprovalStatus, dataset.Modality) == ("UNAPPROVED", "RTSTRUCT")
    (roi,), (item,) = dataset.StructureSetROISequence, dataset.ROIContourSequence
    assert (roi.ROIName, roi.ROIGenerationAlgorithm) == ("GTV größer", "SEMIAUTOMATIC")
    assert roi.ReferencedFrameOfReferenceUID == source.FrameOfReferenceUID
    assert dataset.RTROIObservationsSequence[0].RTROIInterpretedType == "GTV"
    assert [c.ContourImageSequence[0].ReferencedSOPInstanceUID for c in item.ContourSequence] == [
        header.SOPInstanceUID for header in series.slices[1:4]
    ]
    assert listed_slices(dataset) == [header.SOPInstanceUID for header in series.slices]


def listed_slices(dataset: pydicom.Dataset) -> list[str]:
    (frame,) = dataset.ReferencedFrameOfReferenceSequence
    (study,) = frame.RTReferencedStudySequence
    (referenced,) = study.RTReferencedSeriesSequence
    return [image.ReferencedSOPInstanceUID for image in referenced.ContourImageSequence]


@pytest.mark.quick(geometry=FEW_GEOMETRIES)
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_each_contour_names_the_slice_on_whose_plane_it_lies(tmp_path, geometry):
    series = write_ct_series(tmp_path / "ct", np.zeros(SHAPE, np.int16), geometry)
    normal = np.cross(geometry.rows, geometry.columns)
    places = {header.SOPInstanceUID: np.array(header.ImagePositionPatient, float) for header in series.slices}

    contours = plain(written_anew(blobs(SHAPE), series)).ROIContourSequence[0].ContourSequence

    for contour in contours:
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        corner = places[contour.ContourImageSequence[0].ReferencedSOPInstanceUID]
        assert np.abs((points - corner) @ normal).max() < 1e-5
        assert contour.NumberOfContourPoints == len(points)


def test_an_empty_mask_is_an_roi_without_contours(series):
    path = written_anew(np.zeros(SHAPE, bool), series)

    assert "ContourSequence" not in plain(path).ROIContourSequence[0]
    assert not read(path, series).any()


def test_a_series_without_frame_of_reference_is_refused_before_anything_is_computed(
    refused, predict_arguments, tmp_path
):
    series = write_ct_series(tmp_path / "ct", np.zeros(SHAPE, np.int16), FrameOfReferenceUID=None)

    error = refused(*predict_arguments(model="none", image=series.folder, output=tmp_path / "out.dcm"))

    assert "ct' has no frame of reference" in error


@pytest.fixture
def three_rois(series) -> Path:
    """The middle one is the target, on all slices but the last."""
    odd = [(4.123456, 5.5), (3.3, 9.25), (10.5, 12.7), (12.1, 5.25)]
    return structure_set(
        series,
        Roi("Heart", [(k, odd) for k in range(6)], (1, 2, 3)),
        Roi("GTV", [(k, odd) for k in range(5)], (200, 100, 50), attributes={"RecommendedDisplayGrayscaleValue": 7}),
        Roi("Marker", [(2, [(3, 3)])], (9, 9, 9), "POINT"),
    )


def changed_on_slices(path: Path, series: Series, slices: list[int]) -> tuple[Path, np.ndarray]:
    """The target becomes the square with a hole on some slices."""
    before = read(path, series)
    after = before.copy()
    after[slices] = square()
    after[slices, 7, 8] = False
    output = path.with_name("out.dcm")
    write_changed_roi(output, path, "GTV", (before, after), volume_of(series), [series.folder])
    return output, after


@pytest.mark.quick(syntax=(pydicom.uid.ImplicitVRLittleEndian, pydicom.uid.DeflatedExplicitVRLittleEndian))
@pytest.mark.parametrize("syntax", [pydicom.uid.ExplicitVRLittleEndian, pydicom.uid.ImplicitVRLittleEndian,
                                    pydicom.uid.DeflatedExplicitVRLittleEndian])  # fmt: skip
def test_only_the_contours_of_changed_slices_are_replaced(series, three_rois, syntax):
    given = plain(three_rois)
    save(three_rois, given, syntax)
    given = plain(three_rois)

    output, after = changed_on_slices(three_rois, series, [1, 5])

    written = plain(output)
    assert written.file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(read(output, series), after)
    for number in (0, 2):
        assert written.ROIContourSequence[number] == given.ROIContourSequence[number]
    target, target_before = written.ROIContourSequence[1], given.ROIContourSequence[1]
    assert list(target.ROIDisplayColor) == [200, 100, 50]
    assert target.RecommendedDisplayGrayscaleValue == 7
    kept = [contour for number, contour in enumerate(target_before.ContourSequence) if number != 1]
    assert list(target.ContourSequence[:4]) == kept
    assert [contour_bytes(a) for a in target.ContourSequence[:4]] == [contour_bytes(b) for b in kept]
    assert len(target.ContourSequence) == 6
    named = [roi.ROIName for roi in written.StructureSetROISequence]
    assert named == ["Heart", "GTV", "Marker"]
    assert [roi.ROINumber for roi in written.StructureSetROISequence] == [3, 7, 11]
    assert written.RTROIObservationsSequence == given.RTROIObservationsSequence
    assert listed_slices(written) == [header.SOPInstanceUID for header in series.slices]


def test_the_written_file_is_another_unapproved_object_and_the_given_one_stays(series, three_rois):
    content, given = three_rois.read_bytes(), plain(three_rois)

    output, _ = changed_on_slices(three_rois, series, [1])

    written = plain(output)
    assert three_rois.read_bytes() == content
    assert written.SOPInstanceUID not in ("", given.SOPInstanceUID)
    assert written.SOPInstanceUID == written.file_meta.MediaStorageSOPInstanceUID
    assert written.SeriesInstanceUID != given.SeriesInstanceUID
    assert written.StudyInstanceUID == given.StudyInstanceUID
    assert written.PredecessorStructureSetSequence[0].ReferencedSOPInstanceUID == given.SOPInstanceUID
    assert (written.ApprovalStatus, written.StructureSetLabel) == ("UNAPPROVED", "propagated")
    assert written.StructureSetDate > given.StructureSetDate
    assert not {"ReviewDate", "ReviewTime", "ReviewerName"} & set(written.dir())
    assert str(written.PatientName) == "Müller^Å"


def test_an_xor_target_gets_xor_contours(series):
    path = structure_set(series, Roi("GTV", [(1, SQUARE), (1, INNER), (3, SQUARE)], kind="CLOSEDPLANAR_XOR"))

    output, after = changed_on_slices(path, series, [3])

    contours = plain(output).ROIContourSequence[0].ContourSequence
    assert {contour.ContourGeometricType for contour in contours} == {"CLOSEDPLANAR_XOR"}
    assert len(contours) == 4
    assert np.array_equal(read(output, series), after)


def test_new_contours_are_numbered_after_the_kept_ones(series, three_rois):
    dataset = plain(three_rois)
    for number, contour in enumerate(dataset.ROIContourSequence[1].ContourSequence):
        contour.ContourNumber = 10 + number
    save(three_rois, dataset)

    output, _ = changed_on_slices(three_rois, series, [1])

    numbers = [contour.ContourNumber for contour in plain(output).ROIContourSequence[1].ContourSequence]
    assert numbers == [10, 12, 13, 14, 15]


def test_a_target_without_contours_gets_some(series):
    path = structure_set(series, Roi("Heart", [(1, SQUARE)]), Roi("GTV"))
    dataset = plain(path)
    del dataset.ROIContourSequence[1]
    save(path, dataset)

    output, after = changed_on_slices(path, series, [2, 3])

    assert list(plain(output).ROIContourSequence[1].ROIDisplayColor) == [230, 60, 60]
    assert np.array_equal(read(output, series), after)
    assert np.array_equal(read(output, series, "Heart")[1], square())


def test_contours_too_long_for_explicit_values_change_the_transfer_syntax(tmp_path):
    series = write_ct_series(tmp_path / "ct", np.zeros((2, 100, 100), np.int16), GEOMETRIES["oblique"])
    path = structure_set(series, Roi("GTV"))
    after = np.zeros((2, 100, 100), bool)
    after[1, ::4] = after[1, 1::4, ::2] = after[1, :, 0] = True  # a comb with notched teeth
    output = tmp_path / "out.dcm"

    write_changed_roi(output, path, "GTV", (np.zeros_like(after), after), volume_of(series), [series.folder])

    written = plain(output)
    assert len(contour_bytes(written.ROIContourSequence[0].ContourSequence[0])) > 65534
    assert written.file_meta.TransferSyntaxUID == pydicom.uid.ImplicitVRLittleEndian
    assert np.array_equal(read(output, series), after)


def test_the_output_may_lie_among_the_slices_and_the_folder_is_still_read(series):
    output = series.folder / "rs.dcm"
    mask = blobs(SHAPE)
    write_alone(output, mask, "GTV", volume_of(series), series.folder)

    assert np.array_equal(read(output, series), mask)
