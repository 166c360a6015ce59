import numpy as np
import pytest

from context_propagation.core.image.boxes import light_copy


@pytest.mark.parametrize("filled", [(), (2,), (0, 4)])
def test_a_light_copy_has_the_same_voxels_and_memory_of_its_own(filled):
    mask = np.zeros((5, 6, 7), bool)
    mask[list(filled), 1:3, 2] = True
    mask.flags.writeable = False

    copy = light_copy(mask)
    assert np.array_equal(copy, mask)
    copy[:] = True

    assert mask.sum() == 2 * len(filled)


def test_the_light_copy_of_a_turned_mask_can_be_written_at_flat_indices():
    turned = (np.arange(24) % 5 == 0).reshape(2, 3, 4).transpose(2, 0, 1)

    copy = light_copy(turned)
    copy.reshape(-1)[23] = True

    assert copy[3, 1, 2]
    assert np.array_equal(copy.ravel()[:23], turned.ravel()[:23])
