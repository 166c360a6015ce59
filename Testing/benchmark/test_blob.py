"""The phantom of the benchmark."""

import numpy as np
import pytest

from context_propagation.benchmark.blob import DRAWN, Blob, parsed_size
from context_propagation.benchmark.timed_session import dsc
from context_propagation.core.errors import UserInputError


@pytest.mark.parametrize(("window", "size"), [(128, (60, 64, 64)), (64, (30, 32, 32)), (96, (45, 48, 48))])
def test_a_blob_is_as_large_a_part_of_every_window(window, size):
    mask = Blob(window).mask

    assert Blob(window).size_kji == size
    touched = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    assert all(0 <= n - len(one) <= 1 for n, one in zip(size, touched, strict=True))  # its centre is between voxels


def test_a_drawn_slice_is_four_voxels_off():
    blob = Blob(128)
    index, drawn = blob.drawn(0)

    assert index == 64
    assert np.array_equal(drawn[:, 4:], blob.mask[64][:, :-4])
    assert 0.8 < dsc(drawn, blob.mask[64]) < 0.95


def test_drawn_slices_lie_apart_and_cross_the_blob():
    blob = Blob(64)
    indices = [blob.drawn(number)[0] for number in range(len(DRAWN))]

    assert len(set(indices)) == len(DRAWN)
    assert all(blob.mask[index].any() for index in indices)


@pytest.mark.parametrize("text", ["60", "60x64", "0x64x64", "60x64x128", "axbxc", ""])
def test_no_size_of_a_blob(text):
    with pytest.raises(UserInputError, match="write it as 60x64x64"):
        parsed_size(text)
