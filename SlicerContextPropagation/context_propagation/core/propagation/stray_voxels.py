"""What nobody would draw: new islands, crumbs and one-voxel holes that a propagation leaves; ours, not the paper's.

Eq. 4 decides for each voxel alone, so labels flip in single voxels too, far from everything that was drawn or there
before. `without_strays` takes such changes back or completes them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from context_propagation.core.image.boxes import Box, bounding_box, dilate, slices_of, whole

CRUMB = 0.1
"""A piece that is cut off is a crumb where it has less than this share of the voxels of the largest piece left, as far
as both lie within `CONTEXT_VOXELS` of the changes."""


CONTEXT_VOXELS = 8
"""Around all changes that is looked at; a piece that goes on beyond is no crumb."""


def without_strays(
    before: np.ndarray, changed: np.ndarray, free: np.ndarray, axis: int, box: Box, shape: Sequence[int]
) -> np.ndarray:
    """Changes that leave no new island, no crumb and no new hole of one voxel behind.

    - A connected piece that holds no voxel that was there before is an island: it is not added.
    - Of a connected piece that falls apart, what is less than `CRUMB` of the largest part is removed too, unless it
      holds a voxel that may not be written, or all of a piece that was there before.
    - A background voxel whose four neighbours in its slice are target is filled, unless it was such a hole before or
      may not be written.

    On slices on which the propagation changes nothing, nothing is changed here either: what reaches them stays.

    Voxels are connected where they touch, also at edges and corners.

    Args:
        before: bool, the box's shape, the segmentation with the drawings in it.
        changed: bool, the same shape: which labels a propagation flips.
        free: bool, the same shape: what a propagation may write at all.
        axis: Of the drawn slices.
        box: Where these lie in the image, (k, j, i): all changes and `CONTEXT_VOXELS` more, as far as the image goes.
        shape: Of the image, (K, J, I).

    Returns:
        bool, the same shape: which labels to flip.
    """
    around = bounding_box(changed)
    if around is None:
        return changed
    around = dilate(around, (CONTEXT_VOXELS,) * 3, whole(changed.shape))
    place = slices_of(around)
    tidied = np.zeros_like(changed)
    tidied[place] = _tidied(before[place], changed[place], free[place], axis, _cut_faces(around, box, shape))
    return tidied


def _cut_faces(inner: Box, box: Box, shape: Sequence[int]) -> list[tuple[int, int]]:
    """The faces of a part of a box behind which the image goes on: axis, and 0 or -1 for its first or last slice."""
    faces = []
    for axis, ((start, stop), (origin, _)) in enumerate(zip(inner, box, strict=True)):
        faces += [(axis, 0)] if origin + start > 0 else []
        faces += [(axis, -1)] if origin + stop < shape[axis] else []
    return faces


def _tidied(
    before: np.ndarray, changed: np.ndarray, free: np.ndarray, axis: int, faces: Sequence[tuple[int, int]]
) -> np.ndarray:
    after = before ^ changed
    free = free & changed.any(axis=tuple(a for a in range(3) if a != axis), keepdims=True)
    pieces, sizes = _pieces(after)
    held = [pieces[~free], *(pieces.take(end, of) for of, end in faces)]
    stray = _are_islands(pieces, sizes, before) | _are_crumbs(pieces, sizes, before, held)
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


def _are_crumbs(pieces: np.ndarray, sizes: np.ndarray, before: np.ndarray, held: Sequence[np.ndarray]) -> np.ndarray:
    """For each piece, whether it is small beside all that it was one with, and holds all of none; none that is held."""
    crumbs = np.zeros(sizes.shape, bool)
    if len(sizes) < 3:  # one piece beside the background
        return crumbs
    earlier, earlier_sizes = _pieces(before)
    both = before & (pieces > 0)
    pairs, shared = np.unique(earlier[both].astype(np.int64) * len(sizes) + pieces[both], return_counts=True)
    was, now = np.divmod(pairs, len(sizes))
    largest = np.zeros(earlier_sizes.shape, sizes.dtype)
    np.maximum.at(largest, was, sizes[now])
    crumbs[now] = True
    np.logical_and.at(crumbs, now, (sizes[now] < CRUMB * largest[was]) & (shared < earlier_sizes[was]))
    for of_held in held:
        crumbs[of_held] = False
    crumbs[0] = False
    return crumbs


def _pieces(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of each voxel's connected piece, from 1, and the voxels of each number."""
    labels = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True)
    pieces = sitk.GetArrayFromImage(labels)
    return pieces, np.bincount(pieces.ravel())


def _holes(mask: np.ndarray, axis: int) -> np.ndarray:
    """Background voxels whose four neighbours in their slice are target; none at the array's edges."""
    hole = ~mask
    for in_plane in (a for a in range(3) if a != axis):
        moved = np.moveaxis(mask, in_plane, 0)
        inside = np.moveaxis(hole, in_plane, 0)
        inside[1:-1] &= moved[:-2] & moved[2:]
        inside[[0, -1]] = False
    return hole
