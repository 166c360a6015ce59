"""What was drawn, on the grid of a segment; expected values worked out by hand."""

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.drawings import changes_on_slices, find_drawing
from context_propagation.core.image.own_grid import OwnGrid, OwnSlices

IMAGE = (8, 10, 12)


def grid_of(ratio_k=1.0, offset_k=0.0):
    """A grid that is the image's but along k."""
    matrix = np.diag([1.0, 1.0, ratio_k, 1.0])
    matrix[2, 3] = offset_k
    return OwnGrid.on_lattice(matrix, IMAGE, (2.5, 1.0, 1.0))


def drawing_on(grid, *places, axis=None):
    """Of voxels that were added to a block; places are index expressions of the grid."""
    before = np.zeros(grid.shape, bool)
    before[1:-1, 3:6, 3:6] = True
    after = before.copy()
    for place in places:
        after[place] = True
    return find_drawing(grid, BoxedMask.of(before), BoxedMask.of(after), axis)


def test_a_grid_half_a_voxel_off_has_the_voxels_whose_centres_lie_on_the_image():
    grid = grid_of(offset_k=0.5)  # centres at 0.5, 1.5, ... and, from below, -0.5, which is voxel 0's
    assert grid.shape == IMAGE
    assert grid.start_kji == (-1, 0, 0)
    assert grid.homes(np.array([[0, 0, 0], [7, 0, 0]]))[:, 0].tolist() == [0, 7]


def test_a_lattice_counted_from_elsewhere_is_the_same_grid():
    matrix = np.diag([0.5, 0.5, 0.5, 1.0])
    moved = matrix.copy()
    moved[:3, 3] = 0.5 * np.array([7, -4, 11])
    here, there = (OwnGrid.on_lattice(one, IMAGE, (1.0, 1.0, 1.0)) for one in (matrix, moved))
    assert here.is_same(there)
    assert here.start_kji != there.start_kji


@pytest.mark.parametrize(("thin", "image_slice"), [(6, 3), (7, 3), (8, 4)])
def test_of_two_thin_slices_of_one_image_slice_the_drawn_one_is_read(thin, image_slice):
    grid = grid_of(ratio_k=0.5, offset_k=-0.25)  # centres at -0.25 and 0.25 lie in image slice 0, and so on
    drawing = drawing_on(grid, np.s_[thin, 7:9, 2:8])
    (edit,) = drawing.edits
    assert (edit.axis, edit.index) == (0, image_slice)
    assert edit.mask[7:9, 2:8].all()
    assert drawing.redrawn[0].sum() == 12
    assert drawing.own_slices == OwnSlices(frozenset({(0, thin)}))


def test_a_drawing_counts_for_the_slice_that_it_is_written_from_where_grids_lie_half_a_voxel_apart():
    grid = grid_of(offset_k=0.5)
    for own in range(1, 7):
        (edit,) = drawing_on(grid, np.s_[own, 7:9, 2:8]).edits
        assert edit.index == grid.homes(np.array([[own, 0, 0]]))[0, 0]
        assert edit.mask[7:9, 2:8].all()


def test_a_change_between_the_image_s_samples_is_seen():
    matrix = np.diag([1 / 3, 1 / 3, 1.0, 1.0])
    grid = OwnGrid.on_lattice(matrix, IMAGE, (1.0, 1.0, 1.0))
    between = np.zeros(grid.shape, bool)
    between[4, 10:20:3, 11:30:3] = True  # none is nearest to the centre of an image voxel
    nothing = BoxedMask.of(np.zeros(grid.shape, bool))
    (edit,) = find_drawing(grid, nothing, BoxedMask.of(between)).edits
    assert (edit.axis, edit.index) == (0, 4)
    assert not edit.mask.any()


def test_a_sagittal_drawing_waits_where_axial_slices_are_named():
    drawing = drawing_on(OwnGrid.of_image(IMAGE), np.s_[2:6, 1:9, 8], np.s_[6, 1:9, 1:9], axis=0)
    assert [edit.index for edit in drawing.edits] == [2, 3, 4, 5, 6]
    assert drawing.waiting == {(2, 8)}
    assert (2, 8) in drawing.own_slices.places
    waiting = drawing.waiting_voxels(IMAGE)
    assert waiting[:, :, 8].all()
    assert waiting.sum() == 8 * 10


def test_single_voxels_above_each_other_are_no_drawing_of_another_plane():
    drawing = drawing_on(OwnGrid.of_image(IMAGE), np.s_[3, 1:9, 1:9], np.s_[4:7, 8, 10], axis=0)
    assert drawing.waiting == set()
    assert drawing.own_slices.places == {(0, index) for index in (3, 4, 5, 6)}


def test_changes_that_count_for_other_slices_can_be_left_out():
    grid = grid_of(ratio_k=0.5, offset_k=-0.25)
    before, after = np.zeros((2, *grid.shape), bool)
    after[[6, 7, 10]] = True
    found = changes_on_slices(grid, BoxedMask.of(before), BoxedMask.of(after), 0, [3])
    assert np.flatnonzero(found.mask.any(axis=(1, 2))).tolist() == [6, 7]


def test_what_is_drawn_off_the_image_alone_is_nothing_redrawn():
    turned = np.eye(4)
    turned[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    grid = OwnGrid.on_lattice(turned, IMAGE, (1.0, 1.0, 1.0))
    after = np.zeros(grid.shape, bool)
    after[3, 0, 0] = True
    assert ((grid.homes(np.array([[3, 0, 0]])) < 0) | (grid.homes(np.array([[3, 0, 0]])) >= IMAGE)).any()
    with pytest.raises(UserInputError, match="is unchanged"):
        find_drawing(grid, BoxedMask.of(np.zeros(grid.shape, bool)), BoxedMask.of(after), 0)
