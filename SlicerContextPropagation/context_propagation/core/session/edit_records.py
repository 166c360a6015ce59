"""The record of an edit: its slices, when each was drawn, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence

from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.propagation.edit_propagation import Propagated
from context_propagation.core.propagation.edit_record import EditRecord
from context_propagation.core.session.session_settings import SessionSettings

Drawing = tuple[int, SliceEdit]
"""When a slice was drawn, counted in edits, and the slice."""


def drawings_of(
    records: Sequence[EditRecord], joined: Sequence[EditRecord], edits: Sequence[SliceEdit]
) -> list[Drawing]:
    """All slices that are optimised together: new edits come after all earlier ones; by slice index.

    Args:
        records: All earlier ones.
        joined: Those of them whose slices are optimised with the new edits.
        edits: The new ones.
    """
    now = 1 + max((at for record in records for at, _ in record.drawings()), default=0)
    earlier = [drawing for record in joined for drawing in record.drawings()]
    return sorted([*earlier, *((now, edit) for edit in edits)], key=lambda drawing: drawing[1].index)


def record_of(drawings: Sequence[Drawing], propagated: Propagated, settings: SessionSettings) -> EditRecord:
    """What is remembered of slices that were optimised together."""
    return EditRecord(
        edits=tuple(edit for _, edit in drawings),
        neighbours=settings.neighbours,
        near=propagated.near,
        updates=propagated.updates,
        drawn_at=tuple(at for at, _ in drawings),
        features=propagated.features if settings.several_edits == "joint" else (),
        far=propagated.far,
    )
