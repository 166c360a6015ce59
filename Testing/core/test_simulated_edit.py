"""Which slice the simulated oncologist redraws, on hand-made masks."""

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.simulated_edit import largest_slice, redrawn_as, worst_slice


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
    edit = redrawn_as(truth, 2, 1)
    assert edit.axis == 2
    assert edit.mask.tolist() == [[False], [True], [True]]
