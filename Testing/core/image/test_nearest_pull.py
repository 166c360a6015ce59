import itertools

import numpy as np
import pytest

from context_propagation.core.image import nearest_pull
from context_propagation.core.image.boxes import bounding_box, box_shape
from context_propagation.core.image.nearest_pull import mapped_box, pull_nearest

SOURCE = np.random.default_rng(0).integers(1, 9, (5, 6, 7))


def turned(degrees, axis):
    """A rotation `[4, 4]` about an axis, by Rodrigues' formula."""
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    cross, matrix = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]), np.eye(4)
    angle = np.radians(degrees)
    matrix[:3, :3] += np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return matrix


BOX = ((-2, 8), (-1, 9), (0, 11))


def test_identity_pull_returns_the_source_and_zeros_outside():
    pulled = pull_nearest(SOURCE, np.eye(4), ((-1, 5), (0, 6), (0, 8)))

    assert np.array_equal(pulled[1:, :, :7], SOURCE)
    assert not pulled[0].any()
    assert not pulled[:, :, 7].any()


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (-1, -1, -1)])
def test_pull_along_axes_equals_the_general_pull(order, signs, monkeypatch):
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for row, column in enumerate(order):
        matrix[row, column] = signs[row] * (1, 0.5, 1.7)[row]
        matrix[row, 3] = (3.2, 5, 1.5)[row]

    fast = pull_nearest(SOURCE, matrix, BOX)
    monkeypatch.setattr(nearest_pull, "is_axis_aligned", lambda _: False)

    assert fast.any()
    assert np.array_equal(fast, pull_nearest(SOURCE, matrix, BOX))


@pytest.mark.parametrize("ratio", [0.25, 1 / 3, 0.5, 1.0, -1.0, -0.5])
@pytest.mark.parametrize("offset", [0.0, 0.25, 0.5])
def test_what_is_pulled_one_way_is_what_would_be_pulled_back(ratio, offset):
    """Every target voxel of a grid that is as fine or finer takes its value back from a voxel of its own."""
    fine_to_coarse = np.diag([ratio, 1.0, 1.0, 1.0])
    fine_to_coarse[0, 3] = offset if ratio > 0 else 11 + offset
    labels = np.arange(12).reshape(1, 1, 12)
    fine = pull_nearest(labels, fine_to_coarse, ((0, 1), (0, 1), (0, 48)))

    back = pull_nearest(fine, np.linalg.inv(fine_to_coarse), ((0, 1), (0, 1), (0, 12)), back=True)

    inner = slice(2, 10)
    assert np.array_equal(back[0, 0, inner], labels[0, 0, inner])


def test_mapped_box_holds_every_voxel_whose_nearest_source_voxel_lies_in_the_box():
    matrix = turned(33, (1, 2, 3)) @ np.diag([0.7, 1.3, 0.9, 1])
    source = np.zeros((9, 9, 9), bool)
    source[2:5, 3:7, 4:6] = True
    box = mapped_box(bounding_box(source), np.linalg.inv(matrix))
    wide = tuple((start - 6, stop + 6) for start, stop in box)

    assert pull_nearest(source, matrix, wide).sum() == pull_nearest(source, matrix, box).sum()
    assert box_shape(box)[0] < 12
