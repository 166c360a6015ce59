"""What a propagation came to, before and after it is written into the segment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.drawings import Drawing
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.session.saved_session import SavedPropagation
from context_propagation.mrml.writing.segment_writer import WriteReport

if TYPE_CHECKING:
    from context_propagation.core.session.session_settings import PropagationResult
    from context_propagation.core.session.step import Step


@dataclass(frozen=True)
class Propagation:
    """What one `propagate` did.

    Attributes:
        edits: The slices that were found redrawn.
        result: The engine's `PropagationResult`.
        report: Voxels written and refused.
    """

    edits: tuple[SliceEdit, ...]
    result: PropagationResult
    report: WriteReport


@dataclass(frozen=True)
class PendingPropagation:
    """What a propagation came to, not made yet: segment and engine are as they were until `apply`.

    Attributes:
        edits: The slices that were found redrawn.
        result: The engine's `PropagationResult`.
        step: What the engine's history will take.
        known: The segment before it was redrawn, on its own grid.
        drawn: The segment as redrawn.
        drawing: What was drawn, and where it lies on the segment's own grid.
    """

    edits: tuple[SliceEdit, ...]
    result: PropagationResult
    step: Step
    known: BoxedMask
    drawn: BoxedMask
    drawing: Drawing

    def saved(self, report: WriteReport) -> SavedPropagation:
        """What the scene keeps of it, once it was written."""
        said = self.step.made_at, self.result.scope, self.result.changed_per_slice, report.refused
        return SavedPropagation(self.edits, self.drawn, *said, self.drawing.own_slices)
