"""Propagate what a clinician drew in a segment: from nodes to the engine, and back through one writer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import slicer

from context_propagation.core.edited_slices import SliceEdit, find_edited_slices
from context_propagation.core.errors import UserInputError
from context_propagation.core.source_volume import SourceVolume
from context_propagation.mrml.editor_logic_writer import EditorLogicWriter
from context_propagation.mrml.segment_writer import SegmentWriter, WriteReport, write_changed_voxels
from context_propagation.mrml.segments import segment_mask
from context_propagation.mrml.volume_nodes import source_volume_from_nodes
from context_propagation.mrml.world_matrices import node_to_world, volume_ijk_to_world

Progress = Callable[[str, float], None]
Cancelled = Callable[[], bool]


class Engine(Protocol):
    """What is asked of `core.session.Session`; masks are bool `[K, J, I]` of the volume."""

    @property
    def segmentation(self) -> np.ndarray: ...

    def set_image(
        self,
        volume: SourceVolume,
        initial: np.ndarray | None = None,
        progress: Progress = ...,
        cancelled: Cancelled = ...,
    ) -> Any: ...

    def propagate(self, edits: Sequence[SliceEdit], progress: Progress = ..., cancelled: Cancelled = ...) -> Any: ...

    def undo(self) -> Any: ...

    def redo(self) -> Any: ...

    def discard_last(self) -> Any: ...

    def accept_manual_changes(self, segmentation: np.ndarray) -> Any: ...


@runtime_checkable
class UndoableWriter(Protocol):
    """A `SegmentWriter` with a history of its own; the Segment Editor's effect has none that Python may call."""

    def require_can(self, word: str) -> None: ...

    def undo(self) -> None: ...

    def redo(self) -> None: ...


@dataclass(frozen=True)
class Propagation:
    """What one `propagate` did.

    Attributes:
        edits: The slices that were found redrawn.
        result: The engine's `PropagationResult`.
        report: Voxels written and refused.
    """

    edits: tuple[SliceEdit, ...]
    result: Any
    report: WriteReport


@dataclass(frozen=True)
class _Step:
    """One propagation, kept for undo; masks are packed bits."""

    known: np.ndarray
    drawn: np.ndarray
    after: np.ndarray
    saved_state: bool


class PropagationLogic:
    """One segment, its source volume, and the engine's session, kept in step.

    What was drawn is found by comparing the segment with what it was after the last propagation, both read the same
    way: so neither resampling to another grid nor voxels that masking refused look like edits.

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
        session: Engine,
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
        self._volume: SourceVolume | None = None
        self._known: np.ndarray | None = None
        self._place = np.eye(4)
        self._image_times: list[int] = []
        self._done: list[_Step] = []
        self._undone: list[_Step] = []

    def set_image(
        self,
        initial: np.ndarray | None = None,
        progress: Progress | None = None,
        cancelled: Cancelled | None = None,
    ) -> WriteReport:
        """Give the image to the engine; expensive. A segment that is empty is filled with the model's prediction.

        Args:
            initial: bool `[K, J, I]`, the segment before it was edited; without it, the segment as it is now.
            progress: Called with stage and fraction.
            cancelled: Asked between steps.

        Returns:
            What was written: nothing, unless the segment was empty.

        Raises:
            UserInputError: Volumes or the segment cannot be used.
        """
        volume = source_volume_from_nodes(self._volumes)
        current = self._read()
        before = current if initial is None else initial.astype(bool)
        callbacks = _given(progress=progress, cancelled=cancelled)
        self._session.set_image(volume, initial=before if before.any() else None, **callbacks)
        report = WriteReport()
        if not before.any() and not current.any():
            predicted = self._session.segmentation
            report = self._write(predicted, predicted, None, 0)
            before = self._read()
        self._start(volume, before)
        return report

    def resume(self) -> None:
        """Go on with a session that holds an image already, e.g. one restored from a file.

        What the segment differs in from the session's segmentation counts as drawn. The segment's grid should be the
        volume's; on another one, resampling can look like edits.

        Raises:
            UserInputError: Volumes cannot be used, or the session's image is of another size.
        """
        volume = source_volume_from_nodes(self._volumes)
        known = self._session.segmentation
        if known.shape != volume.shape_kji:
            raise UserInputError(
                f"The session's image has shape {known.shape} and volume '{self._volumes[0].GetName()}' has "
                f"{volume.shape_kji} (k, j, i); select the volume that the session was saved with"
            )
        self._start(volume, known.copy())

    def accept_manual_changes(self) -> None:
        """Keep what was changed in the segment by hand without propagating it; propagation never writes those voxels.

        Raises:
            UserInputError: No image is set, or nodes were moved or changed.
        """
        self.follow_segment()
        known, current = self._require_image(), self._read()
        self._session.accept_manual_changes(np.where(known ^ current, current, self._session.segmentation))
        if (known ^ current).any():
            self._undone.clear()  # as the engine does
        self._known = current

    def edits(self, axis: int | None = None, plane: str | None = None) -> list[SliceEdit]:
        """The slices that were redrawn since the last propagation, as they are in the segment now.

        Args:
            axis: Array axis (0: k, 1: j, 2: i) that the slices are perpendicular to.
            plane: Or its name: axial, sagittal or coronal. Without either, the plane that stands out.

        Raises:
            UserInputError: No image is set, nothing was redrawn, no plane stands out, or nodes were moved or changed.
        """
        known = self._require_image()
        axis = self._axis(axis, plane)
        return find_edited_slices(known, self._read(), axis)

    def propagate(
        self,
        axis: int | None = None,
        plane: str | None = None,
        progress: Progress | None = None,
        cancelled: Cancelled | None = None,
    ) -> Propagation:
        """Propagate the redrawn slices, and write what changed into the segment as one undo step.

        Raises:
            UserInputError: As `edits`, or the engine refuses.
            Cancelled: `cancelled` returned true; nothing was changed.
        """
        self.follow_segment()
        edits = self.edits(axis, plane)
        known, drawn = self._require_image(), self._read()
        result = self._session.propagate(edits, **_given(progress=progress, cancelled=cancelled))
        try:
            report = self._write(result.segmentation, result.changed, _slices_of(edits, drawn.shape), edits[0].axis)
        except BaseException:
            self._session.discard_last()
            self._undone.clear()  # propagating cleared the engine's
            raise
        self._known = self._read()
        saved_state = bool(report.written or report.refused)
        self._done.append(_Step(_pack(known), _pack(drawn), _pack(self._known), saved_state))
        self._undone.clear()
        return Propagation(tuple(edits), result, report)

    def undo(self) -> None:
        """Take back the last propagation, in the engine and in the segment; what was drawn stays.

        Raises:
            UserInputError: Nothing to undo, the segmentation was edited since, or the writer has no history.
        """
        if not self._done:
            raise UserInputError("Nothing to undo; no propagation was made on this image")
        step = self._done[-1]
        writer = self._undoable("undo") if step.saved_state else None
        self._session.undo()
        if writer is not None:
            writer.undo()
        self._step_back()

    def redo(self) -> None:
        """Make the propagation that was last taken back again.

        Raises:
            UserInputError: Nothing to redo, the segmentation was edited since, or the writer has no history.
        """
        if not self._undone:
            raise UserInputError("Nothing to redo; no propagation was undone on this image")
        step = self._undone[-1]
        writer = self._undoable("redo") if step.saved_state else None
        self._session.redo()
        if writer is not None:
            writer.redo()
        self._step_forward()

    def follow_segment(self) -> None:
        """Bring the engine in step where the Segment Editor's Undo or Redo was pressed, which tells no one.

        A propagation counts as undone where every voxel that it wrote has its old value again.
        """
        self._require_image()
        current = self._read()
        while self._done and _has_values(current, self._done[-1], of_drawn=True):
            self._session.undo()
            self._step_back()
        while self._undone and _has_values(current, self._undone[-1], of_drawn=False):
            self._session.redo()
            self._step_forward()

    def _start(self, volume: SourceVolume, known: np.ndarray) -> None:
        self._volume, self._known = volume, known
        self._place, self._image_times = self._relative_place(), self._current_image_times()
        self._done.clear()
        self._undone.clear()

    def _step_back(self) -> None:
        step = self._done.pop()
        self._undone.append(step)
        self._known = self._unpack(step.known)

    def _step_forward(self) -> None:
        step = self._undone.pop()
        self._done.append(step)
        self._known = self._unpack(step.after)

    def _undoable(self, word: str) -> UndoableWriter:
        if not isinstance(self.writer, UndoableWriter):
            raise UserInputError(f"This writer cannot {word}; use {word.capitalize()} of the Segment Editor")
        self.writer.require_can(word)
        return self.writer

    def _read(self) -> np.ndarray:
        return segment_mask(self._node, self._segment_id, self._volumes[0])

    def _write(
        self, segmentation: np.ndarray, changed: np.ndarray, protected: np.ndarray | None, axis: int
    ) -> WriteReport:
        return write_changed_voxels(
            self.writer, self._node, self._segment_id, self._volumes[0], segmentation, changed, protected, axis
        )

    def _axis(self, axis: int | None, plane: str | None) -> int | None:
        if plane is None or self._volume is None:
            return axis
        named = self._volume.axis_of_plane(plane)
        if axis is not None and axis != named:
            raise UserInputError(f"Axis {axis} is not the axis of {plane} slices ({named}); give one of them")
        return named

    def _require_image(self) -> np.ndarray:
        """The last known segment."""
        if self._known is None:
            raise UserInputError("No image is set; set the image before propagating")
        if not np.allclose(self._place, self._relative_place(), atol=1e-4):
            raise UserInputError(
                f"'{self._node.GetName()}' and '{self._volumes[0].GetName()}' were moved against each other; "
                "set the image again"
            )
        if self._image_times != self._current_image_times():
            raise UserInputError("The voxels of a volume were changed since the image was set; set the image again")
        return self._known

    def _relative_place(self) -> np.ndarray:
        """From the segmentation's own RAS to the volume's voxel indices: unchanged where both move together."""
        return np.asarray(np.linalg.inv(volume_ijk_to_world(self._volumes[0])) @ node_to_world(self._node))

    def _current_image_times(self) -> list[int]:
        return [node.GetImageData().GetMTime() for node in self._volumes]

    def _unpack(self, packed: np.ndarray) -> np.ndarray:
        assert self._volume is not None  # set with the first step
        shape = self._volume.shape_kji
        return np.unpackbits(packed, count=int(np.prod(shape))).reshape(shape).astype(bool)


def _given(**callbacks: Any) -> dict[str, Any]:
    """Those that are not `None`: the engine has its own defaults."""
    return {name: callback for name, callback in callbacks.items() if callback is not None}


def _pack(mask: np.ndarray) -> np.ndarray:
    return np.packbits(mask)


def _has_values(current: np.ndarray, step: _Step, of_drawn: bool) -> bool:
    """Whether the voxels that a propagation wrote have the values before it (`of_drawn`) or after it."""
    wrote = step.drawn ^ step.after
    values = step.drawn if of_drawn else step.after
    return bool(wrote.any()) and not ((_pack(current) ^ values) & wrote).any()


def _slices_of(edits: Sequence[SliceEdit], shape: tuple[int, ...]) -> np.ndarray:
    """A mask of whole slices, bool `[K, J, I]`."""
    mask = np.zeros(shape, bool)
    for edit in edits:
        np.moveaxis(mask, edit.axis, 0)[edit.index] = True
    return mask
