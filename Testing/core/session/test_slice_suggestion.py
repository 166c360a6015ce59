import numpy as np
import pytest

from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.propagation.edit_record import EditRecord
from context_propagation.core.propagation.margins import Margins
from context_propagation.core.session.slice_suggestion import slice_uncertainty_mm2, suggested_slice, suggested_slices

SHAPE = (6, 4, 4)
SPACING = (3.0, 2.0, 0.5)


@pytest.fixture
def margins():
    result = np.full((6, 4, 4), -1.0, np.float32)
    result[1, 0, 0] = 0.0  # one voxel, undecided
    result[4, 1, :2] = (0.5, -0.5)  # two, half decided each
    result[5] = np.nan  # no window
    return Margins(((0, 6), (0, 4), (0, 4)), result)


def record(index, far=None):
    return EditRecord((SliceEdit(0, index, np.zeros((4, 4), bool)),), 1, (), far=far)


def test_doubt_is_the_pixel_area_that_is_not_decided(margins):
    assert slice_uncertainty_mm2(margins, [], 0, SHAPE, SPACING).tolist() == [0, 1, 0, 0, 1, 0]
    assert slice_uncertainty_mm2(margins, [], 1, SHAPE, SPACING).tolist() == pytest.approx([1.5, 1.5, 0, 0])


def test_drawn_slices_and_their_neighbours_are_out_of_doubt(margins):
    assert slice_uncertainty_mm2(margins, [record(3)], 0, SHAPE, SPACING).tolist() == [0, 1, 0, 0, 0, 0]


def test_edits_of_another_axis_leave_the_slices_in_doubt(margins):
    assert slice_uncertainty_mm2(margins, [record(3)], 2, SHAPE, SPACING).sum() > 0


def test_what_the_fusion_network_says_takes_the_place_of_the_untouched_margins(margins):
    far = Margins(((0, 2), (0, 4), (0, 4)), np.full((2, 4, 4), 1.0, np.float16))

    assert slice_uncertainty_mm2(margins, [record(5, far)], 0, SHAPE, SPACING).tolist() == [0, 0, 0, 0, 0, 0]
    assert slice_uncertainty_mm2(margins, [record(2, far)], 0, SHAPE, SPACING).tolist() == [0, 0, 0, 0, 1, 0]


def test_the_slice_with_most_doubt_is_suggested_and_none_where_there_is_none():
    assert suggested_slice(np.array([0.0, 2.0, 5.0, 5.0])) == 2
    assert suggested_slice(np.zeros(4)) is None
    assert suggested_slice(np.zeros(0)) is None


def test_voxels_of_slices_that_were_drawn_in_another_plane_are_out_of_doubt(margins):
    across = EditRecord((SliceEdit(2, 0, np.zeros((6, 4), bool)),), 0, ())

    assert slice_uncertainty_mm2(margins, [across], 0, SHAPE, SPACING).tolist() == [0, 0, 0, 0, 0.5, 0]


def test_the_slices_to_redraw_are_in_the_order_of_doubt_without_those_near_to_one_before():
    doubt = np.array([1.0, 6.0, 9.0, 7.0, 2.0, 3.0, 0.0])

    assert suggested_slices(doubt, 1) == [2, 5, 0]
    assert suggested_slices(doubt, 0) == [2, 3, 1, 5, 4, 0]
    assert suggested_slices(np.zeros(3), 1) == suggested_slices(np.zeros(0), 1) == []


def test_the_first_slice_to_redraw_is_the_one_that_is_suggested():
    doubt = np.array([0.0, 2.0, 5.0, 5.0])

    assert suggested_slices(doubt, 2)[0] == suggested_slice(doubt)
