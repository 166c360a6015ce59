"""Which ROI of a structure set is meant, and what is refused."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.files.rtstruct_reading import read_roi

pydicom = pytest.importorskip("pydicom")
from dicom_files import Roi, Series, save, write_ct_series  # noqa: E402
from structure_sets import SHAPE, SQUARE, plain, read, square, structure_set, volume_of  # noqa: E402

pytestmark = pytest.mark.usefixtures("models_loaded_once")


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
