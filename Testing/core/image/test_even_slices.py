"""Uneven slices as an even stack."""

import numpy as np
import pytest

from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.image.even_slices import EvenSlices, even_slices


def planned(*gaps_mm: float) -> EvenSlices:
    return even_slices("Volume 'CT'", np.concatenate([[0.0], np.cumsum(gaps_mm)]))


def image_of(positions_mm: np.ndarray) -> np.ndarray:
    """Voxels that are ten times the position of their slice."""
    return np.broadcast_to((10 * positions_mm)[:, None, None], (len(positions_mm), 2, 3)).astype(np.int16)


def different_masks(count: int) -> np.ndarray:
    """A mask for each slice, no two alike: the bits of its number."""
    return (np.arange(count)[:, None] >> np.arange(8) & 1).astype(bool).reshape(count, 2, 4)


def test_three_and_five_mm_become_three():
    plan = planned(3, 3, 5, 5, 5)  # slices at 0, 3, 6, 11, 16, 21

    assert plan.even_mm.tolist() == [0, 3, 6, 9, 12, 15, 18, 21]
    assert plan.as_acquired.tolist() == [0, 1, 2, -1, -1, -1, -1, 5]
    assert plan.image(image_of(plan.acquired_mm))[:, 1, 2].tolist() == [0, 30, 60, 90, 120, 150, 180, 210]
    assert plan.distances == "3 mm apart (slices 0 to 2) and 5 mm apart (slices 2 to 5)"
    assert plan.change == (
        "8 slices 3 mm apart in place of 6: 4 as they were acquired, 4 computed from the two beside them"
    )


def test_the_thick_slices_may_come_first():
    plan = planned(5, 5, 3, 3)  # 0, 5, 10, 13, 16: the even stack lies on the last three, 1 mm before the first

    assert plan.even_mm.tolist() == [1, 4, 7, 10, 13, 16]
    assert plan.as_acquired.tolist() == [-1, -1, -1, 2, 3, 4]
    assert plan.source.tolist() == [0, 1, 1, 2, 3, 4]
    assert plan.own.tolist() == [0, 1, 3, 4, 5]


def test_each_even_slice_has_the_mask_of_the_nearest_acquired_slice():
    plan = planned(3, 3, 5, 5, 5)
    masks = different_masks(6)

    # at 0, 3, 6, 9, 12, 15, 18, 21 the nearest of 0, 3, 6, 11, 16, 21
    assert (plan.mask(masks) == masks[[0, 1, 2, 3, 3, 4, 4, 5]]).all()


def test_every_mask_comes_back_whatever_the_distances():
    rng = np.random.default_rng(4)
    for _ in range(300):
        gaps = rng.choice([1.0, 1.25, 2.0, 2.5, 3.0, 5.0, 6.0], int(rng.integers(1, 40)))
        gaps = gaps + (rng.uniform(-0.02, 0.02, gaps.size) if rng.random() < 0.5 else 0)
        if gaps.sum() / gaps.min() > 4 * gaps.size:
            continue
        plan = planned(*gaps)
        masks = different_masks(gaps.size + 1)

        assert (plan.back(plan.mask(masks)) == masks).all(), gaps.tolist()
        assert np.diff(plan.own).min() >= 1
        assert np.abs(plan.even_mm[plan.own] - plan.acquired_mm).max() <= plan.step_mm / 2 + 0.1


def test_the_even_stack_lies_where_most_slices_are_on_it():
    plan = planned(3, 3, 4, 3, 3, 3, 3)  # 0, 3, 6 | 10, 13, 16, 19, 22

    assert (plan.as_acquired >= 0).sum() == 5
    assert plan.even_mm.tolist() == [1, 4, 7, 10, 13, 16, 19, 22]


def test_a_whole_multiple_keeps_every_slice():
    plan = planned(2.5, 2.5, 5, 5)

    assert plan.as_acquired.tolist() == [0, 1, 2, -1, 3, -1, 4]


def test_distances_that_differ_by_rounding_alone_keep_all_slices_as_they_are():
    positions = np.round(np.arange(12) * 1.25, 1)
    plan = even_slices("Volume 'CT'", positions)
    voxels = np.random.default_rng(1).normal(size=(12, 2, 2)).astype(np.float32)

    assert plan.step_mm == pytest.approx(positions[-1] / 11)
    assert (plan.image(voxels) == voxels).all()
    assert plan.change == "12 slices 1.255 mm apart, all as they were acquired"
    assert plan.distances == "1.255 mm apart, but for rounding"


def test_rounded_positions_of_two_distances_keep_their_distances():
    positions = np.round(0.04 + np.concatenate([np.arange(9) * 1.25, 10 + np.arange(1, 6) * 2.5]), 1)
    plan = even_slices("Volume 'CT'", positions)

    assert plan.step_mm == pytest.approx(1.25, abs=0.01)
    assert plan.count == 19
    assert (plan.as_acquired >= 0).sum() == 14


def test_many_distances_are_told_as_a_range():
    assert planned(2, 3, 2, 3, 2, 3, 2).distances == "between 2 and 3 mm apart"


@pytest.mark.parametrize("gaps", [(3, 0, 3), (3, -1, 3), ()])
def test_slices_that_do_not_follow_each_other_are_refused(gaps):
    with pytest.raises(UserInputError, match="do not follow each other"):
        planned(*gaps)


def test_a_stack_that_would_be_far_larger_is_refused():
    with pytest.raises(
        UserInputError, match=r"between 0.5 and 5 mm apart: evenly, they would be more than 5 times as many"
    ):
        planned(0.5, 5, 5, 5, 5)


def test_the_image_can_be_cancelled():
    plan = planned(3, 5)
    with pytest.raises(Cancelled):
        plan.image(image_of(plan.acquired_mm), cancelled=lambda: True)
