"""What a propagation came to, before and after it is written into the segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from context_propagation.core.image.boxed_mask import EMPTY, BoxedMask
from context_propagation.core.image.boxes import slices_of
from context_propagation.core.image.drawings import Drawing
from context_propagation.core.image.own_grid import OwnGrid
from context_propagation.core.image.slices import SliceEdit, mask_of_slices
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
        grid: That grid.
    """

    edits: tuple[SliceEdit, ...]
    result: PropagationResult
    step: Step
    known: BoxedMask
    drawn: BoxedMask
    drawing: Drawing
    grid: OwnGrid

    def rejecting(self, mask: np.ndarray) -> PendingPropagation:
        """The same where the voxels of a mask, bool `[K, J, I]`, stay as they are, now and after later propagations."""
        rejected, place = np.zeros(mask.shape, bool), slices_of(self.result.changed_box_kji or EMPTY)
        rejected[place] = self.result.changed[place] & mask[place]
        return replace(self, result=self.result.rejecting(mask), step=self.step.rejecting(rejected))

    def rejecting_slices(self, slices: Sequence[SliceEdit], neighbours: int) -> PendingPropagation:
        """The same where slices stay as they are, and are confirmed.

        Args:
            slices: Of the edits' axis, as the segment has them; none of them drawn.
            neighbours: See `confirming`.
        """
        from context_propagation.core.session.confirmation import confirming

        kept = self.rejecting(mask_of_slices(self.result.changed.shape, slices))
        return replace(kept, step=confirming(kept.step, slices, neighbours))

    def saved(self, report: WriteReport) -> SavedPropagation:
        """What the scene keeps of it, once it was written."""
        result = self.result
        rejected = np.stack(np.unravel_index(self.step.rejected, result.changed.shape), axis=1)
        return SavedPropagation(
            edits=self.edits,
            drawn=self.drawn,
            made_at=self.step.made_at,
            scope=result.scope,
            changed_per_slice=result.changed_per_slice,
            refused=report.refused,
            own_slices=self.drawing.own_slices,
            confirmed=self.step.confirmed,
            rejected=BoxedMask.of_points(result.changed.shape, rejected) if len(rejected) else None,
        )
