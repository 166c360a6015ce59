"""Propagate what a clinician drew in a segment: from nodes to the engine, and back through one writer."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import EMPTY, BoxedMask
from context_propagation.core.image.boxes import bounding_box
from context_propagation.core.image.drawings import Drawing, find_drawing, mask_of_places
from context_propagation.core.image.own_grid import NO_SLICES, OwnGrid, OwnMask, OwnSlices
from context_propagation.core.image.slices import SliceEdit
from context_propagation.mrml.session.confirmed_slices import confirmation, without_slices
from context_propagation.mrml.session.operation import Operation, Result
from context_propagation.mrml.session.pending_propagation import PendingPropagation, Propagation
from context_propagation.mrml.session.segment_history import SegmentHistory
from context_propagation.mrml.session.segment_image import SegmentImage
from context_propagation.mrml.session.segment_step import SegmentStep, segment_steps
from context_propagation.mrml.writing.editor_logic_writer import EditorLogicWriter
from context_propagation.mrml.writing.segment_writer import SegmentWriter, WriteReport

if TYPE_CHECKING:
    from context_propagation.core.session.session import Session
    from context_propagation.core.session.session_settings import PropagationResult
    from context_propagation.core.session.step import Step


BEFORE_DECODING = ("", "encode", "update")
"""Stages of a propagation in which the best so far can be asked for."""


class PropagationLogic:
    """One segment, its source volume, and the engine's session, kept in step.

    What was drawn is found by comparing the segment with what it was after the last propagation, voxel by voxel on the
    grid that it is stored on: so voxels that masking refused do not look like edits, and none is missed.

    The session's `done` and `undone` are the only history: each propagation made here is a `SegmentStep` in them, which
    holds what goes back and forth in the segment too.

    Args:
        scene: Holds the nodes.
        session: The engine.
        volume_nodes: One per channel.
        segmentation_node: Holds the segment.
        segment_id: The segment.
        writer: Who writes; without it, an `EditorLogicWriter` without masks.
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
        self._session = session
        self._image = SegmentImage(session, volume_nodes, segmentation_node, segment_id)
        self._unmasked_writer = EditorLogicWriter(scene, segmentation_node, volume_nodes[0])
        self.writer: SegmentWriter = writer or self._unmasked_writer
        self._history = SegmentHistory(session, self._image, self._unmasked_writer)
        self._computing = False
        self.pending: PendingPropagation | None = None

    # -- the image ---------------------------------------------------------------------------------------------------

    def image_operation(
        self, initial: np.ndarray | None = None, ready: Any = None, fill: bool = True
    ) -> Operation[WriteReport]:
        """Give the image to the engine; see `SegmentImage.set_operation`."""
        self._require_free()
        return self._exclusive(self._image.set_operation(self.writer, initial, ready, fill))

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
        self._image.resume(known, drawn)

    @property
    def known(self) -> BoxedMask:
        """See `SegmentImage.require_known`."""
        return self._image.require_known()

    @property
    def grid(self) -> OwnGrid:
        """The grid that the segment was stored on when the image was set."""
        return self._image.drawn.grid

    @property
    def last_known(self) -> BoxedMask | None:
        """As `known`, whatever was moved or changed since; None where no image was set."""
        return self._image.last_known

    @property
    def place(self) -> np.ndarray:
        """See `SegmentImage.place`."""
        return self._image.place

    def read(self) -> BoxedMask:
        """The segment as it is now, on the grid that it is known on.

        Raises:
            UserInputError: It cannot be read, or was put on another grid since the image was set.
        """
        return self._image.read()

    def use_own_contours(self) -> WriteReport:
        """Take back that the first contours were moved: the model's own are written in their place.

        Raises:
            UserInputError: They were not moved, or something was drawn or propagated since.
        """
        self._require_free()
        if not self.follow_segment().is_same(self.known) or self.steps:
            raise UserInputError("Something was drawn since the prediction; undo it first, or empty the segment")
        moved = self._session.segmentation
        if not self._session.use_own_contours():
            raise UserInputError("The first contours are the model's own; there is nothing to take back")
        changed = moved != self._session.segmentation
        box = bounding_box(changed) or EMPTY
        report = self._image.write(self.writer, self._session.segmentation, changed, 0, box)
        self._history.wrote()
        return report

    # -- edits -------------------------------------------------------------------------------------------------------

    def edits(self, axis: int | None = None, plane: str | None = None) -> list[SliceEdit]:
        """The slices that were redrawn since the last propagation, as they are in the segment now.

        Args:
            axis: Array axis (0: k, 1: j, 2: i) that the slices are perpendicular to.
            plane: Or its name: axial, sagittal or coronal. Without either, the plane that stands out.

        Raises:
            UserInputError: No image is set, nothing was redrawn, no plane stands out, or nodes were moved or changed.
        """
        return list(self._find(*self.known_and_current(), axis, plane).edits)

    def redrawn(self, plane: str | None = None, current: BoxedMask | None = None) -> list[SliceEdit]:
        """As `edits`; nothing where nothing was redrawn.

        Args:
            plane: As in `edits`.
            current: What was read just now, so that it is not read again.
        """
        known, current = self.known_and_current(current)
        return [] if known.is_same(current) else list(self._find(known, current, plane=plane).edits)

    def known_and_current(self, current: BoxedMask | None = None) -> tuple[BoxedMask, BoxedMask]:
        """The segment after the last propagation and as it is, on one grid: what is read may decide which one that is.

        Args:
            current: As in `redrawn`.

        Raises:
            UserInputError: No image is set, or nodes were deleted, moved or changed.
        """
        self._image.require_known()
        current = current or self._image.read()
        return self.known, current

    def _find(self, known: BoxedMask, drawn: BoxedMask, axis: int | None = None, plane: str | None = None) -> Drawing:
        return find_drawing(self._image.drawn.grid, known, drawn, self._image.axis(axis, plane))

    def propagation_operation(
        self, axis: int | None = None, plane: str | None = None, current: BoxedMask | None = None
    ) -> Operation[PendingPropagation]:
        """Propagate the redrawn slices; segment and engine stay as they are until the result is applied.

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
        drawn = self.follow_segment(current)
        known = self.known
        drawing = self._find(known, drawn, axis, plane)
        enough = threading.Event()
        shape, waiting = self._image.drawn.grid.image_shape, self._image.drawn.waiting(self.steps, drawing)

        def begin() -> None:
            if self.known is not known:
                raise UserInputError("Something was propagated or undone meanwhile; propagate again")

        def compute(progress: Progress, cancelled: CancelCheck) -> tuple[Step, PropagationResult]:
            spared = mask_of_places(shape, waiting)
            preview = self._session.preview(drawing.edits, progress, cancelled, spared, enough.is_set)
            return preview.step, preview.result

        def finish(computed: tuple[Step, PropagationResult]) -> PendingPropagation:
            step, result = computed
            self.pending = PendingPropagation(drawing.edits, result, step, known, drawn, drawing, self.grid)
            return self.pending

        return self._exclusive(
            Operation("Propagate", compute, finish, begin=begin, settle=enough.set, settles_in=BEFORE_DECODING)
        )

    def apply(self, pending: PendingPropagation) -> Propagation:
        """Write what a propagation changed into the segment, as one step of the history.

        Raises:
            UserInputError: It was applied or discarded before, the segment is no longer as it was drawn, or nodes were
                deleted, moved or changed. The segment is unchanged, and the propagation is discarded.
        """
        self.discard(pending)
        self._image.require_known()
        if not self._image.read().is_same(pending.drawn):
            raise UserInputError("The segment was changed since it was propagated; propagate again")
        result, drawing = pending.result, pending.drawing
        to_write, box = drawing.to_write(result.changed, result.changed_box_kji or EMPTY, self._session.protected)
        confirmed = [edit for step in (*self._session.done, pending.step) for edit in step.confirmed]
        spared = self._image.drawn.spared(self.steps, drawing, confirmed)
        report = self._image.write(self.writer, result.segmentation, to_write, drawing.axis, box, spared)
        propagated = self._history.wrote()
        in_editor = self.writer.keeps_history and bool(report.written or report.refused)
        self._session.add(
            SegmentStep.of(
                pending.step,
                known=pending.known,
                drawn=pending.drawn,
                propagated=propagated,
                drawing=drawing,
                written=None if in_editor else report.flips,
                in_editor=in_editor,
                saved=pending.saved(report),
            ),
            result.segmentation,
        )
        return Propagation(pending.edits, result, report)

    def reject(
        self, pending: PendingPropagation, slices: Sequence[int] = (), region: np.ndarray | None = None
    ) -> PendingPropagation:
        """Take a propagation that waits only in part: the rest stays as it is, now and after later propagations.

        Args:
            pending: The propagation.
            slices: Indices of slices of its plane that are right as they are; they are confirmed. See `confirm`.
            region: bool `[K, J, I]` on the volume's grid; the voxels in it that it would change are right as they are.

        Returns:
            What to apply in its place; the one that was given is not used any more.

        Raises:
            UserInputError: It was applied, discarded or taken in part before; all slices were drawn or confirmed, or
                lie where the segment has no voxels of its own; or the region is not on the volume's grid.
        """
        from context_propagation.core.session.session_checks import check_shape

        self._require_pending(pending)
        if region is not None:
            check_shape(region, self._session.volume)
            pending = pending.rejecting(region.astype(bool, copy=False))
        if len(slices):
            pending = without_slices(pending, slices, self._session.settings.neighbours)
        self.pending = pending
        return pending

    def confirm(self, axis: int, indices: Sequence[int]) -> tuple[int, ...]:
        """Say that slices are right as they are: no propagation writes them from now on.

        Args:
            axis: Array axis (0: k, 1: j, 2: i) that the slices are perpendicular to.
            indices: Theirs.

        Returns:
            Those that were neither drawn nor confirmed before, and on which the segment has voxels of its own.

        Raises:
            UserInputError: There are none on which the segment has voxels of its own, one lies outside the volume or
                was redrawn and not propagated yet, or nodes were moved or changed.
        """
        self._require_free()
        current = self.follow_segment()
        step = confirmation(self._session, self.grid, self.known, current, axis, indices)
        self._session.add(step)
        return tuple(edit.index for edit in step.confirmed)

    def discard(self, pending: PendingPropagation) -> None:
        """Forget a propagation that was not applied: the segment and what was drawn in it stay as they are.

        Raises:
            UserInputError: It was applied or discarded before.
        """
        self._require_pending(pending)
        self.pending = None

    def _require_pending(self, pending: PendingPropagation) -> None:
        if self.pending is not pending:
            raise UserInputError("This propagation was applied or discarded before; propagate again")

    # -- history -----------------------------------------------------------------------------------------------------

    @property
    def steps(self) -> list[SegmentStep]:
        """See `SegmentHistory.steps`."""
        return self._history.steps

    @property
    def done_count(self) -> int:
        """How many these are."""
        return len(self.steps)

    @property
    def can_undo(self) -> bool:
        return bool(segment_steps(self._session.done[-1:]))

    @property
    def can_redo(self) -> bool:
        return bool(segment_steps(self._session.undone[-1:]))

    def undo(self) -> None:
        """Take back the last propagation, in the engine and in the segment; what was drawn stays, before it and since.

        Raises:
            UserInputError: Nothing to undo, the segment was edited since, or the Segment Editor has it in its history.
        """
        self._require_free()
        self._history.step(back=True)

    def redo(self) -> None:
        """Make the propagation that was last taken back again.

        Raises:
            UserInputError: Nothing to redo, the segment was edited since, or the Segment Editor took it back.
        """
        self._require_free()
        self._history.step(back=False)

    def follow_segment(self, current: BoxedMask | None = None) -> BoxedMask:
        """See `SegmentHistory.follow`.

        Args:
            current: As in `redrawn`.

        Returns:
            The segment as it is.
        """
        self._require_free()
        _, current = self.known_and_current(current)
        self._history.follow(current)
        return current

    # -- one at a time -----------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a computation runs, or a propagation waits to be applied or discarded."""
        return self._computing or self.pending is not None

    def _exclusive(self, operation: Operation[Result]) -> Operation[Result]:
        """The operation, from whose beginning to whose end nothing else is done with the session."""

        def begin() -> None:
            self._require_free()
            operation.begin()
            self._computing = True

        def finish(computed: Any) -> Result:
            self._computing = False
            return operation.finish(computed)

        def abandon() -> None:
            self._computing = False
            operation.abandon()

        return replace(operation, begin=begin, finish=finish, abandon=abandon)

    def _require_free(self) -> None:
        if self._computing:
            raise UserInputError("A computation is running; wait for it or cancel it")
        if self.pending is not None:
            raise UserInputError("A propagation waits to be applied or discarded; do that first")
