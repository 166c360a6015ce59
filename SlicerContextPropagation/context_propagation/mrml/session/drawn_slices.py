"""Where a segment's drawn slices lie on its own grid: no propagation writes them, this one or a later one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import EMPTY, BoxedMask
from context_propagation.core.image.boxes import Box, around, box_of, slices_of, whole
from context_propagation.core.image.drawings import Drawing
from context_propagation.core.image.own_grid import NO_SLICES, OwnGrid, OwnMask, OwnSlices
from context_propagation.core.image.slices import slice_place
from context_propagation.mrml.session.propagation_history import PropagationStep

if TYPE_CHECKING:
    from context_propagation.core.session.session_settings import PropagationResult

NO_BITS = np.zeros(0, np.uint8)


class DrawnSlices:
    """The segment's own grid, and what was drawn on it before this session.

    Attributes:
        grid: As it was when the image was set.
        before: Slices that were drawn in a session that was replayed.
    """

    def __init__(self) -> None:
        self.grid = OwnGrid.of_image((1, 1, 1))
        self.before = NO_SLICES

    def begin(self, known: OwnMask, before: OwnSlices = NO_SLICES) -> BoxedMask:
        """A new start: the segment as it is known."""
        self.grid, self.before = known.grid, before
        return known.mask

    def on_known_grid(self, current: OwnMask) -> BoxedMask:
        """A segment as it was read, on the grid that it is known on.

        Raises:
            UserInputError: It was put on another grid.
        """
        if self.grid.is_same(current.grid):
            return current.mask
        if current.mask.is_empty:  # nothing says any more on which grid it was
            return BoxedMask(self.grid.shape, EMPTY, NO_BITS)
        raise UserInputError(
            "The segment was put on another voxel grid since the last Predict or Start; press it again, and redraw"
        )

    def drawn(self, steps: Iterable[PropagationStep]) -> OwnSlices:
        """All slices that were drawn, before this session and in propagations that are in the segment."""
        slices = self.before
        for step in steps:
            slices |= step.drawing.own_slices
        return slices

    def waiting(self, steps: Iterable[PropagationStep], drawing: Drawing) -> np.ndarray | None:
        """Voxels of the image, bool, that were drawn on slices of other planes; None where there are none."""
        places = drawing.waiting.union(*(step.drawing.waiting for step in steps))
        if not places:
            return None
        mask = np.zeros(self.grid.image_shape, bool)
        for axis, index in places:
            mask[slice_place(axis, index)] = True
        return mask

    def spared(self, steps: Iterable[PropagationStep], drawing: Drawing) -> Callable[[Box], np.ndarray]:
        """Says of a box of the segment's labelmap which voxels must not be written."""
        slices, starts = self.drawn(steps) | drawing.own_slices, self.grid.start_kji

        def over(box: Box) -> np.ndarray:
            return slices.over(box_of([(a - s, b - s) for (a, b), s in zip(box, starts, strict=True)]))

        return over

    def to_write(self, result: PropagationResult, drawing: Drawing, protected: np.ndarray) -> tuple[np.ndarray, Box]:
        """Which voxels of the image the segment takes from a result, bool, and a box around them.

        On a drawn slice of the image those that the drawing changed: thinner slices of the segment in it that were not
        drawn themselves follow. Where the slice of the image itself was drawn, none.
        """
        box = result.changed_box_kji or EMPTY
        to_write = np.zeros(result.changed.shape, bool)
        to_write[slices_of(box)] = result.changed[slices_of(box)]
        follows = bool(drawing.own_slices.places)
        for edit, redrawn in zip(drawing.edits, drawing.redrawn, strict=True):
            to_write[edit.place] = redrawn & ~protected[edit.place] if follows else False
            if follows and redrawn.any():
                spans = list(whole(result.changed.shape))
                spans[edit.axis] = (edit.index, edit.index + 1)
                box = around(box, box_of(spans))
        return to_write, box
