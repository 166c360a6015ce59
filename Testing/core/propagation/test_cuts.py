"""What is left of a piece stays one piece, in the way that takes fewer voxels; those of near slices count twice."""

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from context_propagation.core.propagation.cuts import mended_cuts

LENGTH = 40


def row(*spans: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((3, 3, LENGTH), bool)
    for start, stop in spans:
        mask[1, 1, start:stop] = True
    return mask


NONE = row()


def mended(before, after, fixed=NONE, held=NONE, near=NONE) -> np.ndarray:
    return mended_cuts(before, after, fixed, fixed | held, near)


def test_a_part_behind_a_smaller_gap_stays_joined():
    before = row((0, 20))

    assert np.array_equal(mended(before, row((0, 12), (14, 20))), before)


def test_a_part_behind_a_larger_gap_is_removed():
    assert np.array_equal(mended(row((0, 20)), row((0, 10), (17, 20))), row((0, 10)))


def test_a_part_as_large_as_its_gap_is_removed():
    assert np.array_equal(mended(row((0, 20)), row((0, 12), (16, 20))), row((0, 12)))


def test_a_part_behind_a_gap_in_near_slices_is_removed_where_the_gap_has_half_its_voxels():
    """What the edit itself took away counts twice: 6 voxels against 3, and against 2."""
    removed, joined = row((0, 17), (20, 26)), row((0, 18), (20, 26))
    near = row((17, 20))

    assert np.array_equal(mended(row((0, 26)), removed, near=near), row((0, 17)))
    assert np.array_equal(mended(row((0, 26)), joined, near=near), row((0, 26)))


def test_only_the_gap_s_own_voxels_of_near_slices_count_twice():
    """A part of 6 voxels behind a gap of 4, of which one is near: 5 against 6."""
    before = row((0, 30))

    assert np.array_equal(mended(before, row((0, 20), (24, 30)), near=row((23, 24))), before)
    assert np.array_equal(mended(before, row((0, 20), (24, 30)), near=row((22, 24))), row((0, 20)))


def test_a_part_s_voxels_of_near_slices_count_twice_too():
    """A part of 3 voxels, of which two are near, behind a gap of 4: 5 against 4."""
    before = row((0, 27))

    assert np.array_equal(mended(before, row((0, 20), (24, 27))), row((0, 20)))
    assert np.array_equal(mended(before, row((0, 20), (24, 27)), near=row((25, 27))), before)


def test_a_held_part_stays_joined_however_large_the_gap():
    before = row((0, 20))

    assert np.array_equal(mended(before, row((0, 10), (17, 20)), held=row((19, 20))), before)


@pytest.mark.parametrize("gap", [(12, 14), (10, 17)])
def test_a_part_with_a_fixed_voxel_may_be_on_its_own(gap):
    after = row((0, gap[0]), (gap[1], 20))

    assert np.array_equal(mended(row((0, 20)), after, fixed=row((19, 20))), after)


def test_the_largest_part_stays_where_it_is_no_drawn_one():
    """The small part at the start has a fixed voxel: it is not on its own, and neither is the largest."""
    after = row((0, 3), (8, 20))

    assert np.array_equal(mended(row((0, 20)), after, fixed=row((0, 1))), after)


def test_parts_are_mended_from_the_smallest_on():
    """Of 20, 2 and 9 voxels with gaps of 1 and 2: the two join the twenty, and the nine both."""
    before = row((0, 34))

    assert np.array_equal(mended(before, row((0, 20), (21, 23), (25, 34))), before)


def test_a_gap_grows_by_the_part_that_is_removed_in_it():
    """Of 12, 2 and 7 voxels with gaps of 3 and 3: the two are removed, so the seven are behind a gap of eight."""
    assert np.array_equal(mended(row((0, 27)), row((0, 12), (15, 17), (20, 27))), row((0, 12)))


def test_one_of_two_joins_is_enough():
    """A ring that is open on one side is still one piece."""
    ring = np.zeros((3, 8, 8), bool)
    ring[1] = True
    ring[1, 2:6, 2:6] = False
    opened = ring.copy()
    opened[1, 2:5, :2] = False

    assert np.array_equal(mended_cuts(ring, opened, *[ring & False] * 3), opened)


def test_the_smaller_of_two_joins_is_put_back():
    """A ring that is open on both sides: 4 and 6 voxels."""
    ring = np.zeros((3, 12, 12), bool)
    ring[1] = True
    ring[1, 2:10, 2:10] = False
    cut, smaller = ring.copy(), ring.copy()
    cut[1, 5:8, :2] = cut[1, 5:7, 10:] = False
    smaller[1, 5:8, :2] = False

    assert np.array_equal(mended_cuts(ring, cut, *[ring & False] * 3), smaller)


def test_what_was_in_two_pieces_before_is_neither_joined_nor_removed():
    before, after = row((0, 10), (12, 20)), row((0, 9), (13, 20))

    assert np.array_equal(mended(before, after), after)


def test_a_piece_that_is_gone_stays_gone():
    assert np.array_equal(mended(row((0, 10), (12, 20)), row((0, 10))), row((0, 10)))


def test_nothing_is_done_where_there_is_nothing():
    assert np.array_equal(mended(NONE, NONE), NONE)


CORNERS = np.ones((3, 3, 3), int)


def mended_voxel_by_voxel(before, after, fixed, held, near) -> np.ndarray:
    """The rule as it is written: all is numbered anew after each step."""
    mended = after.copy()
    was, pieces = ndimage.label(before, CORNERS)

    def weight(region: np.ndarray) -> tuple[int, int]:
        return region.sum() + (region & near).sum(), np.flatnonzero(region)[-1]

    while True:
        parts = ndimage.label(mended, CORNERS)[0]
        gone = ndimage.label(before & ~mended, CORNERS)[0]
        largest = {
            max(now, key=lambda n: ((inside & (parts == n)).sum(), np.flatnonzero(parts == n)[-1]))
            for inside in (was == piece for piece in range(1, pieces + 1))
            if (now := set(parts[inside].tolist()) - {0})
        }
        alone = {*parts[before].tolist()} - {0} - largest - {*parts[fixed].tolist()}
        if not alone:
            return mended
        part = min((parts == n for n in alone), key=size)
        touched = ((region, before & mended & ndimage.binary_dilation(region, CORNERS)) for region in all_of(gone))
        bridge = min((region for region, by in touched if (by & part).any() and (by & ~part).any()), key=weight)
        if weight(part)[0] <= weight(bridge)[0] and not (part & held).any():
            mended &= ~part
        else:
            mended |= bridge


def all_of(numbers: np.ndarray) -> list[np.ndarray]:
    return [numbers == n for n in range(1, numbers.max() + 1)]


def size(region: np.ndarray) -> tuple[int, int]:
    return region.sum(), np.flatnonzero(region)[-1]


def test_any_masks_are_mended_as_the_rule_says():
    rng = np.random.default_rng(0)
    mended_ones = 0
    for _ in range(60):
        before = rng.random((1, 12, 14)) < rng.uniform(0.3, 0.7)
        after = before ^ (rng.random(before.shape) < rng.uniform(0.1, 0.4))
        fixed = (rng.random(before.shape) < 0.02) & (before == after)
        held = fixed | (rng.random(before.shape) < 0.05)
        near = np.zeros(before.shape, bool)
        near[:, 4:9] = True
        expected = mended_voxel_by_voxel(before, after, fixed, held, near)
        mended_ones += not np.array_equal(expected, after)

        assert np.array_equal(mended_cuts(before, after, fixed, held, near), expected)
    assert mended_ones > 30


def rods(count: int) -> np.ndarray:
    mask = np.zeros((60, 248, 248), bool)
    for number in range(count):
        row_start, start = (8 + 12 * place for place in divmod(number, 20))
        mask[5:55, row_start : row_start + 6, start : start + 6] = True
    return mask


def numberings(monkeypatch, count: int) -> int:
    """How often the image is numbered where so many rods are each cut in two."""
    whole, calls = rods(count), []
    cut = whole.copy()
    cut[30] = False
    numbered = sitk.ConnectedComponent
    with monkeypatch.context() as patch:
        patch.setattr(sitk, "ConnectedComponent", lambda *args: calls.append(args) or numbered(*args))
        assert np.array_equal(mended_cuts(whole, cut, *[whole & False] * 3), whole)
    return len(calls)


def test_the_image_is_numbered_as_often_for_hundreds_of_cuts_as_for_one(monkeypatch):
    assert numberings(monkeypatch, 400) == numberings(monkeypatch, 1)
