"""Connected pieces of a mask. Voxels are connected where they touch, also at edges and corners."""

from __future__ import annotations

from itertools import product

import numpy as np
import SimpleITK as sitk

from context_propagation.core.image.boxes import bounding_box, dilate, slices_of, whole


def connected_pieces(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the pieces.

    Args:
        mask: bool `[K, J, I]`.

    Returns:
        The number of each voxel's piece, from 1, int `[K, J, I]`; and how many voxels each number has.
    """
    labels = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True)
    pieces = sitk.GetArrayFromImage(labels)
    return pieces, np.bincount(pieces.ravel())


def overlaps(pieces: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each two pieces, one of either kind, with voxels in common: their numbers, and how many voxels.

    Args:
        pieces: int `[K, J, I]`, numbers from 1.
        others: The same.
    """
    both, count = (pieces > 0) & (others > 0), int(others.max(initial=0)) + 1
    pairs, shared = np.unique(pieces[both].astype(np.int64) * count + others[both], return_counts=True)
    return *np.divmod(pairs, count), shared


def touching(pieces: np.ndarray, others: np.ndarray) -> dict[int, set[int]]:
    """For each piece that touches any, the others that it touches.

    Args:
        pieces: int `[K, J, I]`, numbers from 1.
        others: The same.
    """
    found: dict[int, set[int]] = {}
    box = bounding_box(pieces > 0)
    if box is None:
        return found
    place = slices_of(dilate(box, (1, 1, 1), whole(pieces.shape)))
    pieces, padded = pieces[place], np.pad(others[place], 1)
    for offset in product(range(3), repeat=3):
        moved = padded[tuple(slice(start, start + n) for start, n in zip(offset, pieces.shape, strict=True))]
        both = (pieces > 0) & (moved > 0)
        for piece, other in set(zip(pieces[both].tolist(), moved[both].tolist(), strict=True)):
            found.setdefault(piece, set()).add(other)
    return found
