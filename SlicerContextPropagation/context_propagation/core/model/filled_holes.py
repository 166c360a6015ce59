"""Holes in a mask, filled as SciPy does it, but without holding Python's lock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from context_propagation.core.image.boxes import bounding_box, slices_of
from context_propagation.core.optional_dependency import require


def filled_holes(mask: np.ndarray) -> np.ndarray:
    """Fill what is False and not connected with the outside across faces: `scipy.ndimage.binary_fill_holes`.

    That one holds Python's lock for tenths of a second in a large volume, and no other thread gets on meanwhile.

    Args:
        mask: bool `[K, J, I]`.

    Returns:
        A new mask.
    """
    filled = mask.copy()
    box = bounding_box(mask)
    if box is None:
        return filled
    inside = filled[slices_of(box)]
    gaps, _ = require("scipy.ndimage", extra="nnunet").label(~inside)
    outside = [np.unique(gaps.take(end, axis)) for axis in range(3) for end in (0, -1)]
    open_gaps = np.zeros(int(gaps.max()) + 1, bool)
    open_gaps[np.concatenate(outside)] = True
    inside |= ~open_gaps[gaps]
    return filled


@contextmanager
def nnunet_fills_holes_so() -> Iterator[None]:
    """Inside, nnU-Net's cropping fills holes by `filled_holes`; the result is the same."""
    cropping: Any = require("nnunetv2.preprocessing.cropping.cropping", extra="nnunet")
    its_own = cropping.binary_fill_holes
    cropping.binary_fill_holes = filled_holes
    try:
        yield
    finally:
        cropping.binary_fill_holes = its_own
