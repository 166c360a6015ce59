"""The propagations that are in a segment, and those taken back: found by the voxels, as Undo tells no one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from context_propagation.core.image.boxed_mask import EMPTY, BoxedMask
from context_propagation.core.image.boxes import box_shape
from context_propagation.core.image.drawings import Drawing


@dataclass(frozen=True)
class PropagationStep:
    """One propagation, kept for undo.

    Attributes:
        known: The segment before it was redrawn.
        after: The segment after it was propagated.
        flipped: Flat indices (C order over `[K, J, I]`) of the voxels that propagation wrote.
        values: What they became, bool.
        saved_state: Whether the writer has a state of before.
        drawing: What was drawn.
    """

    known: BoxedMask
    after: BoxedMask
    flipped: np.ndarray
    values: np.ndarray
    saved_state: bool
    drawing: Drawing

    @classmethod
    def of(
        cls, known: BoxedMask, drawn: BoxedMask, after: BoxedMask, saved_state: bool, drawing: Drawing
    ) -> PropagationStep:
        """A step from the segment before it was redrawn, as redrawn, and as propagated."""
        box = drawn.differs_within(after) or EMPTY
        places = np.flatnonzero(drawn.over(box) ^ after.over(box))
        inside = np.unravel_index(places, box_shape(box))
        starts = [start for start, _ in box]
        flipped = np.ravel_multi_index([i + start for i, start in zip(inside, starts, strict=True)], after.shape)
        return cls(known, after, flipped, after.at(flipped), saved_state, drawing)

    def is_in(self, segment: BoxedMask) -> bool:
        """Whether a segment has what propagation wrote."""
        if not self.flipped.size:
            return False
        return segment.is_same(self.after) or np.array_equal(segment.at(self.flipped), self.values)

    def is_undone_in(self, segment: BoxedMask) -> bool:
        """Whether a segment has again what was there before."""
        if not self.flipped.size or segment.is_same(self.after):
            return False
        return np.array_equal(segment.at(self.flipped), ~self.values)


class PropagationHistory:
    """Attributes:
    done: Those in the segment, first to last.
    undone: Those taken back; the last is the first to come again.
    """

    def __init__(self) -> None:
        self.done: list[PropagationStep] = []
        self.undone: list[PropagationStep] = []

    def step_back(self) -> BoxedMask:
        """Take the last one back; returns the segment before it was redrawn."""
        self.undone.append(self.done.pop())
        return self.undone[-1].known

    def step_forward(self) -> BoxedMask:
        """Make it again; returns the segment after it."""
        self.done.append(self.undone.pop())
        return self.done[-1].after

    def count_missing(self, segment: BoxedMask) -> int:
        """How many steps a segment lacks at least: the last one that wrote something, and those after it; 0 for none.

        A step counts as undone where every voxel that it wrote has its old value again.
        """
        for count, step in enumerate(reversed(self.done), start=1):
            if step.flipped.size:
                return count if step.is_undone_in(segment) else 0
        return 0

    def has_again(self, segment: BoxedMask) -> bool:
        """Whether a segment has what the step that was last taken back wrote."""
        return bool(self.undone) and self.undone[-1].is_in(segment)
