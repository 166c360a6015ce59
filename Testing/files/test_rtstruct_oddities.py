"""RT Structure Sets as other programs write them: what was meant is read, the rest stays, and that is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.files.contour_polygons import filled_nested
from context_propagation.files.image_files import read_source_volume
from context_propagation.files.rtstruct_writing import write_changed_roi
from context_propagation.files.segmentation import Wanted
from context_propagation.segmentations.segmentation_files import read_together

pydicom = pytest.importorskip("pydicom")
from dicom_files import Geometry, Roi, Series, save, write_ct_series  # noqa: E402
from structure_sets import SHAPE, read, structure_set  # noqa: E402


def box(j: tuple[int, int], i: tuple[int, int]) -> list[tuple[float, float]]:
    """A contour halfway between voxels: it encloses the voxels from the first to the last index."""
    return [(j[0] - 0.5, i[0] - 0.5), (j[0] - 0.5, i[1] + 0.5), (j[1] + 0.5, i[1] + 0.5), (j[1] + 0.5, i[0] - 0.5)]


def voxels(*boxes: tuple[tuple[int, int], tuple[int, int]]) -> np.ndarray:
    """The union of boxes of voxels on one slice."""
    mask = np.zeros(SHAPE[1:], bool)
    for (top, bottom), (left, right) in boxes:
        mask[max(top, 0) : bottom + 1, max(left, 0) : right + 1] = True
    return mask


OUTER, OVERLAPPING, APART = ((5, 10), (6, 12)), ((8, 13), (10, 17)), ((15, 17), (2, 4))
SQUARE = box(*OUTER)


def propagated(path: Path, series: Series, before: np.ndarray, after: np.ndarray, name: str = "GTV") -> pydicom.Dataset:
    output = path.with_name("out.dcm")
    write_changed_roi(output, path, name, (before, after), read_source_volume([series.folder]), [series.folder])
    return pydicom.dcmread(output)


def test_a_contour_that_is_to_be_moved_is_refused(series):
    path = structure_set(series, Roi("GTV", [(2, SQUARE)]))
    dataset = pydicom.dcmread(path)
    (contour,) = dataset.ROIContourSequence[0].ContourSequence
    for offset in ([0, 0, 0], [0, 0, 2.5]):
        contour.ContourOffsetVector = offset
        save(path, dataset, dataset.file_meta.TransferSyntaxUID)
        if any(offset):
            with pytest.raises(UserInputError, match=r"is to be moved \(ContourOffsetVector\)"):
                read(path, series)
        else:
            assert np.array_equal(read(path, series)[2], voxels(OUTER))


# Contours that share a slice


def test_contours_that_overlap_in_part_are_united_and_that_is_said(series, caplog):
    path = structure_set(series, Roi("GTV", [(2, SQUARE), (2, box(*OVERLAPPING)), (2, box(*APART))]))

    mask = read(path, series)

    assert np.array_equal(mask[2], voxels(OUTER, OVERLAPPING, APART))
    assert "has contours on slices 2 that overlap in part; they are united" in caplog.text


@pytest.mark.parametrize("again", [SQUARE, SQUARE[::-1], SQUARE[2:] + SQUARE[:2], [*SQUARE, SQUARE[0]],
                                   [(j + 0.1, i - 0.1) for j, i in SQUARE]])  # fmt: skip
def test_a_contour_that_repeats_counts_once_and_that_is_said(series, caplog, again):
    mask = read(structure_set(series, Roi("GTV", [(2, SQUARE), (2, again)])), series)

    assert np.array_equal(mask[2], voxels(OUTER))
    assert "has contours on slices 2 that repeat; they count once" in caplog.text


def test_a_repeated_contour_with_a_hole_keeps_its_hole(series):
    hole = ((7, 8), (8, 10))
    contours = [(2, SQUARE), (2, box(*hole)), (2, SQUARE), (2, box(*hole))]

    assert np.array_equal(read(structure_set(series, Roi("GTV", contours)), series)[2], voxels(OUTER) & ~voxels(hole))


def test_an_island_in_a_hole_is_inside(series):
    wide, hole, island = ((1, 18), (1, 20)), ((4, 15), (4, 17)), ((8, 10), (8, 10))
    path = structure_set(series, Roi("GTV", [(2, box(*hole)), (2, box(*island)), (2, box(*wide))]))

    assert np.array_equal(read(path, series)[2], voxels(wide) & ~voxels(hole) | voxels(island))


def test_a_contour_that_overlaps_an_outer_one_fills_its_part_of_the_hole(series):
    wide, hole, across = ((1, 18), (1, 14)), ((4, 15), (4, 11)), ((9, 10), (8, 20))
    path = structure_set(series, Roi("GTV", [(2, box(*one)) for one in (wide, hole, across)]))

    assert np.array_equal(read(path, series)[2], voxels(wide) & ~voxels(hole) | voxels(across))


def test_a_wall_one_voxel_thick_is_a_wall():
    j, i = np.mgrid[:90, :90]
    turn = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    circles = [np.column_stack([45 + r * np.sin(turn), 45 + r * np.cos(turn)]) for r in (40, 39)]

    found = filled_nested(circles, (90, 90))

    distance = np.hypot(j - 45, i - 45)
    assert (found.overlapping, found.repeated) == (0, 0)
    assert not found.mask[distance < 38.9].any()
    assert found.mask[(distance > 39.05) & (distance < 39.95)].all()


def test_exclusive_or_stays_for_contours_of_that_type(series):
    path = structure_set(series, Roi("GTV", [(2, SQUARE), (2, box(*OVERLAPPING))], kind="CLOSEDPLANAR_XOR"))

    assert np.array_equal(read(path, series)[2], voxels(OUTER) ^ voxels(OVERLAPPING))


# One ROI in several items, several ROIs of one name


def test_an_roi_whose_contours_are_split_over_two_items_is_read_and_written_whole(series):
    path = structure_set(series, Roi("GTV", [(1, SQUARE)]), Roi("Heart", [(k, box(*APART)) for k in (2, 3)]))
    dataset = pydicom.dcmread(path)
    dataset.ROIContourSequence[1].ReferencedROINumber = dataset.ROIContourSequence[0].ReferencedROINumber
    save(path, dataset)

    before = read(path, series)
    assert [int(slice_.sum()) for slice_ in before] == [0, 42, 9, 9, 0, 0]

    after = before.copy()
    after[2] = voxels(OUTER)
    propagated(path, series, before, after)
    assert np.array_equal(read(path.with_name("out.dcm"), series), after)


@pytest.mark.parametrize("order", [1, -1])
def test_of_rois_of_one_name_the_one_with_contours_is_taken(series, order):
    path = structure_set(series, *[Roi("GTV"), Roi("GTV", [(2, SQUARE)])][::order])

    assert np.array_equal(read(path, series)[2], voxels(OUTER))


def test_rois_of_one_name_are_told_apart_by_number(series):
    path = structure_set(series, Roi("GTV", [(1, SQUARE)]), Roi("GTV", [(2, box(*APART))]))

    with pytest.raises(
        UserInputError, match=r"its ROIs are 'GTV', 'GTV' \(numbers 3, 7\): .* by its name or its number"
    ):
        read(path, series)

    assert np.flatnonzero(read(path, series, "7").any(axis=(1, 2))).tolist() == [2]
    volume = read_source_volume([series.folder])
    (found,) = read_together([path], Wanted("7", (1,)), volume, [series.folder])
    assert found.name == "GTV"


def test_a_name_that_is_a_number_comes_before_the_number(series):
    path = structure_set(series, Roi("7", [(1, SQUARE)]), Roi("Heart", [(2, SQUARE)]))

    assert np.flatnonzero(read(path, series, "7").any(axis=(1, 2))).tolist() == [1]


# Another series of the frame


def test_a_structure_set_of_another_phase_of_the_frame_is_read_and_that_is_said(series, tmp_path, caplog):
    frame = series.slices[0].FrameOfReferenceUID
    other = write_ct_series(tmp_path / "phase", np.zeros(SHAPE, np.int16), FrameOfReferenceUID=frame)
    path = structure_set(other, Roi("GTV", [(2, SQUARE)]))

    assert np.array_equal(read(path, series)[2], voxels(OUTER))
    assert "was drawn on another series than" in caplog.text
    caplog.clear()
    read(path, other)
    assert not caplog.messages


# Beside the image


def test_contours_beyond_the_slices_stay_in_the_file_and_those_on_the_image_are_read(series, caplog):
    path = structure_set(series, Roi("GTV", [(k, SQUARE) for k in range(-3, 3)]), references=False)

    before = read(path, series)

    assert np.flatnonzero(before.any(axis=(1, 2))).tolist() == [0, 1, 2]
    assert "beside the image, by up to 6.25 mm: 3 of its 6 contours beyond the slices, 0 reaching over" in caplog.text
    after = before.copy()
    after[1] = voxels(APART)
    written, given = propagated(path, series, before, after), pydicom.dcmread(path)
    kept = [contour.ContourData for contour in given.ROIContourSequence[0].ContourSequence]
    assert [one.ContourData for one in written.ROIContourSequence[0].ContourSequence[:5]] == kept[:4] + kept[5:]
    assert np.array_equal(read(path.with_name("out.dcm"), series), after)


def test_what_reaches_over_the_edge_of_a_changed_slice_stays(series, caplog):
    over_the_edge = ((5, 10), (20, 30))  # the slice ends at column 25
    path = structure_set(series, Roi("GTV", [(2, box(*over_the_edge))]))
    before = read(path, series)
    assert np.array_equal(before[2], voxels(over_the_edge))
    assert "0 of its 1 contours beyond the slices, 1 reaching over the edge" in caplog.text

    after = before.copy()
    after[2] = voxels(((7, 8), (22, 25)))
    written = propagated(path, series, before, after)

    assert np.array_equal(read(path.with_name("out.dcm"), series), after)
    wide = write_ct_series(series.folder.parent / "wide", np.zeros((6, 20, 40), np.int16))
    for name, value in (("FrameOfReferenceUID", series.slices[0].FrameOfReferenceUID),):
        for file in wide.folder.glob("*.dcm"):
            dataset = pydicom.dcmread(file)
            setattr(dataset, name, value)
            save(file, dataset)
    beside = read(path.with_name("out.dcm"), wide)[2, :, 26:]
    assert np.array_equal(np.argwhere(beside).min(0), [5, 0])
    assert np.array_equal(np.argwhere(beside).max(0), [10, 4])
    assert beside.sum() == 6 * 5
    assert len(written.ROIContourSequence[0].ContourSequence) >= 1


def test_how_far_contours_reach_beside_the_image_is_told_in_mm(tmp_path, caplog):
    thin = write_ct_series(tmp_path / "thin", np.zeros(SHAPE, np.int16), Geometry(spacing_ji=(0.8, 1.5)))

    read(structure_set(thin, Roi("GTV", [(2, box((-4, 3), (20, 30)))])), thin)  # 4 rows, 5 columns
    read(structure_set(thin, Roi("GTV", [(0, SQUARE), (7, SQUARE)]), references=False), thin)  # the last slice is 5

    assert [line.split(": ")[0].rpartition("by ")[2] for line in caplog.messages] == ["up to 7.50 mm", "up to 3.75 mm"]


# Bytes that are not the target's


def test_names_that_do_not_fit_the_character_set_are_handed_on_byte_by_byte(series):
    path = structure_set(series, Roi("Mandibula", [(1, SQUARE)]), Roi("GTV", [(2, SQUARE)]), Roi("Auge", [(3, SQUARE)]))
    odd = [b"Mand\xff\xfe\x81la", b"Au\xe9\xa4"]  # of the same length as the names
    content = path.read_bytes().replace(b"ISO_IR 100", b"ISO_IR 192")
    for name, other in zip((b"Mandibula", b"Auge"), odd, strict=True):
        assert len(name) == len(other)
        content = content.replace(name, other)
    path.write_bytes(content)
    before = read(path, series)
    after = before.copy()
    after[2] = voxels(APART)

    propagated(path, series, before, after)

    written = path.with_name("out.dcm").read_bytes()
    assert all(name in written for name in odd)
    assert np.array_equal(read(path.with_name("out.dcm"), series), after)


def test_decimal_strings_that_are_too_long_are_shortened_and_that_is_said(series, caplog):
    path = structure_set(series, Roi("Heart", [(1, SQUARE)]), Roi("GTV", [(2, SQUARE), (3, SQUARE)]))
    dataset = pydicom.dcmread(path)
    exact = {}
    for number, item in enumerate(dataset.ROIContourSequence):
        for contour in item.ContourSequence:
            contour.ContourData = [f"{float(value) + 1.23456789e-9:.15f}" for value in contour.ContourData]
            exact.setdefault(number, []).append([float(value) for value in contour.ContourData])
    with pydicom.config.disable_value_validation():
        save(path, dataset)
    before = read(path, series)
    after = before.copy()
    after[2] = voxels(APART)

    written = propagated(path, series, before, after)

    for number, which in ((0, 0), (1, 1)):
        contour = written.ROIContourSequence[number].ContourSequence[0]
        words = bytes(contour.get_item("ContourData").value).decode().strip().split("\\")
        assert max(map(len, words)) <= 16
        assert np.allclose([float(word) for word in words], exact[number][which], rtol=0, atol=1e-9)
    assert "24 numbers of more than 16 characters, which DICOM does not allow, are shortened to 16" in caplog.text
