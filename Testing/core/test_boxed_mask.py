import numpy as np
import pytest

from context_propagation.core.errors import UserInputError
from context_propagation.core.packed_mask import pack_mask, unpack_mask


@pytest.mark.parametrize("shape", [(3, 5, 7), (9,), (2, 8), (1, 1)])
def test_a_mask_comes_back_as_it_was(shape):
    mask = np.random.default_rng(0).random(shape) > 0.5

    assert np.array_equal(unpack_mask(pack_mask(mask), shape), mask)


def test_another_shape_is_refused_before_anything_is_unpacked():
    with pytest.raises(UserInputError, match=r"shape \[2, 2\], not \[2, 3\]"):
        unpack_mask(pack_mask(np.ones((2, 2), bool)), (2, 3))


def test_data_that_unpacks_to_more_than_the_shape_is_refused():
    bomb = pack_mask(np.ones((4000, 4000), bool)) | {"shape": [2, 2]}

    with pytest.raises(UserInputError, match="damaged"):
        unpack_mask(bomb, (2, 2))


@pytest.mark.parametrize(
    "packed", [None, {}, {"shape": [2, 2], "bits": "§"}, {"shape": [2, 2], "bits": "AAAA"}, {"shape": 4, "bits": ""}]
)
def test_what_is_no_mask_is_refused(packed):
    with pytest.raises(UserInputError, match="damaged"):
        unpack_mask(packed, (2, 2))
