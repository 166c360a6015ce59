"""Other contours of the same structure: each as an observer who draws wider or tighter would draw it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import SimpleITK as sitk

MOST_MM = 3.0
"""Observers of one gross tumour volume differ by a few millimetres, mostly all around."""


MOST_OF_DEPTH = 0.5
"""A contour shrinks and grows by at most this share of the structure's depth, so that a small one does not vanish."""


def contour_styles(truth: np.ndarray, spacing_kji_mm: tuple[float, ...], count: int, seed: int) -> Iterator[np.ndarray]:
    """Grow or shrink a contour by the same distance everywhere, another one each time.

    Args:
        truth: bool `[K, J, I]`.
        spacing_kji_mm: Voxel size.
        count: How many.
        seed: Of the distances, uniform up to 3 mm or half the structure's depth.

    Yields:
        bool `[K, J, I]`.
    """
    if not truth.any() or truth.all():
        return
    depth = (_distance(truth, spacing_kji_mm) - _distance(~truth, spacing_kji_mm)) / 2
    most = min(MOST_MM, MOST_OF_DEPTH * float(depth.max()))
    for offset_mm in np.random.default_rng(seed).uniform(-most, most, count):
        yield depth > -offset_mm


def _distance(mask: np.ndarray, spacing_kji_mm: tuple[float, ...]) -> np.ndarray:
    """To the outermost voxels of a mask in mm, positive inside; less the rest's, twice the distance to the surface."""
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(spacing_kji_mm[::-1])
    return np.asarray(sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(image, True, False, True)))
