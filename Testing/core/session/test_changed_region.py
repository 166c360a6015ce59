import numpy as np
import pytest

from context_propagation.core.session.changed_region import changed_region
from context_propagation.core.session.session_settings import PropagationResult


def result(added, removed):
    """Of masks of one shape: all else was and stays background."""
    points = np.argwhere(added | removed)
    box = (
        tuple((int(a), int(b) + 1) for a, b in zip(points.min(0), points.max(0), strict=True)) if len(points) else None
    )
    return PropagationResult(added, added | removed, 0, (0,), {}, (), box, (), "", ())


@pytest.fixture
def masks():
    added, removed = np.zeros((2, 5, 6, 7), bool)
    added[1, 1, 1] = added[2, 2, 2] = True  # they touch at a corner
    removed[2, 2, 3] = removed[3, 2, 3] = True  # beside them, but removed
    added[4, 5, 6] = True  # a piece of its own
    return added, removed


def test_a_region_is_what_is_added_in_one_piece_corners_included(masks):
    region = changed_region(result(*masks), (2, 2, 2))

    assert np.argwhere(region).tolist() == [[1, 1, 1], [2, 2, 2]]
    assert np.array_equal(changed_region(result(*masks), (1, 1, 1)), region)


def test_what_is_removed_is_a_region_of_its_own(masks):
    assert np.argwhere(changed_region(result(*masks), (3, 2, 3))).tolist() == [[2, 2, 3], [3, 2, 3]]
    assert np.argwhere(changed_region(result(*masks), (4, 5, 6))).tolist() == [[4, 5, 6]]


@pytest.mark.parametrize("voxel", [(0, 0, 0), (2, 2, 4), (-1, 0, 0), (5, 5, 6)])
def test_there_is_none_where_nothing_changes_or_outside_the_image(masks, voxel):
    assert changed_region(result(*masks), voxel) is None


def test_there_is_none_where_nothing_changed_at_all():
    nothing = np.zeros((5, 6, 7), bool)

    assert changed_region(result(nothing, nothing), (2, 2, 2)) is None
