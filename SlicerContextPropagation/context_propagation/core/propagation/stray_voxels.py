"""What nobody would draw: new islands, crumbs, cuts and one-voxel holes that a propagation leaves; ours, not the paper's.

Eq. 4 decides for each voxel alone, so labels flip in single voxels too, far from everything that was drawn or there
before. `without_strays` takes such changes back or completes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

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
    """Changes that leave no new island, no crumb, nothing cut in two and no new hole of one voxel behind.

    - A connected piece that holds no voxel that was there before is an island: it is not added.
    - Of a connected piece that falls apart, what is less than `CRUMB` of the largest part is removed too, unless it
      holds a voxel that may not be written, or all of a piece that was there before.
    - What is left of a piece stays one piece: what would be removed between its parts stays, but where the smaller part
      holds a voxel that may not be written, so that a drawn slice may run through it.
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
    fixed, free = ~free, free & changed.any(axis=tuple(a for a in range(3) if a != axis), keepdims=True)
    pieces, sizes = _pieces(after)
    held = [pieces[~free], *(pieces.take(end, of) for of, end in faces)]
    stray = _are_islands(pieces, sizes, before) | _are_crumbs(pieces, sizes, before, held)
    after &= ~(stray[pieces] & free)
    after |= _bridges(before, after, fixed)
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
    was, now, shared = _overlaps(earlier, pieces)
    largest = np.zeros(earlier_sizes.shape, sizes.dtype)
    np.maximum.at(largest, was, sizes[now])
    crumbs[now] = True
    np.logical_and.at(crumbs, now, (sizes[now] < CRUMB * largest[was]) & (shared < earlier_sizes[was]))
    for of_held in held:
        crumbs[of_held] = False
    crumbs[0] = False
    return crumbs


def _bridges(before: np.ndarray, after: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Removed voxels that joined what is now apart, where a part without fixed voxels would be on its own."""
    bridges = np.zeros_like(after)
    parts, _ = _pieces(after)
    alone = _left_alone(_pieces(before)[0], parts, fixed)
    if not alone:
        return bridges
    removed, _ = _pieces(before & ~after)
    touched: dict[int, set[int]] = {}
    for piece, part in _touching(removed, np.where(before, parts, 0)):
        touched.setdefault(piece, set()).add(part)
    joining = [piece for piece, of_piece in touched.items() if len(of_piece) > 1 and of_piece & alone]
    return np.isin(removed, joining)


def _left_alone(earlier: np.ndarray, parts: np.ndarray, fixed: np.ndarray) -> set[int]:
    """Parts of a piece that are not its largest and hold no fixed voxel."""
    was, now, shared = _overlaps(earlier, parts)
    largest = {was[n]: now[n] for n in np.argsort(shared, kind="stable")}
    return {*now.tolist()} - {int(part) for part in largest.values()} - {*np.unique(parts[fixed]).tolist()}


def _touching(pieces: np.ndarray, parts: np.ndarray) -> list[tuple[int, int]]:
    """Each piece with each part that it touches, also at edges and corners."""
    found, padded = set(), np.pad(parts, 1)
    for offset in product(range(3), repeat=3):
        shifted = padded[tuple(slice(start, start + n) for start, n in zip(offset, pieces.shape, strict=True))]
        both = (pieces > 0) & (shifted > 0)
        found.update(zip(pieces[both].tolist(), shifted[both].tolist(), strict=True))
    return sorted(found)


def _overlaps(earlier: np.ndarray, pieces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each earlier piece and piece with voxels in common: their numbers, and how many voxels."""
    both, count = (earlier > 0) & (pieces > 0), int(pieces.max(initial=0)) + 1
    pairs, shared = np.unique(earlier[both].astype(np.int64) * count + pieces[both], return_counts=True)
    return *np.divmod(pairs, count), shared


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
