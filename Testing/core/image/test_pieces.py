"""Connected pieces, against scipy's, and which of them overlap and touch."""

import numpy as np
import pytest
from scipy import ndimage

from context_propagation.core.image.pieces import connected_pieces, overlaps, touching

RNG = np.random.default_rng(0)
CORNERS = np.ones((3, 3, 3), int)


def numbered(*places: tuple[int, int, int]) -> np.ndarray:
    pieces = np.zeros((4, 5, 6), int)
    for number, place in enumerate(places, 1):
        pieces[place] = number
    return pieces


@pytest.mark.parametrize("share", [0.05, 0.1, 0.3])
def test_pieces_are_those_that_scipy_finds(share):
    mask = RNG.random((12, 15, 18)) < share
    pieces, sizes = connected_pieces(mask)
    expected, count = ndimage.label(mask, CORNERS)

    assert len(sizes) == count + 1
    assert len(np.unique(np.stack((pieces[mask], expected[mask])), axis=1).T) == count
    assert sizes.sum() == mask.size
    assert sizes[0] == (~mask).sum()


def test_overlaps_are_counted_by_pairs():
    pieces, others = np.array([[[1, 1, 1, 0, 2, 2]]]), np.array([[[0, 3, 3, 3, 3, 1]]])

    was, now, shared = overlaps(pieces, others)

    assert list(zip(was.tolist(), now.tolist(), shared.tolist(), strict=True)) == [(1, 3, 2), (2, 1, 1), (2, 3, 1)]


def everywhere(numbers: np.ndarray) -> np.ndarray:
    return np.ones(numbers.shape, bool)


def test_regions_touch_at_corners_and_not_across_a_voxel():
    numbers = numbered((0, 0, 0), (3, 4, 5), (1, 1, 1), (3, 4, 3), (0, 2, 0))

    assert touching(numbers, everywhere(numbers)) == {1: {3}, 3: {1, 5}, 5: {3}}


def test_regions_that_touch_are_found_from_the_voxels_of_either():
    numbers = numbered((0, 0, 0), (1, 1, 1), (3, 4, 4), (3, 4, 5))

    assert touching(numbers, numbers == 1) == touching(numbers, numbers == 2) == {1: {2}, 2: {1}}


def test_touching_is_what_scipy_s_dilation_finds():
    pieces, count = ndimage.label(RNG.random((9, 10, 11)) < 0.05, CORNERS)
    others, _ = ndimage.label((RNG.random((9, 10, 11)) < 0.1) & (pieces == 0), CORNERS)
    numbers = pieces + np.where(others > 0, others + count, 0)

    grown = {
        n: set(numbers[ndimage.binary_dilation(numbers == n, CORNERS)].tolist()) - {0, n}
        for n in range(1, numbers.max() + 1)
    }

    assert touching(numbers, pieces > 0) == {n: touched for n, touched in grown.items() if touched}


def test_nothing_touches_nothing():
    assert touching(numbered(), everywhere(numbered())) == {}
