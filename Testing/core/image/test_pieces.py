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


def test_pieces_touch_at_corners_and_not_across_a_voxel():
    pieces, others = numbered((0, 0, 0), (3, 4, 5)), numbered((1, 1, 1), (3, 4, 3), (0, 2, 0))

    assert touching(pieces, others) == {1: {1}}


def test_touching_is_what_scipy_s_dilation_finds():
    pieces, _ = ndimage.label(RNG.random((9, 10, 11)) < 0.05, CORNERS)
    others, _ = ndimage.label((RNG.random((9, 10, 11)) < 0.1) & (pieces == 0), CORNERS)

    grown = {
        n: set(others[ndimage.binary_dilation(pieces == n, CORNERS)].tolist()) - {0} for n in range(1, pieces.max() + 1)
    }

    assert touching(pieces, others) == {n: touched for n, touched in grown.items() if touched}


def test_nothing_touches_nothing():
    assert touching(numbered(), numbered((0, 0, 0))) == {}
