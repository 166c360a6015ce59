"""RT Structure Sets: read onto the image's grid, written back with everything that did not change."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from ball_images import EDITED_SLICE, ball_mask, edited_mask
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.files.contour_polygons import filled_polygons, traced_polygons
from context_propagation.files.dicom_series import series_for
from context_propagation.files.image_files import read_source_volume
from context_propagation.files.rtstruct_reading import read_roi
from context_propagation.files.rtstruct_writing import (
    PROPAGATED,
    SEMIAUTOMATIC,
    write_changed_roi,
    write_new_structure_set,
)
from context_propagation.files.structures import Structure

pydicom = pytest.importorskip("pydicom")
from dicom_files import GEOMETRIES, Roi, Series, save, write_ct_series, write_structure_set  # noqa: E402

pytestmark = pytest.mark.usefixtures("models_loaded_once")

SHAPE = (6, 20, 26)

SQUARE = [(4.5, 5.5), (4.5, 12.5), (10.5, 12.5), (10.5, 5.5)]
"""Encloses the voxels j 5 to 10, i 6 to 12."""


FEW_GEOMETRIES = ("thick slices from the top", "sagittal", "oblique")
"""Slices counted the other way, other axes, and none of the patient's axes."""


def square() -> np.ndarray:
    mask = np.zeros(SHAPE[1:], bool)
    mask[5:11, 6:13] = True
    return mask


@pytest.fixture
def series(tmp_path) -> Series:
    return write_ct_series(tmp_path / "ct", np.zeros(SHAPE, np.int16))


def volume_of(series: Series) -> SourceVolume:
    return read_source_volume([series.folder])


def read(path: Path, series: Series, name: str = "GTV") -> np.ndarray:
    return read_roi(path, name, volume_of(series), [series.folder]).mask


def structure_set(series: Series, *rois: Roi, **options) -> Path:
    return write_structure_set(series.folder.parent / "rs.dcm", series, rois, **options)


def blobs(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """Random blobs with holes, some cut by the border, and single voxels."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=shape), (0.7, 1.5, 1.5))
    return (field > 0.4 * field.std()) | (rng.random(shape) < 0.02)


def written_anew(mask: np.ndarray, series: Series, name: str = "GTV") -> Path:
    path = series.folder.parent / "new.dcm"
    write_alone(path, mask, name, volume_of(series), series.folder)
    return path


def write_alone(path: Path, mask: np.ndarray, name: str, volume: SourceVolume, folder: Path) -> None:
    """As the only ROI."""
    series = series_for(path, [folder], volume)
    write_new_structure_set(path, [Structure.of(name, mask)], volume, series, SEMIAUTOMATIC, PROPAGATED)


def plain(path: Path) -> pydicom.Dataset:
    return pydicom.dcmread(path)


# Geometry


@pytest.mark.parametrize("keyholes", [True, False])
@pytest.mark.parametrize("density", [0.1, 0.4, 0.6, 0.9])
def test_traced_polygons_enclose_exactly_the_mask(density, keyholes):
    rng = np.random.default_rng(0)
    for _ in range(5):
        mask = rng.random((17, 23)) < density
        assert np.array_equal(filled_polygons(traced_polygons(mask, keyholes), mask.shape), mask)


def test_a_single_voxel_is_a_diamond_around_its_centre():
    mask = np.zeros((5, 6), bool)
    mask[2, 3] = True

    (polygon,) = traced_polygons(mask)

    assert sorted(map(tuple, polygon.tolist())) == [(1.5, 3), (2, 2.5), (2, 3.5), (2.5, 3)]


def test_a_keyhole_s_channel_is_run_through_twice_and_encloses_nothing():
    mask = np.ones((7, 7), bool)
    mask[3, 3] = False

    (joined,) = traced_polygons(mask)
    outer, hole = traced_polygons(mask, keyholes=False)

    edges = np.stack([joined, np.roll(joined, -1, axis=0)], axis=1).tolist()
    assert len([edge for edge in edges if edge[::-1] in edges]) == 2
    assert _area(joined) == pytest.approx(_area(outer) - _area(hole))


def _area(polygon: np.ndarray) -> float:
    y, x = polygon.T
    return abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2


@pytest.mark.quick(geometry=FEW_GEOMETRIES)
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_contours_land_on_the_voxels_that_they_enclose_in_the_patient(tmp_path, geometry):
    series = write_ct_series(tmp_path / "ct", np.zeros(SHAPE, np.int16), geometry)
    path = structure_set(series, Roi("GTV", [(1, SQUARE), (4, SQUARE)]))

    mask = read(path, series)

    # the expected voxels by patient coordinates alone: the ITK image may count its slices the other way
    drawn = np.array([(k, j, i) for k in (1, 4) for j in range(5, 11) for i in range(6, 13)])
    image = volume_of(series).mask_to_sitk(mask)
    found = {image.TransformPhysicalPointToIndex(point) for point in geometry.lps(drawn).tolist()}
    assert {tuple(index) for index in np.argwhere(mask)[:, ::-1].tolist()} == found


@pytest.mark.quick(geometry=FEW_GEOMETRIES)
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_what_is_written_is_read_back_voxel_for_voxel(tmp_path, geometry):
    series = write_ct_series(tmp_path / "ct", np.zeros(SHAPE, np.int16), geometry)
    mask = blobs(SHAPE)

    path = written_anew(mask, series)

    assert np.array_equal(read(path, series), mask)
    values = [str(v) for c in plain(path).ROIContourSequence[0].ContourSequence for v in c.ContourData]
    assert max(map(len, values)) <= 16


def test_a_contour_moved_by_less_than_half_a_voxel_gives_the_same_voxels(series):
    moved = [(j + 0.45, i - 0.45) for j, i in SQUARE]

    assert np.array_equal(read(structure_set(series, Roi("GTV", [(2, moved)])), series)[2], square())


INNER = [(6.5, 7.5), (6.5, 10.5), (8.5, 10.5), (8.5, 7.5)]
KEYHOLE = [*SQUARE[:2], (7.0, 12.5), (7.0, 10.5), (6.5, 10.5), (6.5, 7.5), (8.5, 7.5), (8.5, 10.5), (7.0, 10.5),
           (7.0, 12.5), *SQUARE[2:]]  # fmt: skip


@pytest.mark.parametrize(
    "roi",
    [
        Roi("GTV", [(2, SQUARE), (2, INNER)]),
        Roi("GTV", [(2, INNER), (2, SQUARE)], kind="CLOSEDPLANAR_XOR"),
        Roi("GTV", [(2, KEYHOLE)]),  # its channel runs through voxel centres
    ],
    ids=["two contours", "xor", "keyhole"],
)
def test_holes_are_left_out(series, roi):
    expected = square()
    expected[7:9, 8:11] = False

    mask = read(structure_set(series, roi), series)

    assert np.array_equal(mask[2], expected)
    assert not np.delete(mask, 2, axis=0).any()


def test_contours_that_touch_on_voxel_centres_leave_no_gap(series):
    left, right = ([(4, a), (4, b), (9, b), (9, a)] for a, b in ((2, 5), (5, 8)))
    mask = read(structure_set(series, Roi("GTV", [(2, left), (2, right)])), series)

    expected = np.zeros_like(mask[2])
    expected[4:10, 2:9] = True
    assert np.array_equal(mask[2], expected)


def test_a_hole_whose_edge_runs_through_voxel_centres_keeps_its_edge(series):
    hole = [(6, 7), (6, 11), (9, 11), (9, 7)]
    mask = read(structure_set(series, Roi("GTV", [(2, SQUARE), (2, hole)])), series)

    expected = square()
    expected[7:9, 8:11] = False
    assert np.array_equal(mask[2], expected)


# Which ROI, and what is refused


def test_an_roi_is_found_by_name_before_case(series):
    path = structure_set(series, Roi("gtv", [(1, SQUARE)]), Roi("GTV", [(2, SQUARE)]), Roi("Heart", [(3, SQUARE)]))

    assert np.flatnonzero(read(path, series).any(axis=(1, 2))).tolist() == [2]
    assert np.flatnonzero(read(path, series, "HEART").any(axis=(1, 2))).tolist() == [3]
    others = read_roi(path, "Heart", volume_of(series), [series.folder]).others
    assert others == ("the ROI 'gtv' (1 contour)", "the ROI 'GTV' (1 contour)")


@pytest.mark.parametrize("name", ["Gtv", "Liver"])
def test_an_ambiguous_or_missing_name_is_refused_with_those_that_are_there(series, name):
    path = structure_set(series, Roi("gtv", [(1, SQUARE)]), Roi("GTV", [(2, SQUARE)]))

    with pytest.raises(UserInputError, match=rf"named '{name}'; its ROIs are 'gtv', 'GTV'"):
        read(path, series, name)


def test_the_only_roi_is_taken_whatever_its_name_and_that_is_said(series, caplog):
    path = structure_set(series, Roi("GTVp", [(2, SQUARE)]))

    with caplog.at_level(logging.WARNING):
        assert np.array_equal(read(path, series)[2], square())

    assert caplog.messages == [f"'{path}' holds the ROI 'GTVp' only; it is taken as GTV"]


def test_an_roi_without_contours_is_empty(series):
    path = structure_set(series, Roi("GTV"), Roi("Heart", [(1, SQUARE)]))

    assert not read(path, series).any()


def test_missing_references_to_slices_do_no_harm(series):
    path = structure_set(series, Roi("GTV", [(2, SQUARE)]), references=False)

    assert np.array_equal(read(path, series)[2], square())


def test_another_frame_of_reference_is_refused_with_both(series, tmp_path):
    other = write_ct_series(tmp_path / "other", np.zeros(SHAPE, np.int16))
    path = structure_set(other, Roi("GTV", [(2, SQUARE)]))

    with pytest.raises(UserInputError, match="belongs to another series") as refused:
        read(path, series)

    assert other.slices[0].FrameOfReferenceUID in str(refused.value)
    assert series.slices[0].FrameOfReferenceUID in str(refused.value)


def test_of_two_channels_the_series_of_the_structure_set_is_taken(series, tmp_path):
    pet = write_ct_series(tmp_path / "pet", np.zeros(SHAPE, np.int16))
    path = structure_set(series, Roi("GTV", [(2, SQUARE)]))

    mask = read_roi(path, "GTV", volume_of(series), [pet.folder, series.folder]).mask

    assert np.array_equal(mask[2], square())


def tilted_structure_set(series: Series) -> Path:
    """Half of the contour is half a slice higher."""
    path = structure_set(series, Roi("GTV", [(2, SQUARE)]))
    dataset = plain(path)
    contour = dataset.ROIContourSequence[0].ContourSequence[0]
    points = np.array(contour.ContourData, float).reshape(-1, 3)
    points[:2, 2] += 1.25
    contour.ContourData = points.ravel().tolist()
    save(path, dataset)
    return path


def test_a_tilted_contour_is_refused(series):
    with pytest.raises(UserInputError, match=r"is not parallel to the slices \(its points differ by 1\.25 mm"):
        read(tilted_structure_set(series), series)


def test_an_roi_beyond_the_slices_is_refused(series):
    with pytest.raises(UserInputError, match=r"is 1\.75 mm off the nearest slice plane, and slices are 2\.5 mm apart"):
        read(structure_set(series, Roi("GTV", [(5.7, SQUARE)]), references=False), series)


def test_a_contour_between_slices_goes_to_the_nearest_and_that_is_said(series, caplog):
    mask = read(structure_set(series, Roi("GTV", [(2.4, SQUARE)])), series)

    assert np.array_equal(mask[2], square())
    assert "contours up to 1 mm off the slices" in caplog.text


def test_contours_of_thinner_slices_are_refused(series):
    with pytest.raises(UserInputError, match="has contours on 2 planes that fall on slice 2"):
        read(structure_set(series, Roi("GTV", [(1.8, SQUARE), (2.2, SQUARE)])), series)


def test_contours_beside_the_image_are_refused(series):
    beside = [(j + 100, i) for j, i in SQUARE]

    with pytest.raises(UserInputError, match="does not overlap the image"):
        read(structure_set(series, Roi("GTV", [(2, beside)])), series)


@pytest.mark.parametrize("kind", ["POINT", "OPEN_PLANAR"])
def test_open_contours_are_refused(series, kind):
    with pytest.raises(UserInputError, match=f"holds a contour of type {kind}; give closed planar contours"):
        read(structure_set(series, Roi("GTV", [(2, SQUARE)], kind=kind)), series)


def test_a_ct_slice_is_no_structure_set(series):
    with pytest.raises(UserInputError, match="is not an RT Structure Set but 'CT Image Storage'"):
        read(series.folder / "001.dcm", series)


@pytest.mark.quick(step=809)
@pytest.mark.parametrize("step", [101, 809])
def test_a_truncated_file_never_gives_fewer_contours(series, step):
    path = structure_set(series, Roi("GTV", [(k, SQUARE) for k in range(3)]), Roi("Heart", [(1, SQUARE)]))
    content, whole = path.read_bytes(), read(path, series)
    start_of_last = content.index(b"\x06\x30\x80\x00")  # RT ROI Observations Sequence

    for length in range(1, start_of_last, step):
        path.write_bytes(content[:length])
        with pytest.raises(UserInputError, match=r"^[^\n]*$"):
            read(path, series)
    path.write_bytes(content[:-30])
    assert np.array_equal(read(path, series), whole)


@pytest.mark.parametrize("content", [b"", b"no DICOM", b"\0" * 128 + b"DICM" + b"\xff" * 64])
def test_what_is_no_dicom_is_refused_in_one_line(refused, propagate_arguments, ct_of_ball, tmp_path, content):
    (tmp_path / "rs.dcm").write_bytes(content)

    paths = {"initial": tmp_path / "rs.dcm", "edited": tmp_path / "rs.dcm"}
    error = refused(*propagate_arguments(image=ct_of_ball.folder, **paths))

    assert "rs.dcm' is " in error


@pytest.mark.parametrize("value", ["nan", "inf", "1.2.3", "abc"])
def test_coordinates_that_are_no_numbers_are_refused(series, value):
    path = structure_set(series, Roi("GTV", [(2, SQUARE)]))
    number = b"%+.5f" % series.geometry.lps([(2, 4.5, 5.5)])[0, 0]
    path.write_bytes(path.read_bytes().replace(number, value.encode().ljust(len(number)), 1))

    with pytest.raises(UserInputError, match="not coordinates|damaged"):
        read(path, series)


# Writing


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


def contour_bytes(contour: pydicom.Dataset) -> str:
    return "\\".join(str(value) for value in contour.ContourData)


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


# Another reader


@pytest.mark.quick(name="oblique")
@pytest.mark.parametrize("name", GEOMETRIES)
def test_plastimatch_reads_the_same_voxels(tmp_path, name):
    pytest.importorskip("plastimatch")
    series = write_ct_series(tmp_path / "ct", np.zeros(SHAPE, np.int16), GEOMETRIES[name])
    mask = blobs(SHAPE, seed=3)
    path = written_anew(mask, series)
    command = [Path(sys.executable).with_name("plastimatch"), "convert", "--input", path]
    command += ["--referenced-ct", series.folder, "--output-prefix", tmp_path / "masks", "--prefix-format", "nrrd"]

    subprocess.run([str(part) for part in command], check=True, capture_output=True, timeout=60)

    image = sitk.ReadImage(str(tmp_path / "masks" / "GTV.nrrd"))
    ours = volume_of(series).mask_to_sitk(mask)
    theirs = sitk.Resample(image, ours, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
    assert np.array_equal(sitk.GetArrayFromImage(theirs), mask)


# The commands


@pytest.fixture
def ct_of_ball(tmp_path) -> Series:
    noise = np.random.default_rng(0).normal(size=ball_mask().shape)
    return write_ct_series(tmp_path / "ct", (20 * noise + 100 * ball_mask()).round().astype(np.int16))


def test_predict_writes_a_structure_set_of_the_series(run, predict_arguments, ct_of_ball, tmp_path):
    for name in ("out.dcm", "out.nrrd"):
        outcome = run(*predict_arguments(image=ct_of_ball.folder, output=tmp_path / name))
        assert outcome.code == 0, outcome.err

    labelmap = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out.nrrd")))
    assert np.array_equal(read(tmp_path / "out.dcm", ct_of_ball), labelmap)
    written = plain(tmp_path / "out.dcm")
    assert written.StructureSetROISequence[0].ROIGenerationAlgorithm == "AUTOMATIC"
    assert written.StructureSetLabel == "predicted"


def rois_of(mask: np.ndarray, name: str, color: tuple[int, int, int]) -> Roi:
    return Roi(name, [(k, polygon) for k in range(len(mask)) for polygon in traced_polygons(mask[k])], color)


def test_propagate_reads_and_writes_structure_sets_and_keeps_the_drawn_slice(
    run, propagate_arguments, ct_of_ball, tmp_path
):
    heart = rois_of(np.roll(ball_mask(), 3, axis=2), "Heart", (1, 2, 3))
    paths = {"image": ct_of_ball.folder}
    for name, mask in (("initial", ball_mask()), ("edited", edited_mask())):
        paths[name] = tmp_path / f"{name}.dcm"
        write_structure_set(paths[name], ct_of_ball, [heart, rois_of(mask, "GTV", (7, 8, 9))])
    for name in ("out.dcm", "out.nrrd"):
        outcome = run(*propagate_arguments(**paths, output=tmp_path / name), "--allow-loss")
        assert outcome.code == 0, outcome.err
        assert ("loses" in outcome.err) == (name == "out.nrrd")

    labelmap = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out.nrrd"))).astype(bool)
    assert np.array_equal(read(tmp_path / "out.dcm", ct_of_ball), labelmap)
    written, given = plain(tmp_path / "out.dcm"), plain(paths["edited"])
    assert written.ROIContourSequence[0] == given.ROIContourSequence[0]
    assert list(written.ROIContourSequence[1].ROIDisplayColor) == [7, 8, 9]
    changed = np.flatnonzero((labelmap ^ edited_mask()).any(axis=(1, 2)))
    assert 0 < len(changed) <= 4
    uids = {header.SOPInstanceUID for k, header in enumerate(ct_of_ball.slices) if k not in changed}
    assert ct_of_ball.slices[EDITED_SLICE].SOPInstanceUID in uids
    assert contours_on(written, uids) == contours_on(given, uids)


def test_the_roi_is_named_where_it_has_not_the_label_s_name(run, propagate_arguments, ct_of_ball, tmp_path):
    paths = {"image": ct_of_ball.folder}
    for name, mask in (("initial", ball_mask()), ("edited", edited_mask())):
        paths[name] = tmp_path / f"{name}.dcm"
        rois = [rois_of(np.roll(ball_mask(), 3, axis=2), "Heart", (1, 2, 3)), rois_of(mask, "Boost", (7, 8, 9))]
        write_structure_set(paths[name], ct_of_ball, rois)
    unnamed = run(*propagate_arguments(**paths, output=tmp_path / "out.dcm"))
    assert unnamed.code == 2
    assert "Boost" in unnamed.err
    named = run(*propagate_arguments(**paths, output=tmp_path / "out.dcm", segment="Boost"))
    assert named.code == 0, named.err
    written = plain(tmp_path / "out.dcm")
    assert [roi.ROIName for roi in written.StructureSetROISequence] == ["Heart", "Boost"]


def contours_on(dataset: pydicom.Dataset, uids: set[str]) -> list[str]:
    contours = dataset.ROIContourSequence[1].ContourSequence
    return [contour_bytes(c) for c in contours if c.ContourImageSequence[0].ReferencedSOPInstanceUID in uids]


def test_a_labelmap_edit_becomes_a_new_structure_set(run, propagate_arguments, ct_of_ball, tmp_path):
    volume, paths = volume_of(ct_of_ball), {"image": ct_of_ball.folder}
    for name, mask in (("initial", ball_mask()), ("edited", edited_mask())):
        paths[name] = tmp_path / f"{name}.nrrd"
        sitk.WriteImage(volume.mask_to_sitk(mask), str(paths[name]))

    assert run(*propagate_arguments(**paths, output=tmp_path / "out.dcm")).code == 0

    assert np.array_equal(read(tmp_path / "out.dcm", ct_of_ball)[EDITED_SLICE], edited_mask()[EDITED_SLICE])
    assert [roi.ROIName for roi in plain(tmp_path / "out.dcm").StructureSetROISequence] == ["GTV"]


def test_a_structure_set_without_dicom_series_is_refused_with_the_way_out(refused, predict_arguments, tmp_path):
    error = refused(*predict_arguments(output=tmp_path / "out.dcm"))

    assert "give that series' folder as --image, or use .seg.nrrd or .nii.gz" in error


def test_an_edited_structure_set_without_dicom_series_is_refused(refused, propagate_arguments, series):
    path = structure_set(series, Roi("GTV", [(2, SQUARE)]))

    assert "give that series' folder as --image" in refused(*propagate_arguments(edited=path))


def test_a_slice_of_the_image_is_not_overwritten(refused, predict_arguments, ct_of_ball):
    error = refused(*predict_arguments(image=ct_of_ball.folder, output=ct_of_ball.folder / "004.dcm"))

    assert "004.dcm' is a slice of the image; choose another name" in error


def test_the_edited_structure_set_is_not_overwritten(refused, propagate_arguments, ct_of_ball, tmp_path):
    path = write_structure_set(tmp_path / "rs.dcm", ct_of_ball, [rois_of(edited_mask(), "GTV", (7, 8, 9))])

    error = refused(*propagate_arguments(image=ct_of_ball.folder, initial=path, edited=path, output=path))

    assert "rs.dcm' is also another file of this run" in error


@pytest.mark.long
def test_contours_on_a_real_ct_come_back(ct_dicom, tmp_path):
    shutil.copytree(ct_dicom, tmp_path / "ct")
    volume = read_source_volume([tmp_path / "ct"])
    mask = np.zeros(volume.shape_kji, bool)
    mask[5:12, 200:240, 180:230] = blobs((7, 40, 50))
    path = tmp_path / "out.dcm"
    images = [tmp_path / "ct"]

    write_alone(path, mask, "GTV", volume, tmp_path / "ct")

    assert np.array_equal(read_roi(path, "GTV", volume, images).mask, mask)
    header = plain(sorted(ct_dicom.iterdir())[0])
    assert plain(path).FrameOfReferenceUID == header.FrameOfReferenceUID
    assert plain(path).PatientID == header.PatientID
