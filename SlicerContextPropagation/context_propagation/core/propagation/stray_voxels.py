"""What nobody would draw: new islands, crumbs and one-voxel holes that a propagation leaves; ours, not the paper's.

Eq. 4 decides for each voxel alone, so labels flip in single voxels too, far from everything that was drawn or there
before. `without_strays` takes such changes back or completes them.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from context_propagation.core.image.boxes import bounding_box, dilate, slices_of, whole

CRUMB = 0.1
"""A piece that is cut off is a crumb where it has less than this share of the voxels of the largest piece left."""


CONTEXT_VOXELS = 8
"""Around all changes that is looked at: a crumb is no wider."""


def without_strays(before: np.ndarray, changed: np.ndarray, free: np.ndarray, axis: int) -> np.ndarray:
    """Changes that leave no new island, no crumb and no new hole of one voxel behind.

    - A connected piece that holds no voxel that was there before is an island: it is not added.
    - Of a connected piece that falls apart, what is less than `CRUMB` of the largest part is removed too, unless a
      drawn slice runs through it.
    - A background voxel whose four neighbours in its slice are target is filled, unless it was such a hole before.

    Voxels are connected where they touch, also at edges and corners.

    Args:
        before: bool `[K, J, I]`, the segmentation with the drawings in it, in a box with all changes and
            `CONTEXT_VOXELS` more, as far as the image goes.
        changed: bool, the same shape: which labels a propagation flips.
        free: bool, the same shape: what a propagation may write at all.
        axis: Of the drawn slices.

    Returns:
        bool, the same shape: which labels to flip.
    """
    around = bounding_box(changed)
    if around is None:
        return changed
    place = slices_of(dilate(around, (CONTEXT_VOXELS,) * 3, whole(changed.shape)))
    tidied = np.zeros_like(changed)
    tidied[place] = _tidied(before[place], changed[place], free[place], axis)
    return tidied


def _tidied(before: np.ndarray, changed: np.ndarray, free: np.ndarray, axis: int) -> np.ndarray:
    after = before ^ changed
    pieces, sizes = _pieces(after)
    stray = _are_islands(pieces, sizes, before) | _are_crumbs(pieces, sizes, before, ~free)
    after &= ~(stray[pieces] & free)
    after |= _holes(after, axis) & ~_holes(before, axis) & free
    flipped: np.ndarray = after != before
    return flipped


def _are_islands(pieces: np.ndarray, sizes: np.ndarray, before: np.ndarray) -> np.ndarray:
    """For each piece, whether it is all new."""
    new = np.ones(sizes.shape, bool)
    new[pieces[before]] = False
    new[0] = False
    return new


def _are_crumbs(pieces: np.ndarray, sizes: np.ndarray, before: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """For each piece, whether it is small, and was one with a larger one before.

    None is that fixed voxels are in, or that reaches the faces of the box.
    """
    crumbs = np.zeros(sizes.shape, bool)
    if len(sizes) < 3:  # one piece beside the background
        return crumbs
    earlier, earlier_sizes = _pieces(before)
    both = before & (pieces > 0)
    together = np.unique(earlier[both].astype(np.int64) * len(sizes) + pieces[both])
    was, now = np.divmod(together, len(sizes))
    largest = np.zeros(earlier_sizes.shape, sizes.dtype)
    np.maximum.at(largest, was, sizes[now])
    crumbs[now] = sizes[now] < CRUMB * largest[was]
    for held in (pieces[fixed], *_faces(pieces)):
        crumbs[held] = False
    crumbs[0] = False
    return crumbs


def _pieces(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of each voxel's connected piece, from 1, and the voxels of each number."""
    labels = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True)
    pieces = sitk.GetArrayFromImage(labels)
    return pieces, np.bincount(pieces.ravel())


def _faces(array: np.ndarray) -> list[np.ndarray]:
    return [array.take(end, axis) for axis in range(array.ndim) for end in (0, -1)]


def _holes(mask: np.ndarray, axis: int) -> np.ndarray:
    """Background voxels whose four neighbours in their slice are target; none at the array's edges."""
    hole = ~mask
    for in_plane in (a for a in range(3) if a != axis):
        moved = np.moveaxis(mask, in_plane, 0)
        inside = np.moveaxis(hole, in_plane, 0)
        inside[1:-1] &= moved[:-2] & moved[2:]
        inside[[0, -1]] = False
    return hole
