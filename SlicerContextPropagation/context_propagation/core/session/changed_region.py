"""The region of a result that somebody points at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from context_propagation.core.image.boxes import slices_of
from context_propagation.core.session.session_settings import PropagationResult


def changed_region(result: PropagationResult, voxel_kji: Sequence[int]) -> np.ndarray | None:
    """The voxels that a result adds, or removes, in one piece with a voxel; those that touch at a corner are one piece.

    Args:
        result: Of a propagation.
        voxel_kji: A voxel (k, j, i) of the image.

    Returns:
        bool `[K, J, I]`; None where that voxel is not changed, or lies outside the image.
    """
    import SimpleITK as sitk  # not above: Slicer would wait a sixth of a second for it when the effect is chosen

    box = result.changed_box_kji
    if box is None or not all(start <= n < stop for n, (start, stop) in zip(voxel_kji, box, strict=True)):
        return None
    place, seed = slices_of(box), [int(n) - start for n, (start, _) in zip(voxel_kji, box, strict=True)]
    added = result.segmentation[place]
    alike = result.changed[place] & (added == added[tuple(seed)])
    if not alike[tuple(seed)]:
        return None
    image = sitk.GetImageFromArray(alike.astype(np.uint8))
    full = sitk.ConnectedThresholdImageFilter.FullConnectivity
    piece = sitk.ConnectedThreshold(image, [seed[::-1]], 1, 1, 1, full)
    region = np.zeros(result.changed.shape, bool)
    region[place] = sitk.GetArrayViewFromImage(piece) > 0
    return region
