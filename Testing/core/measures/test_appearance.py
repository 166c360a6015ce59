"""Islands and seams, counted by hand."""

import numpy as np
import pytest

from context_propagation.core.measures.appearance import new_islands, seam_mm2


def block(k, j, i, shape=(9, 12, 12)) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[slice(*k), slice(*j), slice(*i)] = True
    return mask


TARGET = block((2, 7), (3, 8), (3, 8))
NECK, TAIL, ISLAND = block((5, 6), (8, 9), (5, 6)), block((5, 6), (9, 11), (5, 6)), block((1, 2), (10, 12), (10, 12))


@pytest.mark.parametrize(
    ("before", "after", "drawn", "count"),
    [
        (TARGET, TARGET, [4], 0),
        (TARGET, TARGET | ISLAND, [4], 1),
        (TARGET, TARGET | ISLAND, [1], 0),
        (TARGET | ISLAND, TARGET | ISLAND, [4], 0),
        (TARGET | NECK | TAIL, TARGET | TAIL, [4], 1),
        (TARGET | NECK | TAIL, TARGET | TAIL, [5], 0),
        (TARGET, np.zeros_like(TARGET), [4], 0),
        (np.zeros_like(TARGET), ISLAND | TARGET, [4], 1),
    ],
    ids=["nothing", "new", "drawn there", "was there", "fell apart", "fell apart on a drawn slice", "removed", "found"],
)
def test_islands_are_pieces_that_are_new_and_that_no_drawn_slice_holds(before, after, drawn, count):
    assert new_islands(before, after, 0, drawn) == count


def with_areas(areas, axis) -> np.ndarray:
    mask = np.zeros((len(areas), 4, 5), bool)
    for index, area in enumerate(areas):
        mask[index].reshape(-1)[:area] = True
    return np.moveaxis(mask, 0, axis)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_seam_is_the_change_of_area_beyond_the_truths(axis):
    truth, mask = with_areas([2, 4, 6, 8, 8, 6, 4], axis), with_areas([2, 1, 6, 8, 8, 9, 9], axis)
    spacing = np.insert([0.5, 3.0], axis, 100.0)  # a pixel of the slices is 1.5 mm2

    # from slice 2 to 1: -5 instead of -2; from slice 4 to 5: +1 instead of -2
    assert seam_mm2(mask, truth, axis, 3, 1, spacing) == pytest.approx(1.5 * 3)
    assert seam_mm2(truth, truth, axis, 3, 1, spacing) == 0


def test_only_sides_within_the_volume_have_a_seam():
    truth, mask = with_areas([2, 4, 6], 0), with_areas([2, 4, 9], 0)

    assert seam_mm2(mask, truth, 0, 0, 1, (1.0, 1.0, 1.0)) == 3
    assert seam_mm2(mask, truth, 0, 1, 1, (1.0, 1.0, 1.0)) == 0
