"""RT Structure Sets on the image's grid: each contour encloses its voxels, ours and those of other programs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from context_propagation.files.contour_polygons import filled_polygons, traced_polygons

pydicom = pytest.importorskip("pydicom")
from dicom_files import GEOMETRIES, Roi, write_ct_series  # noqa: E402
from structure_sets import (  # noqa: E402
    FEW_GEOMETRIES,
    INNER,
    SHAPE,
    SQUARE,
    blobs,
    plain,
    read,
    square,
    structure_set,
    volume_of,
    written_anew,
)


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
