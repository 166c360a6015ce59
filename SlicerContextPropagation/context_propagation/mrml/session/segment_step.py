"""One propagation of a segment, as a step of the session's history; the editor's Undo is found by the voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.drawings import Drawing
from context_propagation.core.session.saved_session import SavedPropagation
from context_propagation.core.session.step import Step
from context_propagation.mrml.writing.segment_writer import Flips


@dataclass(frozen=True, kw_only=True)
class SegmentStep(Step):
    """A step of the engine, and what came of it in the segment; masks are on the grid that this is stored on.

    Attributes:
        known: The segment before it was redrawn.
        drawn: The segment as it was redrawn.
        propagated: The segment after it was propagated.
        drawing: What was drawn.
        written: The voxels that propagation changed; None where there are none, or where the
            Segment Editor takes them back.
        in_editor: Whether it is a step of the Segment Editor's history as well, which alone can take it back.
        saved: What a saved session says of it.
        taken_back: What our own Undo flipped: `written` in reverse, without what was redrawn since.
    """

    known: BoxedMask
    drawn: BoxedMask
    propagated: BoxedMask
    drawing: Drawing
    written: Flips | None
    in_editor: bool
    saved: SavedPropagation
    taken_back: Flips | None = None

    @classmethod
    def of(cls, step: Step, **of_segment: Any) -> SegmentStep:
        """A step of the engine, with what else there is to know."""
        return cls(**{field.name: getattr(step, field.name) for field in fields(Step)}, **of_segment)

    @cached_property
    def _wrote(self) -> tuple[np.ndarray, np.ndarray]:
        """Flat indices (C order over `[K, J, I]`) of the voxels that propagation changed; what they became."""
        points = self.drawn.differences(self.propagated)
        flat = np.ravel_multi_index(tuple(points.T), self.propagated.shape)
        return flat, self.propagated.at(flat)

    def drawn_in(self, segment: BoxedMask) -> BoxedMask:
        """The voxels that were redrawn for it, and still are in a segment as they were drawn."""
        points = self.known.differences(self.drawn)
        flat = np.ravel_multi_index(tuple(points.T), segment.shape)
        return BoxedMask.of_points(segment.shape, points[segment.at(flat) == self.drawn.at(flat)])

    @property
    def wrote_nothing(self) -> bool:
        """Whether no voxel of the segment shows that it was made."""
        return not self._wrote[0].size

    def left(self, segment: BoxedMask) -> bool:
        """Whether a segment is in every voxel as it was after it was propagated, where that wrote something."""
        return not self.wrote_nothing and segment.is_same(self.propagated)

    def is_in(self, segment: BoxedMask) -> bool:
        """Whether a segment has what propagation wrote."""
        flat, values = self._wrote
        if not flat.size:
            return False
        return segment.is_same(self.propagated) or np.array_equal(segment.at(flat), values)

    def is_undone_in(self, segment: BoxedMask) -> bool:
        """Whether a segment has again what was there before, on every voxel that propagation wrote."""
        flat, values = self._wrote
        if not flat.size or segment.is_same(self.propagated):
            return False
        return np.array_equal(segment.at(flat), ~values)


def segment_steps(steps: Sequence[Step]) -> list[SegmentStep]:
    """Those of them that were made on the segment: not those that were replayed, which cannot be undone."""
    return [step for step in steps if isinstance(step, SegmentStep)]


def count_missing(done: Sequence[SegmentStep], segment: BoxedMask) -> int:
    """How many steps a segment lacks at least: the last one that wrote something, and those after it; 0 for none."""
    for count, step in enumerate(reversed(done), start=1):
        if not step.wrote_nothing:
            return count if step.is_undone_in(segment) else 0
    return 0
