"""Slices that a clinician drew before a session begins anew: propagation goes on to leave them alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from context_propagation.core.edited_slices import find_edited_slices
from context_propagation.core.errors import UserInputError


@dataclass(frozen=True, order=True)
class KeptSlice:
    """A slice of a volume.

    Attributes:
        axis: Array axis that it is perpendicular to: 0 (k), 1 (j) or 2 (i).
        index: Along that axis.
    """

    axis: int
    index: int


def slices_to_keep(
    drawn: Iterable[KeptSlice], known: np.ndarray, current: np.ndarray, axis: int | None = None
) -> tuple[KeptSlice, ...]:
    """The slices of a segment that are a clinician's drawing.

    These are the drawn slices that nobody changed since the last propagation, and those redrawn since. A slice that was
    changed along with many others, as by a tool that works in 3D, is no drawing any more. An empty segment has none.

    Args:
        drawn: Slices drawn before, each propagated or kept.
        known: bool `[K, J, I]`, the segment after the last propagation.
        current: bool `[K, J, I]`, the segment now.
        axis: Array axis in which slices were redrawn since; None finds it.
    """
    if not current.any():
        return ()
    difference = known ^ current
    kept = {s for s in drawn if not difference.take(s.index, s.axis).any()}
    if difference.any():
        kept |= {KeptSlice(edit.axis, edit.index) for edit in _redrawn(known, current, axis)}
    return tuple(sorted(kept))


def _redrawn(known: np.ndarray, current: np.ndarray, axis: int | None) -> Sequence[KeptSlice]:
    try:
        return [KeptSlice(edit.axis, edit.index) for edit in find_edited_slices(known, current, axis)]
    except UserInputError:  # no plane stands out
        return ()


def mask_of_slices(shape_kji: tuple[int, int, int], slices: Iterable[KeptSlice]) -> np.ndarray:
    """All voxels of some slices: bool `[K, J, I]`."""
    mask = np.zeros(shape_kji, bool)
    for kept in slices:
        np.moveaxis(mask, kept.axis, 0)[kept.index] = True
    return mask
