"""Propagate what a clinician drew in a segment: from nodes to the engine, and back through one writer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import EMPTY, BoxedMask
from context_propagation.core.image.boxes import Box
from context_propagation.core.image.drawings import Drawing, find_drawing
from context_propagation.core.image.own_grid import NO_SLICES, OwnGrid, OwnMask, OwnSlices
from context_propagation.core.image.slices import SliceEdit
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
from context_propagation.mrml.session.propagation_history import PropagationHistory, PropagationStep
from context_propagation.mrml.writing.editor_logic_writer import EditorLogicWriter
from context_propagation.mrml.writing.segment_writer import (
    SegmentWriter,
    UndoableWriter,
    WriteReport,
    write_changed_voxels,
)

if TYPE_CHECKING:
    from context_propagation.core.session.session import Session
    from context_propagation.core.session.session_settings import PropagationResult


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
    """What a propagation came to, not written yet: the segment is as drawn until `apply`.

    Attributes:
        edits: The slices that were found redrawn.
        result: The engine's `PropagationResult`.
        known: The segment before it was redrawn, on its own grid.
        drawn: The segment as redrawn.
        drawing: What was drawn, and where it lies on the segment's own grid.
    """

    edits: tuple[SliceEdit, ...]
    result: PropagationResult
    known: BoxedMask
    drawn: BoxedMask
    drawing: Drawing


class PropagationLogic:
    """One segment, its source volume, and the engine's session, kept in step.

    What was drawn is found by comparing the segment with what it was after the last propagation, voxel by voxel on the
    grid that it is stored on: so voxels that masking refused do not look like edits, and none is missed.

    Args:
        scene: Holds the nodes.
        session: The engine.
        volume_nodes: One per channel.
        segmentation_node: Holds the segment.
        segment_id: The segment.
        writer: Who writes; without it, an `EditorLogicWriter` without masks.

    Attributes:
        place: `[4, 4]`, from the segmentation's own RAS to the first volume's indices, when the image was set.
    """

    def __init__(
        self,
        scene: slicer.vtkMRMLScene,
        session: Session,
        volume_nodes: Sequence[slicer.vtkMRMLScalarVolumeNode],
        segmentation_node: slicer.vtkMRMLSegmentationNode,
        segment_id: str,
        writer: SegmentWriter | None = None,
    ) -> None:
        if not volume_nodes:
            raise UserInputError("No volume is selected; select one volume per channel")
        self._session = session
        self._volumes = list(volume_nodes)
        self._node = segmentation_node
        self._segment_id = segment_id
        self.writer = writer or EditorLogicWriter(scene, segmentation_node, volume_nodes[0])
        self._known: BoxedMask | None = None
        self._drawn = DrawnSlices()
        self._reader = SegmentReader(segmentation_node, segment_id, volume_nodes[0])
        self.place = np.eye(4)
        self._image_times: tuple[int, ...] = ()
        self._history = PropagationHistory()
        self._computing = False
        self.pending: PendingPropagation | None = None

    def set_image(
        self,
        initial: np.ndarray | None = None,
        progress: Progress | None = None,
        cancelled: CancelCheck | None = None,
    ) -> WriteReport:
        """`image_operation`, run here.

        Raises:
            UserInputError: Volumes or the segment cannot be used.
            Cancelled: `cancelled` returned true; nothing was changed.
        """
        return self.image_operation(initial).run(**_given(progress=progress, cancelled=cancelled))

    def image_operation(self, initial: np.ndarray | None = None, ready: Any = None) -> Operation[WriteReport]:
        """Give the image to the engine; expensive. A segment that is empty is filled with the model's prediction.

        Args:
            initial: bool `[K, J, I]`, the segment before it was edited; without it, the segment as it is now.
            ready: What `ready_image` made of the volumes, so that it is not done again.

        Returns:
            An operation that reports what was written: nothing, unless the segment was empty.

        Raises:
            UserInputError: Volumes or the segment cannot be used, now or when it finishes.
        """
        self._require_free()
        volume_of = deferred_source_volume(self._volumes) if ready is None else lambda: ready
        times = image_times(self._volumes)
        current = self._reader.read()
        before = current.mask if initial is None else current.grid.from_image(BoxedMask.of(initial.astype(bool)))
        on_image = current.grid.to_image(before).mask if initial is None else initial.astype(bool)
        predicts = before.is_empty and current.mask.is_empty
        replaced: list[BoxedMask] = []

        def compute(progress: Progress, cancelled: CancelCheck) -> None:
            progress("read", 0.0)
            self._session.set_image(volume_of(), None if before.is_empty else on_image, progress, cancelled)
            replaced.append(BoxedMask.of(self._session.segmentation))

        def finish(_: None) -> WriteReport:
            self._known = None
            self._require_nodes()
            if times != image_times(self._volumes):
                raise UserInputError("The voxels of a volume were changed while they were read; press Predict or Start")
            report = WriteReport()
            if predicts:
                if not self._reader.read().mask.is_empty:
                    raise UserInputError("The segment was changed during the prediction; press Predict or Start again")
                predicted = self._session.segmentation
                report = self._write(predicted, predicted, 0, replaced[0].box)
            self._start(self._reader.read() if predicts else OwnMask(current.grid, before))
            return report

        def abandon() -> None:
            if replaced:  # cancelled too late for the engine to go back to its earlier image
                self._known = None

        return self._exclusive("Set image", compute, finish, abandon)

    def resume(self, known: OwnMask | None = None, drawn: OwnSlices = NO_SLICES) -> None:
        """Go on with a session that holds an image already, e.g. one restored from a file.

        What the segment differs in from what is known counts as drawn.

        Args:
            known: The segment as it was read after the last propagation, on its own grid; by default the session's
                segmentation, which looks the same only where the segment's grid is the volume's.
            drawn: Slices of its own grid that were drawn before.

        Raises:
            UserInputError: Volumes cannot be used, or the session's image is of another size.
        """
        require_one_image(self._volumes)
        shape = volume_shape_kji(self._volumes[0])
        if known is None:
            segmentation = BoxedMask.of(self._session.segmentation)
            known = OwnMask(OwnGrid.of_image(segmentation.shape), segmentation)
        if known.grid.image_shape != shape:
            raise UserInputError(
                f"The session's image has shape {known.grid.image_shape} and volume '{self._volumes[0].GetName()}' has "
                f"{shape} (k, j, i); select the volume that the session was saved with"
            )
        current = self._reader.read()
        if not known.grid.is_same(current.grid) and known.grid.is_image_s:
            known = OwnMask(current.grid, current.grid.from_image(known.mask))
        self._start(known, drawn)
        self.read()

    def edits(self, axis: int | None = None, plane: str | None = None) -> list[SliceEdit]:
        """The slices that were redrawn since the last propagation, as they are in the segment now.

        Args:
            axis: Array axis (0: k, 1: j, 2: i) that the slices are perpendicular to.
            plane: Or its name: axial, sagittal or coronal. Without either, the plane that stands out.

        Raises:
            UserInputError: No image is set, nothing was redrawn, no plane stands out, or nodes were moved or changed.
        """
        self._require_image()
        return self._edits_in(self.read(), self._axis(axis, plane))

    def redrawn(self, plane: str | None = None, current: BoxedMask | None = None) -> list[SliceEdit]:
        """As `edits`; nothing where nothing was redrawn.

        Args:
            plane: As in `edits`.
            current: What `read` gave just now, so that it is not read again.
        """
        known, current = self._require_image(), current or self.read()
        axis = self._axis(None, plane)
        return [] if known.is_same(current) else self._edits_in(current, axis)

    def _edits_in(self, current: BoxedMask, axis: int | None) -> list[SliceEdit]:
        return list(find_drawing(self._drawn.grid, self._require_image(), current, axis).edits)

    def propagate(
        self,
        axis: int | None = None,
        plane: str | None = None,
        progress: Progress | None = None,
        cancelled: CancelCheck | None = None,
    ) -> Propagation:
        """`propagation_operation`, run here, and applied.

        Raises:
            UserInputError: As `edits`, or the engine refuses.
            Cancelled: `cancelled` returned true; nothing was changed.
        """
        operation = self.propagation_operation(axis, plane)
        return self.apply(operation.run(**_given(progress=progress, cancelled=cancelled)))

    def propagation_operation(
        self, axis: int | None = None, plane: str | None = None, current: BoxedMask | None = None
    ) -> Operation[PendingPropagation]:
        """Propagate the redrawn slices; the segment stays as drawn until the result is applied.

        Args:
            axis: As in `edits`.
            plane: As in `edits`.
            current: As in `redrawn`.

        Returns:
            An operation that gives what to `apply` or `discard`; until then nothing else may be done.

        Raises:
            UserInputError: As `edits`, or the engine refuses.
        """
        self._require_free()
        self._require_image()
        drawn = current or self.read()
        self.follow_segment(drawn)
        known = self._require_image()
        drawing = find_drawing(self._drawn.grid, known, drawn, self._axis(axis, plane))
        edits, spared = drawing.edits, self._drawn.waiting(self._history.done, drawing)
        made: list[Any] = []

        def compute(progress: Progress, cancelled: CancelCheck) -> Any:
            made.append(self._session.propagate(edits, progress, cancelled, spared))
            return made[0]

        def finish(result: Any) -> PendingPropagation:
            self._history.undone.clear()  # propagating cleared the engine's
            self.pending = PendingPropagation(edits, result, known, drawn, drawing)
            return self.pending

        def abandon() -> None:
            if made:
                self._session.discard_last()
                self._history.undone.clear()

        return self._exclusive("Propagate", compute, finish, abandon)

    def apply(self, pending: PendingPropagation) -> Propagation:
        """Write what a propagation changed into the segment as one undo step.

        Raises:
            UserInputError: It was applied or discarded before, the segment is no longer as it was drawn, or nodes were
                deleted, moved or changed. The segment is unchanged, and the propagation is discarded.
        """
        self._require_pending(pending)
        edits = pending.edits
        try:
            self._require_image()
            if not self.read().is_same(pending.drawn):
                raise UserInputError("The segment was changed since it was propagated; propagate again")
            result, box = pending.result, pending.result.changed_box_kji or EMPTY
            to_write, box = pending.drawing.to_write(result.changed, box, self._session.masks()["manual"])
            spared = self._drawn.spared(self._history.done, pending.drawing)
            report = self._write(result.segmentation, to_write, edits[0].axis, box, spared)
        except BaseException:
            self.discard(pending)
            raise
        self.pending = None
        self._known = self.read()
        saved_state = bool(report.written or report.refused)
        self._history.done.append(
            PropagationStep.of(pending.known, pending.drawn, self._known, saved_state, pending.drawing)
        )
        return Propagation(edits, pending.result, report)

    def discard(self, pending: PendingPropagation) -> None:
        """Forget a propagation that was not applied: the segment and what was drawn in it stay as they are.

        Raises:
            UserInputError: It was applied or discarded before.
        """
        self._require_pending(pending)
        self.pending = None
        self._session.discard_last()

    def undo(self) -> None:
        """Take back the last propagation, in the engine and in the segment; what was drawn stays.

        Raises:
            UserInputError: Nothing to undo, the segmentation was edited since, or the writer has no history.
        """
        self._require_free()
        if not self._history.done:
            raise UserInputError("Nothing to undo; no propagation was made on this image")
        self._require_image()
        if self._history.done[-1].saved_state:
            self._undoable("undo").undo()
        self._session.undo()
        self._known = self._history.step_back()

    def redo(self) -> None:
        """Make the propagation that was last taken back again.

        Raises:
            UserInputError: Nothing to redo, the segmentation was edited since, or the writer has no history.
        """
        self._require_free()
        if not self._history.undone:
            raise UserInputError("Nothing to redo; no propagation was undone on this image")
        self._require_image()
        if self._history.undone[-1].saved_state:
            self._undoable("redo").redo()
        self._session.redo()
        self._known = self._history.step_forward()

    @property
    def done_count(self) -> int:
        """How many propagations are in the segment: those made, less those undone."""
        return len(self._history.done)

    @property
    def busy(self) -> bool:
        """Whether a computation runs, or a propagation waits to be applied or discarded."""
        return self._computing or self.pending is not None

    @property
    def can_undo(self) -> bool:
        return bool(self._history.done)

    @property
    def can_redo(self) -> bool:
        return bool(self._history.undone)

    @property
    def known(self) -> BoxedMask:
        """The segment as it was read after the last propagation, on the grid that it is stored on.

        Raises:
            UserInputError: No image is set, or nodes were moved or changed.
        """
        return self._require_image()

    @property
    def grid(self) -> OwnGrid:
        """The grid that the segment was stored on when the image was set."""
        return self._drawn.grid

    @property
    def last_known(self) -> OwnMask | None:
        """As `known`, whatever was moved or changed since; None where no image was set."""
        return None if self._known is None else OwnMask(self._drawn.grid, self._known)

    def follow_segment(self, current: BoxedMask | None = None) -> BoxedMask:
        """Bring the engine in step where the Segment Editor's Undo or Redo was pressed, which tells no one.

        See `PropagationHistory` for what counts as undone; one that wrote nothing is undone with the one before it.

        Args:
            current: As in `redrawn`.

        Returns:
            The segment as it is.
        """
        self._require_free()
        self._require_image()
        current, history = current or self.read(), self._history
        while (count := history.count_missing(current)) > 0:
            for _ in range(count):
                self._session.undo()
                self._known = history.step_back()
        while history.has_again(current):
            self._session.redo()
            self._known = history.step_forward()
        return current

    def read(self) -> BoxedMask:
        """The segment as it is now, on the grid that it is stored on.

        Raises:
            UserInputError: It cannot be read, or was put on another grid since the image was set.
        """
        current = self._reader.read()
        if self._known is None:
            return current.mask
        if self._known.is_empty and not self._history.done and not current.mask.is_empty:
            self._known = self._drawn.begin(OwnMask(current.grid, BoxedMask(current.grid.shape, EMPTY, NO_BITS)))
        return self._drawn.on_known_grid(current)

    def _start(self, known: OwnMask, drawn: OwnSlices = NO_SLICES) -> None:
        self._known = self._drawn.begin(known, drawn)
        self.place, self._image_times = relative_place(self._volumes[0], self._node), image_times(self._volumes)
        self.pending = None
        self._history.done.clear()
        self._history.undone.clear()

    def _undoable(self, word: str) -> UndoableWriter:
        if not isinstance(self.writer, UndoableWriter):
            raise UserInputError(f"Cannot {word} this here; use {word.capitalize()} of the Segment Editor")
        return self.writer

    def _write(
        self,
        segmentation: np.ndarray,
        changed: np.ndarray,
        axis: int,
        box: Box,
        spared: Callable[[Box], np.ndarray] | None = None,
    ) -> WriteReport:
        """Write changed voxels, all of which lie in a box."""
        where = self._node, self._segment_id, self._volumes[0]
        return write_changed_voxels(self.writer, *where, segmentation, changed, axis=axis, within=box, spared=spared)

    def _axis(self, axis: int | None, plane: str | None) -> int | None:
        if plane is None:
            return axis
        named = axis_of_plane(planes_of_volume(self._volumes[0]), plane)
        if axis is not None and axis != named:
            raise UserInputError(f"Axis {axis} is not the axis of {plane} slices ({named}); give one of them")
        return named

    def _exclusive(
        self,
        title: str,
        compute: Callable[[Progress, CancelCheck], Any],
        finish: Callable[[Any], Any],
        abandon: Callable[[], None],
    ) -> Operation[Any]:
        """An operation from whose making to whose end nothing else is done with the session."""

        def finish_and_release(computed: Any) -> Any:
            self._computing = False
            return finish(computed)

        def abandon_and_release() -> None:
            self._computing = False
            abandon()

        self._computing = True
        return Operation(title, compute, finish_and_release, abandon_and_release)

    def _require_free(self) -> None:
        if self._computing:
            raise UserInputError("A computation is running; wait for it or cancel it")
        if self.pending is not None:
            raise UserInputError("A propagation waits to be applied or discarded; do that first")

    def _require_pending(self, pending: PendingPropagation) -> None:
        if self.pending is not pending:
            raise UserInputError("This propagation was applied or discarded before; propagate again")

    def _require_nodes(self) -> None:
        for node in (self._node, *self._volumes):
            if node.GetScene() is None:
                raise UserInputError(f"'{node.GetName()}' was deleted; select what to work on again")

    def _require_image(self) -> BoxedMask:
        """The last known segment."""
        self._require_nodes()
        if self._known is None:
            raise UserInputError("No image is set; set the image before propagating")
        if not np.allclose(self.place, relative_place(self._volumes[0], self._node), atol=1e-4):
            raise UserInputError(
                f"'{self._node.GetName()}' and '{self._volumes[0].GetName()}' were moved relative to each other; "
                "press Predict, or Start again in the Segment Editor"
            )
        if self._image_times != image_times(self._volumes):
            raise UserInputError("The voxels of a volume were changed since the last Predict or Start; press it again")
        return self._known


def _given(**callbacks: Any) -> dict[str, Any]:
    """Those that are not `None`: the engine has its own defaults."""
    return {name: callback for name, callback in callbacks.items() if callback is not None}
