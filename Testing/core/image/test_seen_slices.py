"""Which voxels of a grid make up a slice of the image: compared with the corners of each voxel, one by one."""

import itertools

import numpy as np
import pytest

from context_propagation.core.image.boxes import box_of
from context_propagation.core.image.own_grid import OwnGrid
from context_propagation.core.image.seen_slices import voxels_of_slices

IMAGE = (9, 10, 11)
BOX = box_of([(-2, 9), (1, 12), (0, 7)])


def turned(degrees, ratio, mirrored=False):
    """From own indices (i, j, k) to the image's: turned about i, and coarser or finer along each axis."""
    turn = np.radians(degrees)
    matrix = np.eye(4)
    matrix[1:3, 1:3] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    matrix[:3, :3] *= ratio[::-1]
    matrix[:3, 3] = (0.3, -1.1, 0.2)
    if mirrored:
        matrix[:, 2] *= -1
        matrix[2, 3] = 8
    return matrix


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("ratio", [(1, 1, 1), (0.4, 1, 0.7), (3.1, 0.6, 1)])
@pytest.mark.parametrize("degrees", [0, 4, 14, 40, 87])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_they_are_those_whose_middle_lies_in_the_slice_and_those_that_its_middle_cuts(axis, degrees, ratio, mirrored):
    grid = OwnGrid((9, 12, 8), IMAGE, turned(degrees, ratio, mirrored))
    k, j, i = (grid_points + start for grid_points, (start, _) in zip(np.indices((11, 11, 7)), BOX, strict=True))
    row = grid.image_from_own_ijk[2 - axis]
    corners = [
        np.round(row[0] * (i + di) + row[1] * (j + dj) + row[2] * (k + dk) + row[3], 6)
        for di, dj, dk in itertools.product((-0.5, 0.5), repeat=3)
    ]
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    slice_of_middle = np.floor(np.round(row[0] * i + row[1] * j + row[2] * k + row[3], 6) + 0.5)
    expected = np.logical_or.reduce([((low < n) & (n < high)) | (slice_of_middle == n) for n in (3, 4, 6)])

    found = voxels_of_slices(grid, [(axis, 6), (axis, 3), (axis, 4)], BOX)

    assert expected.any() or degrees == 87
    assert np.array_equal(found, expected)
