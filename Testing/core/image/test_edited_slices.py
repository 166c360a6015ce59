"""Finding the slices that somebody redrew."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.drawings import find_drawing
from context_propagation.core.image.own_grid import OwnGrid
from context_propagation.core.image.slices import (
    SliceEdit,
    edits_on_slices,
    find_edited_slices,
)

SHAPE = (6, 8, 10)


def ball_like_mask() -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[1:5, 2:6, 3:8] = True
    return mask


def test_a_redrawn_axial_slice_is_found_with_its_drawing():
    before = ball_like_mask()
    after = before.copy()
    after[2, 1:7, 2:5] = True

    (edit,) = find_edited_slices(before, after)

    assert (edit.axis, edit.index) == (0, 2)
    assert edit.mask.shape == (8, 10)
    assert np.array_equal(edit.mask, after[2])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_edit_is_found_on_each_axis(axis):
    before = ball_like_mask()
    after = before.copy()
    np.moveaxis(after, axis, 0)[3] = False

    (edit,) = find_edited_slices(before, after)

    assert (edit.axis, edit.index) == (axis, 3)
    assert not edit.mask.any()


def test_several_slices_come_in_order():
    before = ball_like_mask()
    after = before.copy()
    after[[4, 1], :, 0] = True

    assert [edit.index for edit in find_edited_slices(before, after, axis=0)] == [1, 4]


def test_an_edit_that_changes_nothing_is_refused():
    with pytest.raises(UserInputError, match="is unchanged; redraw at least one slice"):
        find_edited_slices(ball_like_mask(), ball_like_mask())


def test_edits_on_two_planes_are_refused():
    before = ball_like_mask()
    after = before.copy()
    after[2, :, :] = True
    after[:, 3, :] = True

    with pytest.raises(UserInputError, match="touch 6, 8 and 10 slices in three directions"):
        find_edited_slices(before, after)


def test_a_small_blob_names_no_plane_unless_the_plane_is_given():
    before = ball_like_mask()
    after = before.copy()
    after[2:4, 6:8, 3:5] = True

    with pytest.raises(UserInputError, match="choose the plane"):
        find_edited_slices(before, after)
    assert [edit.index for edit in find_edited_slices(before, after, axis=0)] == [2, 3]


def test_three_slices_against_two_are_still_ambiguous_and_four_are_not():
    before = np.zeros(SHAPE, bool)
    after = before.copy()
    after[0:2, 0:3, 0:3] = True
    with pytest.raises(UserInputError):
        find_edited_slices(before, after)

    after[0:2, 0:4, 0:4] = True
    assert [edit.index for edit in find_edited_slices(before, after)] == [0, 1]


@pytest.mark.parametrize("index", [-1, 6, 100])
def test_a_slice_outside_the_image_is_named_with_the_range(index):
    with pytest.raises(UserInputError, match=f"Slice {index} is outside the image; .* 0 to 5"):
        edits_on_slices(ball_like_mask(), 0, [index])


def test_a_slice_named_twice_is_one_edit():
    assert [edit.index for edit in edits_on_slices(ball_like_mask(), 2, [7, 3, 7])] == [3, 7]


def test_an_edit_keeps_its_drawing_when_the_mask_changes_later():
    mask = ball_like_mask()
    (edit,) = edits_on_slices(mask, 0, [2])
    mask[:] = False

    assert edit.mask.any()


@given(data=st.data(), axis=st.integers(0, 2))
def test_with_the_axis_given_exactly_the_differing_slices_are_found(data, axis):
    wanted = data.draw(st.sets(st.integers(0, SHAPE[axis] - 1), min_size=1))
    before = ball_like_mask()
    after = before.copy()
    for index in wanted:
        np.moveaxis(after, axis, 0)[index] ^= True

    found = find_edited_slices(before, after, axis)

    assert {edit.index for edit in found} == wanted
    for edit in found:
        assert np.array_equal(edit.mask, after.take(edit.index, axis))


@pytest.mark.parametrize("axis", [None, 0, 1, 2])
@pytest.mark.parametrize("seed", range(24))
def test_masks_in_boxes_give_the_same_slices(seed, axis):
    rng = np.random.default_rng(seed)
    before, after = np.zeros((2, 9, 11, 13), bool)
    before[2:6, 3:8, 4:9] = True
    if seed >= 12:  # what differs does not change the box around the mask
        before[0, 0, 0] = before[-1, -1, -1] = True
    after[:] = before
    across = np.moveaxis(after, seed // 4 % 3, 0)
    slice_ = across[int(rng.integers(1, len(across) - 1)), 1:-1, 2:-2]
    slice_ ^= rng.random(slice_.shape) < 0.3
    if seed % 4 == 0:
        after[:, int(rng.integers(0, 11)), 5] ^= True
    boxed = BoxedMask.of(before), BoxedMask.of(after)
    grid = OwnGrid.of_image(before.shape)
    try:
        expected = find_edited_slices(before, after, axis)
    except UserInputError as error:
        with pytest.raises(UserInputError, match=re.escape(str(error))):
            find_drawing(grid, *boxed, axis)
        return

    found = find_drawing(grid, *boxed, axis).edits

    assert [(e.axis, e.index) for e in found] == [(e.axis, e.index) for e in expected]
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(found, expected, strict=True))


def test_two_empty_masks_in_boxes_are_refused_in_the_same_words():
    nothing = BoxedMask.of(np.zeros((3, 4, 5), bool))
    with pytest.raises(UserInputError, match="is unchanged; redraw at least one slice"):
        find_drawing(OwnGrid.of_image((3, 4, 5)), nothing, nothing)


@pytest.mark.parametrize(("axis", "shape"), [(0, (4, 5)), (1, (3, 5)), (2, (3, 4))])
def test_a_slice_says_where_it_lies_in_a_volume(axis, shape):
    volume = np.arange(3 * 4 * 5).reshape(3, 4, 5)
    edit = SliceEdit(axis, 2, np.ones(shape, bool))

    assert np.array_equal(volume[edit.place], volume.take(2, axis))
    drawn = np.zeros(volume.shape, bool)
    drawn[edit.place] = edit.mask
    assert np.array_equal(np.flatnonzero(drawn), np.sort(volume.take(2, axis).ravel()))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_differs_from_a_mask_within_a_box_of_its_own_slice(axis):
    mask = np.moveaxis(np.zeros((6, 8, 10), bool), 0, axis)
    drawn = np.zeros((8, 10), bool)
    assert SliceEdit(axis, 3, drawn).differs_within(mask) is None
    drawn[2, 4] = drawn[5, 4] = True

    expected = [(2, 6), (4, 5)]
    expected.insert(axis, (3, 4))
    assert SliceEdit(axis, 3, drawn).differs_within(mask) == tuple(expected)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_is_drawn_into_a_part_of_a_mask_as_into_the_whole(axis):
    rng, whole = np.random.default_rng(0), np.zeros(SHAPE, bool)
    edit = SliceEdit(axis, 3, rng.random([n for a, n in enumerate(SHAPE) if a != axis]) < 0.5)
    whole[edit.place] = edit.mask

    for box in (((1, 5), (2, 7), (3, 9)), ((0, 3), (0, 3), (0, 3)), ((4, 6), (4, 8), (4, 10))):
        place = tuple(slice(*span) for span in box)
        part = np.zeros_like(whole[place])
        edit.draw_into(part, box)
        assert np.array_equal(part, whole[place])
