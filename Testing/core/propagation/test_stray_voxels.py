"""A propagation leaves no island of its own, no crumb and no hole of one voxel; what was there before stays."""

import numpy as np
import pytest

from context_propagation.core.image.boxes import whole
from context_propagation.core.propagation.stray_voxels import without_strays

SHAPE = (9, 12, 12)


def block(k, j, i) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[slice(*k), slice(*j), slice(*i)] = True
    return mask


TARGET = block((2, 7), (3, 8), (3, 8))


def result(before, changed, fixed=None, axis=0, earlier=None, near=None) -> np.ndarray:
    free = np.ones(SHAPE, bool) if fixed is None else ~fixed
    earlier, near = before if earlier is None else earlier, np.zeros(SHAPE, bool) if near is None else near
    return before ^ without_strays(earlier, before, changed, free, near, axis, whole(SHAPE), SHAPE)


def test_a_new_piece_that_touches_nothing_that_was_there_is_not_added():
    island, grown = block((4, 6), (10, 12), (10, 12)), block((4, 5), (8, 9), (3, 8))

    assert np.array_equal(result(TARGET, island | grown), TARGET | grown)


def test_a_new_piece_that_touches_the_target_at_a_corner_is_added():
    corner = block((7, 8), (8, 9), (8, 9))

    assert np.array_equal(result(TARGET, corner), TARGET | corner)


def test_a_piece_that_was_there_before_stays_and_may_grow():
    other, more = block((0, 1), (10, 11), (10, 11)), block((0, 1), (10, 11), (11, 12))

    assert np.array_equal(result(TARGET | other, more), TARGET | other | more)


def test_a_crumb_that_is_cut_off_is_removed_too():
    neck, crumb = block((5, 6), (8, 9), (5, 6)), block((5, 6), (9, 11), (5, 6))

    assert np.array_equal(result(TARGET | neck | crumb, neck), TARGET)


def test_what_would_cut_a_large_piece_off_is_not_removed():
    between, large = block((4, 6), (8, 9), (4, 6)), block((3, 7), (9, 11), (3, 8))
    rim = block((2, 3), (3, 4), (3, 8))

    assert np.array_equal(result(TARGET | between | large, between | rim), (TARGET | between | large) & ~rim)


def test_what_the_edit_takes_away_on_near_slices_counts_twice():
    """A column: the end of three slices was drawn away on two of them, near slices, and the update follows it."""
    column, gap, end = block((0, 9), (3, 8), (3, 8)), block((3, 5), (3, 8), (3, 8)), block((0, 3), (3, 8), (3, 8))
    near = block((3, 5), (0, 12), (0, 12))

    assert np.array_equal(result(column, gap), column)
    assert np.array_equal(result(column, gap, near=near), column & ~gap & ~end)


def test_a_crumb_that_the_drawing_cuts_off_is_removed():
    """Slice 6 was drawn empty; behind it a voxel is left, of 125 that were there before."""
    behind, drawn, rim = block((7, 8), (5, 6), (5, 6)), block((6, 7), (0, 12), (0, 12)), block((2, 3), (3, 4), (3, 8))
    before = (TARGET | behind) & ~drawn

    assert np.array_equal(result(before, rim, drawn, earlier=TARGET | behind), TARGET & ~drawn & ~rim)


def test_a_large_piece_that_the_drawing_cuts_off_stays():
    drawn, rim = block((4, 5), (0, 12), (0, 12)), block((2, 3), (3, 4), (3, 8))

    assert np.array_equal(result(TARGET & ~drawn, rim, drawn, earlier=TARGET), TARGET & ~drawn & ~rim)


@pytest.mark.parametrize("fixed", [block((5, 6), (10, 11), (5, 6)), block((5, 6), (0, 12), (0, 12))])
def test_a_crumb_with_voxels_that_were_drawn_or_changed_by_hand_stays(fixed):
    neck, crumb = block((4, 5), (8, 9), (5, 6)), block((4, 6), (9, 11), (5, 6))

    assert np.array_equal(result(TARGET | neck | crumb, neck, fixed), TARGET | crumb)


def test_a_crumb_on_slices_on_which_nothing_else_is_changed_is_removed_too():
    neck, crumb = block((7, 8), (5, 6), (5, 6)), block((8, 9), (5, 6), (5, 6))

    assert np.array_equal(result(TARGET | neck | crumb, neck), TARGET)


def test_a_hole_on_a_slice_on_which_nothing_is_changed_stays():
    """It is one only since the drawing; the propagation changes another slice."""
    hole, rim = block((4, 5), (5, 6), (5, 6)), block((2, 3), (3, 4), (3, 8))

    assert np.array_equal(result(TARGET & ~hole, rim, earlier=TARGET), TARGET & ~hole & ~rim)


NECK, TAIL = block((4, 5), (8, 9), (5, 6)), block((4, 5), (9, 12), (5, 6))


def test_a_piece_that_goes_on_beyond_the_box_is_no_crumb():
    before, free = TARGET | NECK | TAIL, np.ones(SHAPE, bool)

    inner = without_strays(before, before, NECK, free, NECK & False, 0, whole(SHAPE), (9, 20, 12))

    assert np.array_equal(before ^ inner, before)


def test_a_crumb_at_the_image_s_edge_is_removed_as_anywhere():
    assert np.array_equal(result(TARGET | NECK | TAIL, NECK), TARGET)


@pytest.mark.parametrize("first", ["the target", "the other piece"])
def test_a_piece_with_all_of_one_that_was_there_before_stays_whatever_it_is_joined_with(first):
    """A crumb of the target is bridged to another small piece."""
    target, neck, crumb = block((2, 7), (3, 7), (3, 8)), block((4, 5), (7, 8), (5, 6)), block((4, 5), (8, 9), (5, 6))
    bridge, other = block((4, 5), (9, 10), (5, 6)), block((4, 5), (10, 11), (5, 7))
    arrays = [target | neck | crumb | other, neck | bridge]
    if first == "the other piece":
        arrays = [array[:, ::-1].copy() for array in arrays]

    after = arrays[0] ^ without_strays(
        arrays[0], *arrays, np.ones(SHAPE, bool), np.zeros(SHAPE, bool), 0, whole(SHAPE), SHAPE
    )

    assert np.array_equal(after, arrays[0] ^ arrays[1])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_new_hole_of_one_voxel_in_its_slice_is_filled(axis):
    hole = block((4, 5), (5, 6), (5, 6))

    assert np.array_equal(result(TARGET, hole, axis=axis), TARGET)


def test_a_new_ring_is_filled_where_propagation_may_write():
    middle = block((4, 5), (5, 6), (5, 6))
    ring = block((4, 5), (4, 7), (4, 7)) & ~middle
    before = TARGET & ~ring & ~middle

    assert np.array_equal(result(before, ring), before | ring | middle)
    assert np.array_equal(result(before, ring, fixed=middle), before | ring)


def test_a_hole_that_was_there_before_stays():
    hole, changed = block((4, 5), (5, 6), (5, 6)), block((4, 5), (8, 9), (3, 8))
    before = TARGET & ~hole

    assert np.array_equal(result(before, changed), before | changed)


def test_a_larger_hole_is_left():
    hole = block((4, 5), (5, 6), (4, 6))

    assert np.array_equal(result(TARGET, hole), TARGET & ~hole)


def test_without_changes_nothing_is_done():
    strange = TARGET & ~block((4, 5), (5, 6), (5, 6)) | block((0, 1), (0, 1), (0, 1))

    assert np.array_equal(result(strange, np.zeros(SHAPE, bool)), strange)
