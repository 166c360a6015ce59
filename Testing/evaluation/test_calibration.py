"""The control without learning: what it finds on margins whose answer is known."""

import numpy as np
import pytest
from scipy import ndimage

from context_propagation.core.image.boxes import whole
from context_propagation.core.image.slices import SliceEdit
from context_propagation.evaluation.calibration import best_fit

SHAPE, SPACING = (7, 24, 24), (2.0, 1.0, 1.0)
RADIUS = np.hypot(*np.meshgrid(np.arange(24) - 11.5, np.arange(24) - 11.5))


def margins_of_disc(radius: float) -> np.ndarray:
    """Of a cylinder: the target's log odds fall by 1 for each voxel outwards, 0 at the radius."""
    return np.broadcast_to(np.tanh((radius - RADIUS) / 2), SHAPE).astype(np.float32)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_what_the_network_drew_itself_moves_nothing(axis):
    margins = np.moveaxis(margins_of_disc(6), 0, axis)
    spacing = np.insert([1.0, 1.0], axis, 2.0)
    drawn = (margins > 0).take(3, axis)

    found = best_fit(margins, SliceEdit(axis, 3, drawn), whole(margins.shape), spacing)

    assert np.array_equal(found, margins > 0)


@pytest.mark.parametrize("drawn_radius", [4, 5, 7, 9])
def test_a_drawing_that_is_wider_or_tighter_moves_all_slices(drawn_radius):
    margins = margins_of_disc(6)
    drawn = drawn_radius > RADIUS

    found = best_fit(margins, SliceEdit(0, 3, drawn), whole(SHAPE), SPACING)

    of_each = [2 * (one & drawn).sum() / (one.sum() + drawn.sum()) for one in found]
    assert min(of_each) > 0.95


def test_a_margin_that_is_steep_is_moved_by_the_offset():
    margins = np.where(np.broadcast_to(RADIUS, SHAPE) < 6, 1.0, -1.0).astype(np.float32)
    drawn = RADIUS < 9

    found = best_fit(margins, SliceEdit(0, 3, drawn), whole(SHAPE), SPACING)

    assert 2 * (found[2] & drawn).sum() / (found[2].sum() + drawn.sum()) > 0.95


def test_the_drawing_is_taken_from_where_the_box_lies():
    margins, box = margins_of_disc(6)[:, 2:22, 3:21], ((10, 17), (2, 22), (3, 21))
    drawn = np.zeros((24, 24), bool)
    drawn[:] = RADIUS < 6

    found = best_fit(margins, SliceEdit(0, 12, drawn), box, SPACING)

    assert np.array_equal(found, margins > 0)


def test_a_steep_margin_in_a_corner_is_moved_as_far_as_the_drawing_in_all_directions():
    """Independently: scipy's distance to the nearest voxel of the mask, over the whole volume."""
    spacing = (2.5, 0.8, 1.3)
    mask = np.zeros((9, 30, 20), bool)
    mask[0:2, 3:9, 0:5] = True
    moved = ndimage.distance_transform_edt(~mask, sampling=spacing) <= 4
    margins = np.where(mask, 1.0, -1.0).astype(np.float32)

    found = best_fit(margins, SliceEdit(0, 1, moved[1]), whole(mask.shape), spacing)

    assert moved[2].any()
    assert np.array_equal(found, moved)
