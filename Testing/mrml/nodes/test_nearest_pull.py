import itertools

import numpy as np
import pytest

from context_propagation.core.image.boxes import bounding_box, box_shape
from context_propagation.mrml.nodes import nearest_pull
from context_propagation.mrml.nodes.nearest_pull import mapped_box, pull_nearest

SOURCE = np.random.default_rng(0).integers(1, 9, (5, 6, 7))
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
    monkeypatch.setattr(nearest_pull, "_is_axis_aligned", lambda _: False)

    assert fast.any()
    assert np.array_equal(fast, pull_nearest(SOURCE, matrix, BOX))


def test_mapped_box_holds_every_voxel_whose_nearest_source_voxel_lies_in_the_box(rotate):
    matrix = rotate(33, (1, 2, 3)) @ np.diag([0.7, 1.3, 0.9, 1])
    source = np.zeros((9, 9, 9), bool)
    source[2:5, 3:7, 4:6] = True
    box = mapped_box(bounding_box(source), np.linalg.inv(matrix))
    wide = tuple((start - 6, stop + 6) for start, stop in box)

    assert pull_nearest(source, matrix, wide).sum() == pull_nearest(source, matrix, box).sum()
    assert box_shape(box)[0] < 12
