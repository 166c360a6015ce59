"""Where a segment's drawn and confirmed slices lie on its own grid: no propagation writes them, this or a later one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import EMPTY, BoxedMask
from context_propagation.core.image.boxes import Box
from context_propagation.core.image.drawings import Drawing
from context_propagation.core.image.own_grid import NO_SLICES, OwnGrid, OwnMask, OwnSlices
from context_propagation.core.image.seen_slices import voxels_of_slices
from context_propagation.core.image.slices import SliceEdit
from context_propagation.mrml.session.segment_step import SegmentStep

NO_BITS = np.zeros(0, np.uint8)


class DrawnSlices:
    """The segment's own grid, and what was drawn on it before this session.

    Attributes:
        grid: As it was when the image was set; where it starts on the lattice of the labelmap, as it was read last.
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
        there = current.on(self.grid)
        if there is not None:
            self.grid = there.grid
            return there.mask
        if current.mask.is_empty:  # nothing says any more on which grid it was
            return BoxedMask(self.grid.shape, EMPTY, NO_BITS)
        raise UserInputError(
            "The segment was put on another voxel grid since the last Predict or Start; press it again, and redraw"
        )

    def drawn(self, steps: Iterable[SegmentStep]) -> OwnSlices:
        """All slices that were drawn, before this session and in propagations that are in the segment."""
        slices = self.before
        for step in steps:
            slices |= step.drawing.own_slices
        return slices

    def waiting(self, steps: Iterable[SegmentStep], drawing: Drawing) -> frozenset[tuple[int, int]]:
        """Slices (axis, index) of the image that were drawn on in other planes."""
        earlier = self.grid.image_slices_at(self.before).places  # the engine knows those of the drawn planes, no others
        return drawing.waiting.union(earlier, *(step.drawing.waiting for step in steps))

    def spared(
        self, steps: Iterable[SegmentStep], drawing: Drawing, confirmed: Iterable[SliceEdit]
    ) -> Callable[[Box], np.ndarray]:
        """Says of a box of the segment's labelmap which voxels must not be written.

        Args:
            steps: The propagations that are in the segment.
            drawing: That of the one that is to be written.
            confirmed: Slices of the image that must look as they do.
        """
        slices, grid = self.drawn(steps) | drawing.own_slices, self.grid
        places = [] if grid.is_image_s else sorted({(one.axis, one.index) for one in confirmed})

        def of(lattice_box: Box) -> np.ndarray:
            box = grid.box_of_lattice(lattice_box)
            return slices.over(box) | voxels_of_slices(grid, places, box)

        return of
