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


def result(before, changed, fixed=None, axis=0) -> np.ndarray:
    free = np.ones(SHAPE, bool) if fixed is None else ~fixed
    return before ^ without_strays(before, changed, free, axis, whole(SHAPE), SHAPE)


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


BETWEEN, LARGE = block((4, 6), (8, 9), (4, 6)), block((3, 7), (9, 11), (3, 8))


def test_what_would_cut_a_large_piece_off_is_not_removed():
    rim = block((2, 3), (3, 4), (3, 8))

    assert np.array_equal(result(TARGET | BETWEEN | LARGE, BETWEEN | rim), (TARGET | BETWEEN | LARGE) & ~rim)


def test_a_large_piece_with_a_drawn_slice_may_be_cut_off():
    drawn = block((3, 4), (9, 12), (0, 12))

    assert np.array_equal(result(TARGET | BETWEEN | LARGE, BETWEEN, drawn), TARGET | LARGE)


def test_two_cuts_through_three_parts_are_both_taken_back():
    """The middle part touches both cuts; in the order of sizes: target, last part, middle part."""
    middle, second, last = (
        block((3, 6), (9, 10), (3, 8)),
        block((4, 6), (10, 11), (4, 6)),
        block((3, 7), (11, 12), (3, 9)),
    )
    before = TARGET | BETWEEN | middle | second | last

    assert np.array_equal(result(before, BETWEEN | second), before)


def test_a_bridge_of_which_one_part_is_enough_stays_whole():
    """Two necks join the same two parts; one of them stays as it is, so nothing is cut and the other may go."""
    other = block((4, 5), (8, 9), (7, 8))

    assert np.array_equal(result(TARGET | BETWEEN | other | LARGE, BETWEEN), TARGET | other | LARGE)


def test_what_was_in_two_pieces_before_is_not_joined():
    assert np.array_equal(
        result(TARGET | LARGE, TARGET & block((4, 6), (7, 8), (0, 12))),
        (TARGET | LARGE) & ~block((4, 6), (7, 8), (0, 12)),
    )


@pytest.mark.parametrize("fixed", [block((5, 6), (10, 11), (5, 6)), block((5, 6), (0, 12), (0, 12))])
def test_a_crumb_with_voxels_that_were_drawn_or_changed_by_hand_stays(fixed):
    neck, crumb = block((4, 5), (8, 9), (5, 6)), block((4, 6), (9, 11), (5, 6))

    assert np.array_equal(result(TARGET | neck | crumb, neck, fixed), TARGET | crumb)


def test_slices_on_which_nothing_is_changed_stay_as_they_are():
    """A crumb behind a neck that runs through the slices is not removed, so the neck stays too."""
    neck, crumb = block((7, 8), (5, 6), (5, 6)), block((8, 9), (5, 6), (5, 6))

    assert np.array_equal(result(TARGET | neck | crumb, neck), TARGET | neck | crumb)


NECK, TAIL = block((4, 5), (8, 9), (5, 6)), block((4, 5), (9, 12), (5, 6))


def test_a_piece_that_goes_on_beyond_the_box_is_no_crumb():
    before, free = TARGET | NECK | TAIL, np.ones(SHAPE, bool)

    inner = without_strays(before, NECK, free, 0, whole(SHAPE), (9, 20, 12))

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

    after = arrays[0] ^ without_strays(*arrays, np.ones(SHAPE, bool), 0, whole(SHAPE), SHAPE)

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
