"""Slices of a segment that the user says are right as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.drawings import slices_as_they_are
from context_propagation.core.image.own_grid import OwnGrid
from context_propagation.core.image.slices import require_inside
from context_propagation.core.session.saved_session import SavedPropagation
from context_propagation.mrml.session.pending_propagation import PendingPropagation
from context_propagation.mrml.session.segment_step import SegmentStep

if TYPE_CHECKING:
    from context_propagation.core.session.session import Session


def confirmation(
    session: Session, grid: OwnGrid, known: BoxedMask, current: BoxedMask, axis: int, indices: Sequence[int]
) -> SegmentStep:
    """The step that confirms slices; it writes nothing.

    Args:
        session: The engine.
        grid: The segment's own.
        known: The segment as it was after the last propagation, on that grid.
        current: As it is.
        axis: Array axis of the image that the slices are perpendicular to.
        indices: Theirs; those that were drawn or confirmed before are left out.

    Raises:
        UserInputError: No slice is left, one lies outside the image, or was redrawn and not propagated yet.
    """
    from context_propagation.core.session.confirmation import confirming, idle_step, unclaimed

    left = _with_own_voxels(grid, axis, unclaimed(session.records, axis, indices))
    as_known, as_they_are = (slices_as_they_are(grid, mask, axis, left) for mask in (known, current))
    for before, now in zip(as_known.edits, as_they_are.edits, strict=True):
        if not np.array_equal(before.mask, now.mask):
            raise UserInputError(f"Slice {now.index} was redrawn; propagate it, then it stays as it was drawn")
    step = confirming(idle_step(session.records), as_known.edits, session.settings.neighbours)
    return SegmentStep.of(
        step,
        known=known,
        drawn=known,
        propagated=known,
        drawing=as_known,
        written=None,
        in_editor=False,
        saved=SavedPropagation((), made_at=step.made_at, confirmed=as_known.edits),
    )


def without_slices(pending: PendingPropagation, indices: Sequence[int], neighbours: int) -> PendingPropagation:
    """A propagation that leaves slices of its plane as they are, and confirms them.

    Args:
        pending: The propagation.
        indices: Of the slices; those that were drawn or confirmed are left out.
        neighbours: See `confirming`.

    Raises:
        UserInputError: As `confirmable`.
    """
    left = confirmable(pending, indices)
    slices = slices_as_they_are(pending.grid, pending.drawn, pending.drawing.axis, left).edits
    return pending.rejecting_slices(slices, neighbours)


def confirmable(pending: PendingPropagation, indices: Sequence[int]) -> list[int]:
    """Those slices of a propagation's plane that it may leave as they are; in ascending order.

    Raises:
        UserInputError: All were drawn or confirmed, or lie where the segment has no voxels of its own, or one lies
            outside the image.
    """
    from context_propagation.core.session.confirmation import unclaimed

    axis = pending.drawing.axis
    return _with_own_voxels(pending.grid, axis, unclaimed(pending.step.after, axis, indices))


def _with_own_voxels(grid: OwnGrid, axis: int, indices: Sequence[int]) -> list[int]:
    """Those that voxels of the segment's own grid belong to: on others, as on a coarser grid, nothing can be kept."""
    require_inside(grid.image_shape, axis, indices)
    left = [index for index in indices if grid.is_image_s or grid.has_voxels_on(axis, index)]
    if not left:
        raise UserInputError(
            f"The segment's own slices are thicker than the image's, and none belongs to slice {indices[0]}; confirm "
            "the one before or after it"
        )
    return left
