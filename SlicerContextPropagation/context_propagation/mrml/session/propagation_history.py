"""The propagations that are in a segment, and those taken back: found by the voxels, as Undo tells no one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from context_propagation.mrml.session.boxed_mask import BoxedMask


@dataclass(frozen=True)
class PropagationStep:
    """One propagation, kept for undo.

    Attributes:
        known: The segment before it was redrawn.
        after: The segment after it was propagated.
        flipped: Flat indices (C order over `[K, J, I]`) of the voxels that propagation wrote.
        values: What they became, bool.
        saved_state: Whether the writer has a state of before.
    """

    known: BoxedMask
    after: BoxedMask
    flipped: np.ndarray
    values: np.ndarray
    saved_state: bool

    @classmethod
    def of(cls, known: np.ndarray, drawn: np.ndarray, after: np.ndarray, saved_state: bool) -> PropagationStep:
        """A step from the segment (bool `[K, J, I]`) before it was redrawn, as redrawn, and as propagated."""
        flipped = np.flatnonzero(drawn != after)
        return cls(BoxedMask.of(known), BoxedMask.of(after), flipped, after.reshape(-1)[flipped], saved_state)

    def is_in(self, segment: np.ndarray) -> bool:
        """Whether a segment has what propagation wrote."""
        return bool(np.array_equal(segment.reshape(-1)[self.flipped], self.values)) and self.flipped.size > 0

    def is_undone_in(self, segment: np.ndarray) -> bool:
        """Whether a segment has again what was there before."""
        return bool(np.array_equal(segment.reshape(-1)[self.flipped], ~self.values)) and self.flipped.size > 0


class PropagationHistory:
    """Attributes:
    done: Those in the segment, first to last.
    undone: Those taken back; the last is the first to come again.
    """

    def __init__(self) -> None:
        self.done: list[PropagationStep] = []
        self.undone: list[PropagationStep] = []

    def step_back(self) -> np.ndarray:
        """Take the last one back; returns the segment before it was redrawn."""
        self.undone.append(self.done.pop())
        return self.undone[-1].known.mask

    def step_forward(self) -> np.ndarray:
        """Make it again; returns the segment after it."""
        self.done.append(self.undone.pop())
        return self.done[-1].after.mask

    def count_missing(self, segment: np.ndarray) -> int:
        """How many steps a segment lacks at least: the last one that wrote something, and those after it; 0 for none.

        A step counts as undone where every voxel that it wrote has its old value again.
        """
        for count, step in enumerate(reversed(self.done), start=1):
            if step.flipped.size:
                return count if step.is_undone_in(segment) else 0
        return 0

    def has_again(self, segment: np.ndarray) -> bool:
        """Whether a segment has what the step that was last taken back wrote."""
        return bool(self.undone) and self.undone[-1].is_in(segment)
