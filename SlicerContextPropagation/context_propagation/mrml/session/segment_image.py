"""A segment on its volumes: read, written, and the image given to the engine around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import EMPTY, BoxedMask
from context_propagation.core.image.boxes import Box
from context_propagation.core.image.own_grid import NO_SLICES, OwnGrid, OwnMask, OwnSlices
from context_propagation.core.image.source_volume import axis_of_plane
from context_propagation.mrml.nodes.segment_reader import SegmentReader
from context_propagation.mrml.nodes.volume_nodes import (
    deferred_source_volume,
    image_times,
    planes_of_volume,
    require_one_image,
    volume_shape_kji,
)
from context_propagation.mrml.nodes.world_matrices import relative_place
from context_propagation.mrml.session.drawn_slices import NO_BITS, DrawnSlices
from context_propagation.mrml.session.operation import Operation
from context_propagation.mrml.session.segment_step import SegmentStep, segment_steps
from context_propagation.mrml.writing.segment_writer import SegmentWriter, WriteReport, write_changed_voxels

if TYPE_CHECKING:
    from context_propagation.core.session.session import Session


class SegmentImage:
    """One segment and its volumes, as they were when the engine was given their image.

    Args:
        session: The engine.
        volume_nodes: One per channel.
        segmentation_node: Holds the segment.
        segment_id: The segment.

    Attributes:
        volume: The first volume, on whose grid the engine works.
        node: Holds the segment.
        segment_id: The segment.
        last_known: The segment as it was read after the last propagation, whatever was moved or changed since; None
            where no image was set.
        drawn: The grid that the segment is stored on, and what was drawn on it.
        place: `[4, 4]`, from the segmentation's own RAS to the first volume's indices, when the image was set.
    """

    def __init__(
        self,
        session: Session,
        volume_nodes: Sequence[slicer.vtkMRMLScalarVolumeNode],
        segmentation_node: slicer.vtkMRMLSegmentationNode,
        segment_id: str,
    ) -> None:
        if not volume_nodes:
            raise UserInputError("No volume is selected; select one volume per channel")
        self._session = session
        self._volumes = list(volume_nodes)
        self.volume, self.node, self.segment_id = volume_nodes[0], segmentation_node, segment_id
        self.last_known: BoxedMask | None = None
        self.drawn = DrawnSlices()
        self.place = np.eye(4)
        self._reader = SegmentReader(segmentation_node, segment_id, volume_nodes[0])
        self._image_times: tuple[int, ...] = ()

    def require_known(self) -> BoxedMask:
        """The segment as it was read after the last propagation, on the grid that it is stored on.

        Raises:
            UserInputError: No image is set, or nodes were deleted, moved or changed.
        """
        self._require_nodes()
        if self.last_known is None:
            raise UserInputError("No image is set; set the image before propagating")
        if not np.allclose(self.place, relative_place(self.volume, self.node), atol=1e-4):
            raise UserInputError(
                f"'{self.node.GetName()}' and '{self.volume.GetName()}' were moved relative to each other; "
                "press Predict, or Start again in the Segment Editor"
            )
        if self._image_times != image_times(self._volumes):
            raise UserInputError("The voxels of a volume were changed since the last Predict or Start; press it again")
        return self.last_known

    def read(self) -> BoxedMask:
        """The segment as it is now, on the grid that it is stored on.

        Raises:
            UserInputError: It cannot be read, or was put on another grid since the image was set.
        """
        current = self._reader.read()
        if self.last_known is None:
            return current.mask
        if current.grid.start_in(self.drawn.grid) is None and self._may_move(current):
            self._move(current.grid)
        return self.drawn.on_known_grid(current)

    def _may_move(self, current: OwnMask) -> bool:
        """Whether what is drawn into an empty segment decides on which grid it is."""
        session, known = self._session, self.last_known
        steps = segment_steps([*session.done, *session.undone])
        is_new = known is not None and known.is_empty and not any(step.edits for step in steps)
        return is_new and not current.mask.is_empty

    def _move(self, grid: OwnGrid) -> None:
        """An empty segment goes on another grid, and with it what was confirmed of it."""
        empty = self.last_known = self.drawn.begin(OwnMask(grid, BoxedMask(grid.shape, EMPTY, NO_BITS)))
        for steps in (self._session.done, self._session.undone):
            steps[:] = [
                replace(step, known=empty, drawn=empty, propagated=empty) if isinstance(step, SegmentStep) else step
                for step in steps
            ]

    def write(
        self,
        writer: SegmentWriter,
        segmentation: np.ndarray,
        changed: np.ndarray,
        axis: int,
        box: Box,
        spared: Callable[[Box], np.ndarray] | None = None,
    ) -> WriteReport:
        """Write changed voxels, all of which lie in a box; see `write_changed_voxels`."""
        where = self.node, self.segment_id, self.volume
        return write_changed_voxels(writer, *where, segmentation, changed, axis=axis, within=box, spared=spared)

    def axis(self, axis: int | None, plane: str | None) -> int | None:
        """The array axis of slices that are named by it, by their plane, or not at all.

        Raises:
            UserInputError: Both are given, and differ.
        """
        if plane is None:
            return axis
        named = axis_of_plane(planes_of_volume(self.volume), plane)
        if axis is not None and axis != named:
            raise UserInputError(f"Axis {axis} is not the axis of {plane} slices ({named}); give one of them")
        return named

    def set_operation(
        self, writer: SegmentWriter, initial: np.ndarray | None, ready: Any, fill: bool
    ) -> Operation[WriteReport]:
        """Give the image to the engine; expensive. A segment that is empty is filled with the model's prediction.

        Args:
            writer: Writes the prediction.
            initial: bool `[K, J, I]`, the segment before it was edited; without it, the segment as it is now.
            ready: What `ready_image` made of the volumes, so that it is not done again.
            fill: Whether a segment that is empty is filled.

        Returns:
            An operation that reports what was written: nothing, unless the segment was empty.

        Raises:
            UserInputError: Volumes or the segment cannot be used, now, when it begins or when it finishes.
        """
        volume_of = deferred_source_volume(self._volumes) if ready is None else lambda: ready
        times = image_times(self._volumes)
        current = self._reader.read()
        before = current.mask if initial is None else current.grid.from_image(BoxedMask.of(initial.astype(bool)))
        nothing_before = fill and (before.is_empty if initial is None else not initial.any())
        predicts = nothing_before and current.mask.is_empty
        replaced: list[BoxedMask] = []

        def begin() -> None:
            self._require_nodes()
            if not self._reader.read().is_same(current):
                raise UserInputError("The segment was changed meanwhile; press Predict or Start again")

        def compute(progress: Progress, cancelled: CancelCheck) -> None:
            progress("read", 0.0)
            on_image = current.grid.to_image(before).mask if initial is None else initial.astype(bool)
            self._session.set_image(volume_of(), None if nothing_before else on_image, progress, cancelled)
            replaced.append(BoxedMask.of(self._session.segmentation))

        def finish(_: None) -> WriteReport:
            self.last_known = None
            self._require_nodes()
            if times != image_times(self._volumes):
                raise UserInputError("The voxels of a volume were changed while they were read; press Predict or Start")
            report = WriteReport()
            if predicts:
                if not self._reader.read().mask.is_empty:
                    raise UserInputError("The segment was changed during the prediction; press Predict or Start again")
                predicted = self._session.segmentation
                report = self.write(writer, predicted, predicted, 0, replaced[0].box)
            self._start(self._reader.read() if predicts else OwnMask(current.grid, before))
            return report

        def abandon() -> None:
            if replaced:  # cancelled too late for the engine to go back to its earlier image
                self.last_known = None

        return Operation("Set image", compute, finish, abandon, begin)

    def resume(self, known: OwnMask | None, drawn: OwnSlices) -> None:
        """Go on with a session that holds an image already; see `PropagationLogic.resume`."""
        require_one_image(self._volumes)
        shape = volume_shape_kji(self.volume)
        if known is None:
            segmentation = BoxedMask.of(self._session.segmentation)
            known = OwnMask(OwnGrid.of_image(segmentation.shape), segmentation)
        if known.grid.image_shape != shape:
            raise UserInputError(
                f"The session's image has shape {known.grid.image_shape} and volume '{self.volume.GetName()}' has "
                f"{shape} (k, j, i); select the volume that the session was saved with"
            )
        current = self._reader.read()
        there = current.on(known.grid)
        if there is not None and not known.grid.is_same(current.grid):
            known = known.as_beside_image(there)
        elif there is None and known.grid.is_image_s:
            known, drawn = OwnMask(current.grid, current.grid.from_image(known.mask)), current.grid.slices_at(drawn)
        self._start(known, drawn)
        self.read()

    def _start(self, known: OwnMask, drawn: OwnSlices = NO_SLICES) -> None:
        self.last_known = self.drawn.begin(known, drawn)
        self.place, self._image_times = relative_place(self.volume, self.node), image_times(self._volumes)

    def _require_nodes(self) -> None:
        for node in (self.node, *self._volumes):
            if node.GetScene() is None:
                raise UserInputError(f"'{node.GetName()}' was deleted; select what to work on again")
