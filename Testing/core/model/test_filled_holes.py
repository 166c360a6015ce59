import numpy as np
import pytest
from scipy import ndimage

from context_propagation.core.model.filled_holes import filled_holes, nnunet_fills_holes_so


@pytest.mark.parametrize("share", [0.0, 0.3, 0.55, 0.7, 0.9, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_holes_are_those_that_scipy_fills(seed, share):
    mask = np.random.default_rng(seed).random((7, 9, 11)) < share
    before = mask.copy()

    assert np.array_equal(filled_holes(mask), ndimage.binary_fill_holes(mask))
    assert np.array_equal(mask, before)


def test_a_hollow_body_away_from_the_border_is_filled_and_one_with_an_opening_is_not():
    mask = np.zeros((12, 12, 12), bool)
    mask[3:9, 3:9, 3:9] = True
    mask[5:7, 5:7, 5:7] = False
    assert filled_holes(mask).sum() == 6**3
    mask[6, 6, 6:] = False
    assert np.array_equal(filled_holes(mask), mask)


def test_nnunet_crops_the_same_and_has_its_own_function_back():
    cropping = pytest.importorskip("nnunetv2.preprocessing.cropping.cropping")
    its_own = cropping.binary_fill_holes
    image = np.random.default_rng(0).integers(-1, 3, (1, 8, 12, 10)).astype(np.float32)
    image[:, :2] = image[:, :, :, 7:] = 0
    expected = cropping.crop_to_nonzero(image.copy())

    with nnunet_fills_holes_so():
        assert cropping.binary_fill_holes is filled_holes
        cropped = cropping.crop_to_nonzero(image.copy())

    assert cropping.binary_fill_holes is its_own
    for a, b in zip(expected, cropped, strict=True):
        assert np.array_equal(a, b)
