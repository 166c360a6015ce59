"""Contours moved within slices: by hand on rectangles, and against scipy's distances."""

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from context_propagation.core.image.contour_offset import best_offset_mm, contour_depth_mm, fit, moved_outwards

SPACING = (3.0, 0.5, 1.0)


def rectangle(shape=(3, 24, 20), j=(8, 16), i=(6, 14)):
    mask = np.zeros(shape, bool)
    mask[1, slice(*j), slice(*i)] = True
    return mask


@pytest.mark.parametrize(
    ("offset", "j", "i"), [(0.0, (8, 16), (6, 14)), (1.0, (6, 18), (5, 15)), (-1.0, (10, 14), (7, 13))]
)
def test_a_rectangle_is_moved_in_mm_within_its_slice_alone(offset, j, i):
    """Voxels of 0.5 x 1 mm: 1 mm is two rows and one column; no voxel of the neighbouring slices is taken."""
    moved = moved_outwards(contour_depth_mm(rectangle(), 0, SPACING), offset)
    expected = rectangle(j=j, i=i)
    corners = np.ix_([1], [j[0], j[1] - 1], [i[0], i[1] - 1])
    if offset > 0:  # a disc around each voxel leaves the corners out
        moved[corners] = expected[corners] = True
        differing = np.argwhere(moved != expected)
        assert all(min(abs(y - j[0]), abs(y - j[1] + 1)) <= 1 for _, y, _ in differing)
    else:
        assert np.array_equal(moved, expected)
    assert not moved[[0, 2]].any()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_depths_are_the_distances_to_the_nearest_voxel_beyond_the_contour(axis):
    mask = np.random.default_rng(1).random((5, 9, 8)) < 0.4
    plane = [mm for a, mm in enumerate(SPACING) if a != axis]
    depth = contour_depth_mm(mask, axis, SPACING)
    for number in range(mask.shape[axis]):
        inside, found = mask.take(number, axis), depth.take(number, axis)
        outside_way = distance_transform_edt(~inside, plane)
        assert np.allclose(found[~inside], -outside_way[~inside], atol=1e-4)
        assert (found[inside] >= 0).all()


def test_an_empty_slice_stays_empty_however_far_contours_are_moved():
    assert not moved_outwards(contour_depth_mm(np.zeros((2, 4, 4), bool), 0, SPACING), 4.0).any()


@pytest.mark.parametrize("offset", [-1.0, 0.0, 1.5, 2.0])
def test_the_offset_by_which_a_drawing_was_made_is_found(offset):
    depth = contour_depth_mm(rectangle((3, 60, 40), (20, 40), (10, 30)), 0, (3.0, 0.5, 0.5))
    found = best_offset_mm(depth, moved_outwards(depth, offset))
    assert abs(found) <= abs(offset)  # of those that give the same mask the smallest
    assert np.array_equal(moved_outwards(depth, found), moved_outwards(depth, offset))


def test_where_nothing_tells_offsets_apart_none_is_taken():
    nothing = np.zeros((1, 5, 5), bool)
    assert best_offset_mm(contour_depth_mm(nothing, 0, (1.0, 1.0, 1.0)), nothing) == 0


def test_the_fit_is_the_dsc_of_all_slices_together():
    mask, drawn = np.array([[1, 1, 0, 0], [1, 0, 0, 0]], bool), np.array([[1, 0, 0, 0], [1, 1, 1, 0]], bool)
    assert fit(mask, drawn) == pytest.approx(2 * 2 / (3 + 4))
