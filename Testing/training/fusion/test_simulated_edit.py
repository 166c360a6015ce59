"""Which slice the simulated oncologist redraws, on hand-made masks."""

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.training.fusion.simulated_edit import (
    drawn_bad_slice,
    edit_schedule,
    largest_slice,
    redrawn_as,
    worst_slice,
)


def stack(*rows):
    """Slices of one row each, `[K, 1, I]`."""
    return np.array(rows, dtype=bool)[:, None]


def test_the_worst_slice_has_the_largest_hausdorff_distance_not_the_most_wrong_voxels():
    truth = stack([1, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0])
    predicted = stack([0, 0, 0, 0, 0, 1], [1, 1, 1, 1, 1, 1])
    assert worst_slice(predicted, truth, 0, (1, 1, 1)) == 0
    truth = stack([1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0])
    predicted = stack([0, 1, 1, 0, 0, 0], [1, 0, 0, 0, 1, 0])
    assert worst_slice(predicted, truth, 0, (1, 1, 1)) == 1


def test_slices_with_an_empty_mask_count_only_where_there_is_no_other():
    truth = stack([1, 1, 1, 1], [1, 1, 0, 0])
    predicted = stack([0, 0, 0, 0], [1, 0, 0, 0])
    assert worst_slice(predicted, truth, 0, (1, 1, 1)) == 1
    assert worst_slice(np.zeros_like(truth), truth, 0, (1, 1, 1)) == 0


def test_ties_go_to_the_lower_index():
    truth = stack([1, 1, 0], [1, 1, 0], [1, 1, 0])
    predicted = stack([1, 1, 0], [1, 0, 0], [1, 0, 0])
    assert worst_slice(predicted, truth, 0, (1, 1, 1)) == 1


def test_distances_are_in_millimetres_of_the_slice_plane():
    truth = np.zeros((2, 4, 4), bool)
    predicted = np.zeros((2, 4, 4), bool)
    truth[:, 0, 0] = True
    predicted[0, 2, 0] = True  # two voxels along j
    predicted[1, 0, 3] = True  # three voxels along i
    assert worst_slice(predicted, truth, 0, (1, 1, 1)) == 1
    assert worst_slice(predicted, truth, 0, (1, 2, 1)) == 0


def test_equal_masks_have_no_worst_slice():
    with pytest.raises(UserInputError, match="equal"):
        worst_slice(stack([1, 0]), stack([1, 0]), 0, (1, 1, 1))


def test_the_largest_slice_and_its_edit():
    truth = stack([1, 0, 0], [1, 1, 0], [0, 1, 1])
    assert largest_slice(truth, 0) == 1
    assert largest_slice(truth, 0, taken=[1]) == 2
    assert largest_slice(truth, 0, taken=[1, 2]) == 0
    edit = redrawn_as(truth, 2, 1)
    assert edit.axis == 2
    assert edit.mask.tolist() == [[False], [True], [True]]


# ---- slices drawn at random


def draws(predicted, truth, axis=0, taken=(), count=1):
    generator = np.random.default_rng(0)
    return [drawn_bad_slice(predicted, truth, axis, generator, taken) for _ in range(count)]


def test_slices_are_drawn_in_proportion_to_their_wrong_voxels():
    truth = stack([1, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1])
    predicted = stack([0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1])  # 3, 1, 0 and 0 wrong voxels
    counts = np.bincount(draws(predicted, truth, count=2000), minlength=4)
    assert counts[0] / 2000 == pytest.approx(3 / 4, abs=0.03)
    assert counts[0] + counts[1] == 2000


def test_taken_slices_are_not_drawn_again():
    truth, predicted = stack([1, 1, 1], [1, 0, 0], [1, 1, 0]), np.zeros((3, 1, 3), bool)
    assert set(draws(predicted, truth, taken=[0], count=50)) == {1, 2}
    assert set(draws(predicted, truth, taken=[0, 2], count=5)) == {1}


def test_where_no_other_slice_differs_none_is_drawn():
    truth = stack([1, 1, 1], [1, 0, 0])
    assert draws(truth, truth) == [None]
    assert draws(~truth, truth, taken=[0, 1]) == [None]


def test_slices_are_drawn_along_the_axis():
    truth, predicted = stack([0, 1, 0], [0, 1, 0]), stack([0, 0, 0], [0, 0, 0])
    assert set(draws(predicted, truth, axis=2, count=5)) == {1}


# ---- the edits of a training case


def schedule(predicted, truth, count, seed=0, axis=0):
    return edit_schedule(predicted, truth, axis, (1.0, 1.0, 1.0), count, seed)


def five_bad_slices():
    """Worst by Hausdorff distance: 3; largest: 1; slice 5 is right."""
    truth = stack(
        [1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
    )  # fmt: skip
    predicted = stack(
        [1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0], [1, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 1], [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
    )  # fmt: skip
    return predicted, truth


def test_first_the_worst_slice_is_edited_then_the_largest_then_others():
    indices = [edit.index for edit in schedule(*five_bad_slices(), count=4)]
    assert indices[:2] == [3, 1]
    assert set(indices[2:]) < {0, 2, 4}


def test_no_slice_is_edited_twice_and_right_ones_never_so_there_may_be_fewer():
    edits = schedule(*five_bad_slices(), count=50)
    assert sorted(edit.index for edit in edits) == [0, 1, 2, 3, 4]


def test_every_edit_draws_its_slice_as_the_truth_has_it():
    predicted, truth = five_bad_slices()
    for axis in (0, 2):
        for edit in schedule(predicted, truth, count=3, axis=axis):
            assert edit.axis == axis
            assert np.array_equal(edit.mask, truth.take(edit.index, axis))


@pytest.mark.parametrize("count", [1, 2, 3])
def test_there_are_as_many_edits_as_asked_for(count):
    assert len(schedule(*five_bad_slices(), count=count)) == count


def test_a_largest_slice_that_is_right_is_left_alone():
    truth = stack([1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0])
    predicted = stack([1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0])
    assert {edit.index for edit in schedule(predicted, truth, count=3)} == {1, 2}


def test_a_worst_slice_that_is_the_largest_counts_once():
    truth = stack([1, 1, 1, 1], [1, 1, 0, 0])
    predicted = stack([1, 0, 0, 0], [1, 0, 0, 0])
    assert [edit.index for edit in schedule(predicted, truth, count=3)] == [0, 1]


def test_a_right_prediction_needs_no_edit():
    truth = stack([1, 1, 0], [0, 1, 1])
    assert schedule(truth, truth, count=3) == []


def test_the_seed_alone_decides_which_further_slices_are_drawn():
    def drawn(seed):
        return [edit.index for edit in schedule(*five_bad_slices(), count=5, seed=seed)]

    assert drawn(7) == drawn(7)
    assert len({tuple(drawn(seed)) for seed in range(10)}) > 1
