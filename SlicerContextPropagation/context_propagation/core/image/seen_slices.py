"""The voxels of a segment's own grid that make up a slice of the image, as somebody sees it in a slice view."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from context_propagation.core.image.boxes import Box, box_shape
from context_propagation.core.image.nearest_pull import TIE_DECIMALS
from context_propagation.core.image.own_grid import OwnGrid


def voxels_of_slices(grid: OwnGrid, places: Iterable[tuple[int, int]], box: Box) -> np.ndarray:
    """Which voxels of a box belong to slices of the image, or are cut by the middle of one.

    A slice view cuts through the middle of a slice. Where the grids are tilted to each other, or the segment's slices
    are thicker, it also meets voxels that belong to the slice beside: these are seen on both.

    Args:
        grid: The segment's own.
        places: The slices of the image (axis, index).
        box: On that grid; it may reach beyond.

    Returns:
        bool, the box's shape.
    """
    found = np.zeros(box_shape(box), bool)
    for axis, index in places:
        _add(found, grid.image_from_own_ijk[2 - axis], index, box)
    return found


def _add(found: np.ndarray, row: np.ndarray, index: int, box: Box) -> None:
    """Mark the voxels of one slice, found column by column along the own axis that runs most across it.

    Args:
        found: bool, the box's shape.
        row: Of the matrix from own indices (i, j, k): it gives the image index across the slice.
        index: Of the slice.
        box: On the own grid.
    """
    steps = row[2::-1]  # by which a step along own k, j, i moves across the slice
    across = int(np.argmax(np.abs(steps)))
    reach = max(0.5, float(np.abs(steps).sum()) / 2)  # a voxel's half extent across the slice
    flat, other = [axis for axis in range(3) if axis != across]
    base = row[3] + np.add.outer(steps[flat] * np.arange(*box[flat]), steps[other] * np.arange(*box[other]))
    columns, (start, stop) = np.moveaxis(found, across, 0), box[across]
    nearest = np.round((index - base) / steps[across]).astype(int)
    most = int(reach / abs(steps[across])) + 1
    for own in (nearest + step for step in range(-most, most + 1)):
        distance = np.round(base + own * steps[across] - index, TIE_DECIMALS)
        cut = (distance >= -reach) & (distance < reach) & (own >= start) & (own < stop)
        columns[(own[cut] - start, *np.nonzero(cut))] = True
