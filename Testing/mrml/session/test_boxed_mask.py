import base64
import zlib

import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.mrml.session.boxed_mask import BoxedMask


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
    with pytest.raises(UserInputError, match=r"shape \[1, 2, 2\], not \[1, 2, 3\]"):
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
