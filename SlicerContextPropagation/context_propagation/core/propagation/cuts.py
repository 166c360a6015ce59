"""What a propagation would cut in two, mended: the part is removed too, or stays joined; ours, not the paper's."""

from __future__ import annotations

import numpy as np

from context_propagation.core.image.pieces import connected_pieces, overlaps, touching


def mended_cuts(before: np.ndarray, after: np.ndarray, fixed: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Leave no part of a piece on its own, in the way that takes fewer voxels.

    A part of a piece that fell apart is on its own where another part is larger and it holds no fixed voxel, so that no
    drawn slice runs through it. It is removed, or the smallest removed region that joined it to another part is put
    back, whichever is smaller; only the latter where the part is held.

    Args:
        before: bool `[K, J, I]`, before the propagation, with the drawings in it.
        after: bool `[K, J, I]`, after it.
        fixed: bool `[K, J, I]`, what a propagation may not write.
        held: bool `[K, J, I]`: a part that has one of these voxels is not removed; fixed ones among them.

    Returns:
        bool `[K, J, I]`.
    """
    mended, earlier = after.copy(), None
    while True:
        parts, sizes = connected_pieces(mended)
        if len(sizes) < 3:  # one part beside the background
            return mended
        earlier = connected_pieces(before)[0] if earlier is None else earlier
        alone = _on_their_own(earlier, parts, fixed)
        removed, of_removed = connected_pieces(before & ~mended)
        joins = _joins(removed, np.where(before, parts, 0), alone) if alone else {}
        if not joins:
            return mended
        part = min(joins, key=lambda number: int(sizes[number]))
        bridge = min(joins[part], key=lambda number: int(of_removed[number]))
        if sizes[part] <= of_removed[bridge] and not held[parts == part].any():
            mended[parts == part] = False
        else:
            mended[removed == bridge] = True


def _on_their_own(earlier: np.ndarray, parts: np.ndarray, fixed: np.ndarray) -> set[int]:
    """Parts of an earlier piece that are not its largest and hold no fixed voxel."""
    was, now, shared = overlaps(earlier, parts)
    largest = {was[n]: now[n] for n in np.argsort(shared, kind="stable")}
    return {*now.tolist()} - {int(part) for part in largest.values()} - {*np.unique(parts[fixed]).tolist()}


def _joins(removed: np.ndarray, parts: np.ndarray, alone: set[int]) -> dict[int, list[int]]:
    """For each part on its own, the removed regions that touch it and another part."""
    joins: dict[int, list[int]] = {}
    for region, touched in touching(removed, parts).items():
        for part in touched & alone if len(touched) > 1 else ():
            joins.setdefault(part, []).append(region)
    return joins
