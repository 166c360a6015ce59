"""Slices that a user says are right as they are: protected as drawn ones are, without being redrawn."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import replace

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import NO_VOXELS
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.propagation.edit_record import EditRecord
from context_propagation.core.session.step import Step, now_utc


def unclaimed(records: Sequence[EditRecord], axis: int, indices: Sequence[int]) -> list[int]:
    """Those of some slices that were neither drawn nor confirmed; in ascending order.

    Raises:
        UserInputError: There are none, or they are no whole numbers.
    """
    try:
        wanted = {operator.index(one) for one in indices}  # numpy's integers too
    except TypeError as error:
        raise UserInputError(f"Slices to confirm: {indices}; give whole numbers") from error
    left = sorted(wanted - {edit.index for record in records if record.axis == axis for edit in record.edits})
    if not left:
        names = ", ".join(str(index) for index in sorted(wanted)) or "None"
        raise UserInputError(f"Slices to confirm: {names}; choose one that was neither drawn nor confirmed before")
    return left


def idle_step(records: tuple[EditRecord, ...]) -> Step:
    """A step that changes nothing, to confirm slices in."""
    return Step((), records, records, NO_VOXELS, NO_VOXELS.astype(bool), now_utc())


def confirming(step: Step, slices: Sequence[SliceEdit], neighbours: int) -> Step:
    """A step in which slices are confirmed too.

    Args:
        step: Of a preview, or an idle one.
        slices: Of one axis, as they are; neither drawn nor confirmed before.
        neighbours: So many slices on each side the model is not asked to doubt.
    """
    if not slices:
        return step
    now = 1 + max((at for record in step.after for at, _ in record.drawings()), default=0)
    record = EditRecord(tuple(slices), neighbours, near=(), drawn_at=(now,) * len(slices), confirmed=True)
    return replace(step, after=(*step.after, record), confirmed=(*step.confirmed, *slices))
