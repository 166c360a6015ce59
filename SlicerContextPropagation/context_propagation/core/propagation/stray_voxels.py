"""What nobody would draw, and a propagation leaves: new islands, crumbs, cuts, one-voxel holes; ours, not the paper's.

Eq. 4 decides for each voxel alone, so labels flip in single voxels too, far from everything that was drawn or there
before. `without_strays` takes such changes back or completes them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from context_propagation.core.image.boxes import Box, bounding_box, dilate, slices_of, whole
from context_propagation.core.image.pieces import connected_pieces, overlaps
from context_propagation.core.propagation.cuts import mended_cuts

CRUMB = 0.1
"""A piece that is cut off is a crumb where it has less than this share of the voxels of the largest piece left, as far
as both lie within `CONTEXT_VOXELS` of the changes."""


CONTEXT_VOXELS = 8
"""Around all changes that is looked at; a piece that goes on beyond is no crumb."""


def without_strays(
    earlier: np.ndarray,
    before: np.ndarray,
    changed: np.ndarray,
    free: np.ndarray,
    near: np.ndarray,
    axis: int,
    box: Box,
    shape: Sequence[int],
) -> np.ndarray:
    """Changes that leave no new island, no crumb, nothing cut in two and no new hole of one voxel behind.

    - A connected piece that holds no voxel that was there before is an island: it is not added.
    - Of a connected piece that falls apart, also by the drawing, what is less than `CRUMB` of the largest part is
      removed too, unless it holds a voxel that may not be written, or all of a piece that was there before.
    - Where a propagation would leave a larger part on its own, it is removed or stays joined; see `mended_cuts`.
    - A background voxel whose four neighbours in its slice are target is filled, unless it was such a hole before, may
      not be written, or lies on a slice on which the propagation changes nothing.

    Voxels are connected where they touch, also at edges and corners.

    Args:
        earlier: bool, the box's shape, the segmentation before the drawings.
        before: bool, the same shape, with the drawings in it.
        changed: bool, the same shape: which labels a propagation flips.
        free: bool, the same shape: what a propagation may write at all.
        near: bool, the same shape: the near slices of the edits so far.
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
    faces = _cut_faces(around, box, shape)
    tidied[place] = _tidied(earlier[place], before[place], changed[place], free[place], near[place], axis, faces)
    return tidied


def _cut_faces(inner: Box, box: Box, shape: Sequence[int]) -> list[tuple[int, int]]:
    """The faces of a part of a box behind which the image goes on: axis, and 0 or -1 for its first or last slice."""
    faces = []
    for axis, ((start, stop), (origin, _)) in enumerate(zip(inner, box, strict=True)):
        faces += [(axis, 0)] if origin + start > 0 else []
        faces += [(axis, -1)] if origin + stop < shape[axis] else []
    return faces


def _tidied(
    earlier: np.ndarray,
    before: np.ndarray,
    changed: np.ndarray,
    free: np.ndarray,
    near: np.ndarray,
    axis: int,
    faces: Sequence[tuple[int, int]],
) -> np.ndarray:
    after, held = before ^ changed, ~free
    for of, end in faces:
        np.moveaxis(held, of, 0)[end] = True
    pieces, sizes = connected_pieces(after)
    stray = _are_islands(pieces, sizes, before) | _are_crumbs(pieces, sizes, earlier, held)
    after &= ~(stray[pieces] & free)
    after = mended_cuts(before, after, ~free, held, near)
    on_changed_slices = changed.any(axis=tuple(a for a in range(3) if a != axis), keepdims=True)
    after |= _holes(after, axis) & ~_holes(before, axis) & free & on_changed_slices
    flipped: np.ndarray = after != before
    return flipped


def _are_islands(pieces: np.ndarray, sizes: np.ndarray, before: np.ndarray) -> np.ndarray:
    """For each piece, whether it is all new."""
    new = np.ones(sizes.shape, bool)
    new[pieces[before]] = False
    new[0] = False
    return new


def _are_crumbs(pieces: np.ndarray, sizes: np.ndarray, earlier: np.ndarray, held: np.ndarray) -> np.ndarray:
    """For each piece, whether it is small beside all that it was one with, and holds all of none; none that is held."""
    crumbs = np.zeros(sizes.shape, bool)
    if len(sizes) < 3:  # one piece beside the background
        return crumbs
    earlier_pieces, earlier_sizes = connected_pieces(earlier)
    was, now, shared = overlaps(earlier_pieces, pieces)
    largest = np.zeros(earlier_sizes.shape, sizes.dtype)
    np.maximum.at(largest, was, sizes[now])
    crumbs[now] = True
    np.logical_and.at(crumbs, now, (sizes[now] < CRUMB * largest[was]) & (shared < earlier_sizes[was]))
    crumbs[pieces[held]] = False
    crumbs[0] = False
    return crumbs


def _holes(mask: np.ndarray, axis: int) -> np.ndarray:
    """Background voxels whose four neighbours in their slice are target; none at the array's edges."""
    hole = ~mask
    for in_plane in (a for a in range(3) if a != axis):
        moved = np.moveaxis(mask, in_plane, 0)
        inside = np.moveaxis(hole, in_plane, 0)
        inside[1:-1] &= moved[:-2] & moved[2:]
        inside[[0, -1]] = False
    return hole
