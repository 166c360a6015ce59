import numpy as np
import pytest

from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.mrml.nodes.labelmap_images import Labelmap


def layer(dtype, seed):
    """Two segments in one layer: 2 in the middle, 5 anywhere, of a size that eight does not divide."""
    rng = np.random.default_rng(seed)
    scalars = np.zeros((19, 7, 11), dtype)
    scalars[rng.random(scalars.shape) < 0.1] = 5
    scalars[4:15, 2:5, 3:9][rng.random((11, 3, 6)) < 0.5] = 2
    return scalars


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("value", [2, 5, 7, None])
@pytest.mark.parametrize("alone", [True, False])
def test_the_bits_of_a_labelmap_are_those_of_its_voxels(dtype, value, alone):
    scalars = layer(dtype, seed=value or 0)
    if alone and value is not None:
        scalars[scalars != value] = 0
    labelmap = Labelmap(scalars, ((-3, 16), (2, 9), (0, 11)), np.eye(4), value)

    assert labelmap.mask.is_same(BoxedMask.of(labelmap.voxels))
    assert labelmap.mask.count == np.count_nonzero(scalars > 0 if value is None else scalars == value)
    assert labelmap.start_kji == (-3, 2, 0)


def test_a_labelmap_without_voxels_has_no_bits():
    nothing = Labelmap(np.zeros((0, 0, 0), np.uint8), ((0, 0), (0, 0), (0, 0)), np.eye(4))

    assert nothing.mask.is_empty
