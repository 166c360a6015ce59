import base64
import zlib

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import BoxedMask


@pytest.mark.parametrize("density", [0.0, 0.01, 0.5, 1.0])
def test_a_mask_comes_back_as_it_was_from_memory_and_from_json(density):
    mask = np.random.default_rng(0).random((3, 5, 7)) < density
    boxed = BoxedMask.of(mask)

    assert np.array_equal(boxed.mask, mask)
    assert np.array_equal(BoxedMask.from_plain(boxed.plain(), (3, 5, 7)).mask, mask)


def test_only_the_bits_of_the_box_are_kept():
    mask = np.zeros((100, 100, 100), bool)
    mask[40:42, 50:54, 60:62] = True

    boxed = BoxedMask.of(mask)

    assert boxed.box == ((40, 42), (50, 54), (60, 62))
    assert boxed.bits.tolist() == [255, 255]


def test_another_shape_is_refused_before_anything_is_unpacked():
    with pytest.raises(UserInputError, match="does not have this image's 3 x 2 x 1 voxels; the data differ"):
        BoxedMask.from_plain(BoxedMask.of(np.ones((1, 2, 2), bool)).plain(), (1, 2, 3))


def test_data_that_unpacks_to_more_than_the_box_is_refused():
    bomb = BoxedMask.of(np.ones((1, 2, 2), bool)).plain()
    bomb["bits"] = base64.b64encode(zlib.compress(bytes(10_000_000))).decode()

    with pytest.raises(UserInputError, match="damaged"):
        BoxedMask.from_plain(bomb, (1, 2, 2))


@pytest.mark.parametrize(
    "changes",
    [
        {"bits": "§"},
        {"bits": "AAAA"},
        {"shape": 4},
        {"box": [[0, 1], [0, 2], [0, 3]]},
        {"box": [[0, 1], [2, 1], [0, 2]]},
        {"box": [[0, 1], [0, 2]]},
        {"box": "no"},
    ],
)
def test_what_is_no_mask_is_refused(changes):
    plain = BoxedMask.of(np.ones((1, 2, 2), bool)).plain() | changes

    with pytest.raises(UserInputError, match="damaged"):
        BoxedMask.from_plain(plain, (1, 2, 2))


@pytest.mark.parametrize("content", [None, {}, [], 3])
def test_what_is_no_object_is_refused(content):
    with pytest.raises(UserInputError, match="damaged"):
        BoxedMask.from_plain(content, (1, 2, 2))


def masks(seed, shape=(5, 7, 9)):
    """Two masks that overlap, each False outside a box of its own."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(2):
        mask = np.zeros(shape, bool)
        starts = [int(rng.integers(0, n)) for n in shape]
        part = tuple(slice(a, int(rng.integers(a, n)) + 1) for a, n in zip(starts, shape, strict=True))
        mask[part] = rng.random(mask[part].shape) < 0.5
        found.append(mask)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_what_is_asked_of_a_box_is_what_the_whole_mask_says(seed):
    mask, other = masks(seed)
    boxed, box = BoxedMask.of(mask), ((1, 4), (0, 7), (3, 6))

    assert np.array_equal(boxed.mask, mask)
    assert np.array_equal(boxed.over(box), mask[1:4, :, 3:6])
    assert boxed.count == mask.sum()
    assert boxed.is_empty == (not mask.any())
    flat = np.arange(0, mask.size, 3)
    assert np.array_equal(boxed.at(flat), mask.reshape(-1)[flat])
    assert np.array_equal(boxed.at(flat[::-1]), mask.reshape(-1)[flat[::-1]])
    assert boxed.is_same(BoxedMask.of_points(mask.shape, np.argwhere(mask)))
    assert boxed.is_same(BoxedMask.placed(mask.shape, ((0, 5), (0, 7), (0, 9)), mask))
    assert boxed.is_same(BoxedMask.of(other)) == np.array_equal(mask, other)


@pytest.mark.parametrize("seed", range(30))
def test_the_box_of_a_difference_holds_every_voxel_that_differs(seed):
    rng = np.random.default_rng(seed)
    mask, other = masks(seed)
    if seed % 3:  # of one box, as where a slice of a large segment was redrawn
        mask[0, 0, 0] = mask[-1, -1, -1] = True
        other = mask.copy()
        for voxel in zip(*[rng.integers(1, n - 1, 3) for n in mask.shape], strict=True):
            other[voxel] ^= seed % 3 == 1 or voxel[0] == 2
    first, second = BoxedMask.of(mask), BoxedMask.of(other)

    box = first.differs_within(second)

    assert first.differences(second).tolist() == np.argwhere(mask ^ other).tolist()
    if box is None:
        assert np.array_equal(mask, other)
    else:
        outside = mask ^ other
        outside[tuple(slice(*span) for span in box)] = False
        assert not outside.any()
        assert np.array_equal(first.over(box), mask[tuple(slice(*span) for span in box)])


def test_the_difference_of_a_redrawn_slice_is_that_slice():
    mask = np.ones((5, 16, 16), bool)
    redrawn = mask.copy()
    redrawn[3, 4:9, 7] = False

    assert BoxedMask.of(mask).differs_within(BoxedMask.of(redrawn)) == ((3, 4), (0, 16), (0, 16))
    assert BoxedMask.of(mask).differs_within(BoxedMask.of(mask.copy())) is None


def test_a_mask_that_somebody_saved_in_a_wider_box_is_the_same():
    mask = np.zeros((3, 4, 8), bool)
    mask[1, 2, 3] = True
    wide = BoxedMask(mask.shape, ((0, 3), (0, 4), (0, 8)), np.packbits(mask))

    assert BoxedMask.from_plain(wide.plain(), mask.shape).is_same(BoxedMask.of(mask))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("by", [(0, 0, 0), (1, 2, 0), (-2, 3, -4), (9, 0, 0)])
def test_a_moved_mask_has_its_voxels_at_other_indices_and_loses_those_outside(seed, by):
    mask, _ = masks(seed)
    moved = np.zeros((6, 8, 10), bool)
    for voxel in np.argwhere(mask) + by:
        if (voxel >= 0).all() and (voxel < moved.shape).all():
            moved[tuple(voxel)] = True

    assert BoxedMask.of(mask).moved(moved.shape, by).is_same(BoxedMask.of(moved))
