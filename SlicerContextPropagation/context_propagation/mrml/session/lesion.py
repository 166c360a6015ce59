"""What a table says of one segment that has a session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from context_propagation.core.errors import UserInputError
from context_propagation.mrml.nodes.selection import Selection
from context_propagation.mrml.session.live_session import LiveSession

LesionState = Literal["ready", "redrawn", "preview", "running", "moved or changed"]


@dataclass(frozen=True)
class Lesion:
    """One segment.

    Attributes:
        selection: Volumes, segmentation and segment.
        name: The segment's.
        volume_ml: Millilitres, on the grid that the segment is stored on.
        state: "ready"; "redrawn" since the last propagation; "preview", a propagation that waits to be applied;
            "running"; "moved or changed", where volume or segmentation are no longer as they were.
        edits: How many slices were drawn or confirmed, before and in this session.
        place: To sort by: the segmentation's ID, and the segment's place in it.
    """

    selection: Selection
    name: str
    volume_ml: float
    state: LesionState
    edits: int
    place: tuple[str, int]

    @classmethod
    def of(cls, live: LiveSession) -> Lesion:
        """As it is now; reads the segment, and changes nothing.

        Raises:
            UserInputError: Segment or nodes were deleted.
        """
        selection, propagation = live.selection, live.propagation
        selection.require_nodes()
        node = selection.segmentation_node
        place = node.GetID(), node.GetSegmentation().GetSegmentIndex(selection.segment_id)
        state: LesionState = "moved or changed"
        current = propagation.last_known
        try:
            known, current = propagation.known_and_current()
            state = "ready" if known.is_same(current) else "redrawn"
        except UserInputError:
            pass
        if propagation.busy:
            state = "preview" if propagation.pending is not None else "running"
        volume_ml = (current.count if current else 0) * propagation.grid.voxel_mm3 / 1000.0
        return cls(selection, selection.name, volume_ml, state, len(live.drawings), place)
