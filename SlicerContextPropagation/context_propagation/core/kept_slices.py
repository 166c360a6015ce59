"""Slices that a clinician drew before a session begins anew: propagation goes on to leave them alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from context_propagation.core.edited_slices import SliceEdit


def slices_to_keep(
    drawings: Iterable[SliceEdit], segment: np.ndarray, redrawn: Sequence[SliceEdit] = ()
) -> tuple[SliceEdit, ...]:
    """The slices of a segment that still are as a clinician drew them.

    An empty segment has none.

    Args:
        drawings: Slices drawn and propagated, in their order; a later one counts where two cross.
        segment: bool `[K, J, I]`, as it is now.
        redrawn: Slices of one plane that were redrawn since, as they are now.

    Returns:
        By axis and index.
    """
    in_order = [*drawings, *redrawn]
    if not in_order or not segment.any():
        return ()
    expected = segment.copy()
    for edit in in_order:
        np.moveaxis(expected, edit.axis, 0)[edit.index] = edit.mask
    places = sorted({(edit.axis, edit.index) for edit in in_order})
    kept = [SliceEdit(axis, index, segment.take(index, axis)) for axis, index in places]
    return tuple(edit for edit in kept if np.array_equal(edit.mask, expected.take(edit.index, edit.axis)))


def mask_of_slices(shape_kji: tuple[int, int, int], slices: Iterable[SliceEdit]) -> np.ndarray:
    """All voxels of some slices: bool `[K, J, I]`."""
    mask = np.zeros(shape_kji, bool)
    for kept in slices:
        np.moveaxis(mask, kept.axis, 0)[kept.index] = True
    return mask
