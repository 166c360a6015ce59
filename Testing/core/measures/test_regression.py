"""Regression counts worked by hand: slices of 1 × 100 voxels."""

import numpy as np
import pytest

from context_propagation.core.measures.regression import (
    ChangeCount,
    RegressionCount,
    far_voxels_changed,
    regressed_slices,
    slice_dsc,
)


def slices(*counts: int) -> np.ndarray:
    """A mask `[K, 1, 100]` with the first so many voxels of each slice set."""
    return np.arange(100)[None, None] < np.array(counts)[:, None, None]


def test_the_dsc_of_each_slice():
    found = slice_dsc(slices(50, 0, 30, 0), slices(50, 0, 10, 5), 0)
    assert found.tolist() == pytest.approx([1, 1, 2 * 10 / 40, 0])


def test_slices_that_fall_by_more_than_two_hundredths_are_counted():
    truth = slices(50, 50, 50, 50)
    before = slices(50, 50, 40, 30)
    after = slices(49, 45, 39, 40)  # falls of .010, .053, .013; the last one gains
    assert regressed_slices(before, after, truth, 0, range(4)) == RegressionCount(1, 4)


def test_a_fall_of_exactly_two_hundredths_is_none():
    # 2 · 49 / (49 + 51) = 0.98
    assert regressed_slices(slices(49), slices(51), slices(49), 0, [0]) == RegressionCount(0, 1)


def test_an_empty_slice_predicted_empty_counts_as_perfect():
    truth, empty, one = slices(0, 0), slices(0, 0), slices(0, 1)
    assert regressed_slices(empty, one, truth, 0, [0, 1]) == RegressionCount(1, 2)
    assert regressed_slices(one, empty, truth, 0, [0, 1]) == RegressionCount(0, 2)


def test_edited_slices_do_not_count():
    truth, before, after = slices(50, 50, 50), slices(50, 50, 50), slices(10, 10, 50)
    count = regressed_slices(before, after, truth, 0, untouched=[0, 2])
    assert count == RegressionCount(1, 2)
    assert count.rate == 0.5


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_of_any_axis_are_compared(axis):
    truth, before, after = (np.moveaxis(m, 0, axis) for m in (slices(9, 9, 9), slices(9, 9, 9), slices(9, 5, 9)))
    assert regressed_slices(before, after, truth, axis, range(3)) == RegressionCount(1, 3)


def test_no_untouched_slice_is_no_regression():
    assert regressed_slices(slices(5), slices(1), slices(5), 0, []).rate == 0


def test_only_changes_on_far_slices_count():
    before = slices(50, 50, 50, 50, 50, 50, 50, 50)
    after = slices(60, 0, 0, 0, 0, 0, 48, 50)  # near: 1 to 5

    count = far_voxels_changed(before, after, 0, [3], 2)

    assert count == ChangeCount(12, 300)
    assert count.share == pytest.approx(0.04)


def test_all_slices_near_is_no_change():
    assert far_voxels_changed(slices(5), slices(1), 0, [0], 2).share == 0
