"""How a result looks: islands that nobody drew, and the step where near slices meet far ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from context_propagation.core.image.pieces import connected_pieces


def new_islands(before: np.ndarray, after: np.ndarray, axis: int, drawn: Sequence[int]) -> int:
    """Count the connected pieces that an edit made, and that no drawn slice runs through.

    Of a piece that fell apart the largest part is not new. Voxels are connected where they touch, also at edges and
    corners.

    Args:
        before: bool `[K, J, I]`, the segmentation before the edit.
        after: bool `[K, J, I]`, after it.
        axis: Array axis that the drawn slices are perpendicular to.
        drawn: Their indices.
    """
    pieces, earlier = connected_pieces(after)[0], connected_pieces(before)[0]
    known = set(np.unique(np.moveaxis(pieces, axis, 0)[list(drawn)]).tolist()) | {0}
    both = after & before
    pairs, shared = np.unique(np.stack((earlier[both], pieces[both])), axis=1, return_counts=True)
    for piece in np.unique(pairs[0]):
        parts = pairs[1][pairs[0] == piece]
        known.add(int(parts[shared[pairs[0] == piece].argmax()]))
    return len(set(np.unique(pieces).tolist()) - known)


def seam_mm2(
    mask: np.ndarray, truth: np.ndarray, axis: int, index: int, neighbours: int, spacing_kji_mm: Sequence[float]
) -> float:
    """How far the change of area from the last near slice to the first far one is from the truth's own change.

    The mean over both sides, s + n | s + n + 1 and s - n | s - n - 1, of those that lie in the volume.

    Args:
        mask: bool `[K, J, I]`.
        truth: bool `[K, J, I]`.
        axis: Array axis that the edited slice is perpendicular to.
        index: s.
        neighbours: n.
        spacing_kji_mm: Voxel size.

    Returns:
        mm2, 0 or more.
    """
    plane = tuple(a for a in range(3) if a != axis)
    areas = [one.sum(axis=plane).astype(float) for one in (mask, truth)]
    sides = [(index + step * neighbours, index + step * (neighbours + 1)) for step in (-1, 1)]
    steps = [
        abs((areas[0][far] - areas[0][near]) - (areas[1][far] - areas[1][near]))
        for near, far in sides
        if 0 <= far < len(areas[0])
    ]
    pixel_mm2 = float(np.prod([spacing_kji_mm[a] for a in plane]))
    return pixel_mm2 * sum(steps) / len(steps) if steps else 0.0
