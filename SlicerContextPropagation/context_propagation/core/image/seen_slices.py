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
    for axis, first, last in _runs(places):
        _add(found, grid.image_from_own_ijk[2 - axis], first, last, box)
    return found


def _runs(places: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Slices that follow each other, as (axis, first, last)."""
    runs: list[tuple[int, int, int]] = []
    for axis, index in sorted(set(places)):
        if runs and runs[-1][0] == axis and runs[-1][2] == index - 1:
            runs[-1] = axis, runs[-1][1], index
        else:
            runs.append((axis, index, index))
    return runs


def _add(found: np.ndarray, row: np.ndarray, first: int, last: int, box: Box) -> None:
    """Mark the voxels of slices that follow each other: of each column across them, from one index to another.

    Args:
        found: bool, the box's shape.
        row: Of the matrix from own indices (i, j, k): it gives the image index across the slices.
        first: Of the slices.
        last: Likewise.
        box: On the own grid.
    """
    steps = row[2::-1]  # by which a step along own k, j, i moves across the slices
    across = int(np.argmax(np.abs(steps)))
    step, reach = steps[across], max(0.5, float(np.abs(steps).sum()) / 2)  # half a voxel's extent across the slices
    along = [steps[axis] * np.arange(*box[axis] if steps[axis] else (1,)) for axis in range(3) if axis != across]
    base = row[3] + np.add.outer(*along)
    ends = [np.round((end - base) / step, TIE_DECIMALS) for end in (first - reach, last + reach)]
    start, stop = [np.ceil(end) for end in ends] if step > 0 else [np.floor(end) + 1 for end in ends[::-1]]
    columns, (begin, end) = np.moveaxis(found, across, 0), box[across]
    for own in range(max(begin, int(start.min())), min(end, int(stop.max()))):
        columns[own - begin] |= (start <= own) & (own < stop)
