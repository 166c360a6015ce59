"""Load, predict, edit, propagate, measure, save: what the module, the effect, the console and scripts share."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import slicer

from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.edited_slices import SliceEdit
from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.installed_versions import installed_versions
from context_propagation.core.model_listing import ModelDescription, describe_model
from context_propagation.core.operation import Operation
from context_propagation.core.source_volume import axis_of_plane
from context_propagation.mrml.editor_logic_writer import EditorLogicWriter
from context_propagation.mrml.measurements import Measurements, Reference, measurement_operation
from context_propagation.mrml.propagation_logic import PendingPropagation, Propagation, PropagationLogic
from context_propagation.mrml.scenes import prepare_scene
from context_propagation.mrml.segment_writer import SegmentWriter, WriteMode, WriteReport, write_changed_voxels
from context_propagation.mrml.segmentation_files import save_segmentation
from context_propagation.mrml.segments import add_segment_from_mask, add_segmentation, segment_mask, segment_named
from context_propagation.mrml.session_node import (
    SavedPropagation,
    SavedSession,
    archive_session,
    find_session_node,
    read_session,
    write_session,
)
from context_propagation.mrml.volume_nodes import deferred_source_volume, planes_of_volume, volume_shape_kji

if TYPE_CHECKING:
    from context_propagation.core.session import Session


@dataclass(frozen=True)
class LoadedModel:
    """A frozen model and its fusion networks.

    Attributes:
        description: What its folder says.
        model: The `SegmentationModel`.
        fusion: The fusion networks, or None: edits reach the near slices only.
    """

    description: ModelDescription
    model: Any
    fusion: Any


@dataclass(frozen=True)
class Selection:
    """What is worked on: one volume per channel, and a segment."""

    volume_nodes: tuple[slicer.vtkMRMLScalarVolumeNode, ...]
    segmentation_node: slicer.vtkMRMLSegmentationNode
    segment_id: str


@dataclass(frozen=True)
class SliceDoubt:
    """How undecided the model is on each slice along an array axis of the volume; see `slice_doubt_mm2`."""

    axis: int
    per_slice_mm2: np.ndarray


class ContextPropagationLogic:
    """One model, one segment, and the session with its cached features.

    Everything long comes twice: `predict` runs here, `predict_operation` gives an `Operation` whose long part may run
    on another thread. One at a time.

    Args:
        scene: Where the nodes are: `slicer.mrmlScene` in the application.

    Attributes:
        plane: axial, sagittal or coronal where the user says in which plane slices are redrawn; None finds it.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self.scene = prepare_scene(scene)
        self.loaded: LoadedModel | None = None
        self.selection: Selection | None = None
        self.session: Session | None = None
        self.propagation: PropagationLogic | None = None
        self.doubt: SliceDoubt | None = None
        self.plane: str | None = None
        self._made: list[SavedPropagation] = []
        self._restored = 0  # how many of them were replayed from the scene: those cannot be undone

    # -- model -------------------------------------------------------------------------------------------------------

    def load_model(
        self, folder: str | Path, label: str | int | None = None, device: str = "auto", trust: bool = False
    ) -> LoadedModel:
        """`load_operation`, run here."""
        return self.load_operation(folder, label, device, trust).run()

    def load_operation(
        self, folder: str | Path, label: str | int | None = None, device: str = "auto", trust: bool = False
    ) -> Operation[LoadedModel]:
        """Load a bundle or a base model; the session with the earlier one is closed.

        Args:
            folder: A bundle, or a trained model of nnU-Net v2, a PSNN, or a MONAI bundle.
            label: Name or value of the label to refine, where there are several.
            device: "auto", "cpu" or "cuda".
            trust: Let a MONAI bundle's own expressions run.

        Raises:
            UserInputError: The folder cannot be used, now or when it is loaded.
        """
        description = describe_model(folder)
        self._require_idle()

        def compute(progress: Progress, cancelled: CancelCheck) -> LoadedModel:
            from context_propagation.core.bundle import load_model

            progress("load model", 0.0)
            return LoadedModel(description, *load_model(folder, label, device, trust))

        def finish(loaded: LoadedModel) -> LoadedModel:
            self._require_idle()
            self.close_session()
            self.loaded = loaded
            return loaded

        return Operation("Load model", compute, finish)

    # -- what is worked on -------------------------------------------------------------------------------------------

    def select(
        self,
        volume_nodes: Sequence[slicer.vtkMRMLScalarVolumeNode],
        segmentation_node: slicer.vtkMRMLSegmentationNode | None = None,
        segment: str | None = None,
    ) -> Selection:
        """Choose volumes and a segment; a session on others is closed.

        Args:
            volume_nodes: One per channel, in the model's order.
            segmentation_node: Without it, one is added on the first volume's grid.
            segment: ID or name; without it the only segment, or a new empty one with the name of the model's label.

        Raises:
            UserInputError: No volume, no such segment, or several and none named; or a run or a preview of the earlier
                selection is not over.
        """
        if not volume_nodes:
            raise UserInputError("No volume is selected; select one volume per channel")
        volume_shape_kji(volume_nodes[0])
        if segmentation_node is None or not segmentation_node.GetSegmentation().GetNumberOfSegments():
            self._require_idle()  # before anything is added to the scene
        if segmentation_node is None:
            name = f"{volume_nodes[0].GetName()} segmentation"
            segmentation_node = add_segmentation(self.scene, volume_nodes[0], name)
        ids = segmentation_node.GetSegmentation().GetSegmentIDs()
        if segment is None and not ids:
            empty = np.zeros(volume_shape_kji(volume_nodes[0]), bool)
            name = self.loaded.model.target_name if self.loaded else "GTV"
            segment_id = add_segment_from_mask(segmentation_node, empty, volume_nodes[0], name)
        else:
            segment_id = segment_named(segmentation_node, segment)
        selection = Selection(tuple(volume_nodes), segmentation_node, segment_id)
        if self.selection is None or not _same(selection, self.selection):
            self._require_idle()
            self.close_session()
            self.selection = selection
        return self.selection

    def check(self) -> list[str]:
        """`check_operation`, run here."""
        return self.check_operation().run()

    def check_operation(self) -> Operation[list[str]]:
        """What looks wrong with the volumes for this model: ask the user before going on.

        Raises:
            UserInputError: Nothing is selected, or volumes cannot be used, now or when it runs.
        """
        loaded, selection = self._require_loaded(), self._require_selection()
        volume_of = deferred_source_volume(selection.volume_nodes)

        def compute(progress: Progress, cancelled: CancelCheck) -> list[str]:
            from context_propagation.core.intensity_check import intensity_warnings
            from context_propagation.core.session_checks import check_channels

            progress("check", 0.0)
            volume = volume_of()
            check_channels(volume, loaded.model)
            return list(intensity_warnings(volume.channels, loaded.model.channel_expectations))

        return Operation("Check volumes", compute, lambda warnings: warnings)

    # -- the image ---------------------------------------------------------------------------------------------------

    def predict(self, writer: SegmentWriter | None = None) -> WriteReport:
        """`predict_operation`, run here."""
        return self.predict_operation(writer).run()

    def predict_operation(self, writer: SegmentWriter | None = None) -> Operation[WriteReport]:
        """Cache the image for edits. A segment that is empty is filled with the model's prediction.

        Args:
            writer: Who writes voxels; without it, a writer with a history of its own that takes nothing from others.

        Returns:
            An operation that reports what was written.

        Raises:
            UserInputError: No model, no volumes, or they cannot be used.
        """
        propagation, session = self._new_propagation(writer)
        image = propagation.image_operation()
        self._make_way(session)
        axis = self._axis("axial")

        def compute(progress: Progress, cancelled: CancelCheck) -> tuple[Any, SliceDoubt]:
            return image.compute(progress, cancelled), _doubt(session, axis, progress, cancelled)

        def finish(computed: tuple[Any, SliceDoubt]) -> WriteReport:
            try:
                report = image.finish(computed[0])
            except BaseException:
                self._drop(propagation, session)
                raise
            self._archive_session_node()
            self._adopt(propagation, session, computed[1])
            return report

        def abandon() -> None:
            image.abandon()
            self._drop(propagation, session)

        return Operation("Predict", compute, finish, abandon)

    # -- edits -------------------------------------------------------------------------------------------------------

    def edit_slice(self, index: int, mask: np.ndarray, plane: str = "axial") -> WriteReport:
        """Draw one slice from a script; the segment is written on this slice only. `undo` does not take it back.

        Args:
            index: The volume's slice, from 0.
            mask: bool, the slice's two remaining array axes in the volume's order (k, j, i).
            plane: axial, sagittal or coronal.

        Raises:
            UserInputError: No image is set, or the slice or mask does not fit the volume.
        """
        self._require_propagation()
        selection = self._require_selection()
        volume_node = selection.volume_nodes[0]
        axis = self._axis(plane)
        shape = volume_shape_kji(volume_node)
        expected = tuple(n for a, n in enumerate(shape) if a != axis)
        if not 0 <= index < shape[axis] or mask.shape != expected:
            raise UserInputError(
                f"Slice {index} with a mask of shape {mask.shape} is no {plane} slice of '{volume_node.GetName()}', "
                f"which has {shape[axis]} of shape {expected}; give one of these"
            )
        wanted, changed = self.segment_mask(), np.zeros(shape, bool)
        np.moveaxis(wanted, axis, 0)[index] = mask
        np.moveaxis(changed, axis, 0)[index] = True
        writer = self._own_writer()  # whose history is not that of the propagations
        node, segment_id = selection.segmentation_node, selection.segment_id
        try:
            return write_changed_voxels(writer, node, segment_id, volume_node, wanted, changed, axis=axis)
        finally:
            writer.close()

    def edits(self, plane: str | None = None) -> list[SliceEdit]:
        """The slices that were redrawn since the last propagation; see `PropagationLogic.edits`."""
        self.follow()
        return self._require_propagation().edits(plane=plane or self.plane)

    def redrawn(self) -> list[SliceEdit]:
        """As `edits`; nothing where nothing was redrawn."""
        self.follow()
        return self._require_propagation().redrawn(self.plane)

    def propagate(self, plane: str | None = None) -> Propagation:
        """`propagate_operation`, run here, and applied."""
        return self.apply(self.propagate_operation(plane).run())

    def propagate_operation(self, plane: str | None = None) -> Operation[PendingPropagation]:
        """Propagate the redrawn slices; nothing is written before `apply`.

        Args:
            plane: axial, sagittal or coronal; without it `self.plane`, or the plane that stands out.

        Raises:
            UserInputError: No image is set, or nothing was redrawn, or no plane stands out.
        """
        self.follow()
        propagation, session = self._require_propagation(), self.session
        inner = propagation.propagation_operation(plane=plane or self.plane)

        def compute(progress: Progress, cancelled: CancelCheck) -> tuple[Any, SliceDoubt]:
            assert session is not None  # there is one with the propagation
            result = inner.compute(progress, cancelled)
            return result, _doubt(session, result.axis, progress, cancelled)

        def finish(computed: tuple[Any, SliceDoubt]) -> PendingPropagation:
            pending = inner.finish(computed[0])
            self.doubt = computed[1]
            return pending

        return replace(inner, compute=compute, finish=finish)

    def use_writer(self, writer: SegmentWriter | None) -> None:
        """Let someone else write from now on; a history of the earlier writer is lost.

        Args:
            writer: The Segment Editor's effect, or None for a writer of our own.

        Raises:
            UserInputError: No image is set.
        """
        propagation = self._require_propagation()
        if writer is None and isinstance(propagation.writer, EditorLogicWriter):
            return
        if writer is None:
            self._require_idle()  # a preview was made to be applied by someone else
        _close(propagation)
        propagation.writer = writer or self._own_writer()

    def apply(self, pending: PendingPropagation) -> Propagation:
        """Write a propagation as one undo step; see `PropagationLogic.apply`."""
        propagation = self._require_propagation()
        done = propagation.apply(pending)
        del self._made[self._restored + propagation.done_count - 1 :]
        self._made.append(
            SavedPropagation(
                done.edits,
                datetime.now(timezone.utc).isoformat(timespec="seconds"),
                done.result.scope,
                done.result.changed_per_slice,
                done.report.refused,
            )
        )
        self._save_session()
        return done

    def discard(self, pending: PendingPropagation) -> None:
        """Forget a propagation that was not applied; what was drawn stays."""
        self._require_propagation().discard(pending)

    def undo(self) -> None:
        """Take the last propagation back; what was drawn stays. See `PropagationLogic.undo`."""
        self._require_propagation().undo()
        self._save_session()

    def redo(self) -> None:
        """Make it again."""
        self._require_propagation().redo()
        self._save_session()

    def follow(self) -> None:
        """Bring the engine in step with an Undo or Redo of the Segment Editor."""
        propagation = self._require_propagation()
        before = propagation.done_count
        propagation.follow_segment()
        if propagation.done_count != before:
            self._save_session()

    @property
    def history(self) -> list[SavedPropagation]:
        """The propagations that are in the segment, first to last."""
        return self._made[: self._restored + self.propagation.done_count] if self.propagation else []

    def suggested_slice(self) -> int | None:
        """The slice to redraw next, along `doubt.axis`; None where nothing is in doubt or no image is set."""
        from context_propagation.core.slice_suggestion import suggested_slice

        return suggested_slice(self.doubt.per_slice_mm2) if self.doubt else None

    # -- results -----------------------------------------------------------------------------------------------------

    def segment_mask(self) -> np.ndarray:
        """The selected segment on the first volume's grid, bool `[K, J, I]`."""
        selection = self._require_selection()
        return segment_mask(selection.segmentation_node, selection.segment_id, selection.volume_nodes[0])

    def measure(self, reference: Reference | None = None) -> Measurements:
        """`measure_operation`, run here."""
        return self.measure_operation(reference).run()

    def measure_operation(self, reference: Reference | None = None) -> Operation[Measurements]:
        """The segment's volume, and how it compares with a reference segment.

        Args:
            reference: A segmentation, and the ID or name of a segment in it or None for its only one.
        """
        selection = self._require_selection()
        return measurement_operation(
            selection.segmentation_node, selection.segment_id, selection.volume_nodes[0], reference
        )

    def save(self, path: str | Path) -> None:
        """Save the segmentation, all segments of it, to a `.seg.nrrd` file."""
        save_segmentation(path, self._require_selection().segmentation_node)

    # -- saved scenes ------------------------------------------------------------------------------------------------

    def saved_session(self) -> SavedSession | None:
        """What the scene holds of earlier edits of the selected segment; None where there is nothing."""
        selection = self._require_selection()
        node = find_session_node(self.scene, selection.segmentation_node, selection.segment_id)
        return None if node is None else read_session(node, volume_shape_kji(selection.volume_nodes[0]))

    def restore(self, writer: SegmentWriter | None = None) -> SavedSession:
        """`restore_operation`, run here."""
        return self.restore_operation(writer).run()

    def restore_operation(self, writer: SegmentWriter | None = None) -> Operation[SavedSession]:
        """Replay the edits that the scene holds; the segment is not written.

        What the segment differs in from what it was after the last propagation counts as drawn since. Propagations made
        before cannot be undone.

        Raises:
            UserInputError: The scene holds none, or they were made with another model.
        """
        saved, loaded = self.saved_session(), self._require_loaded()
        if saved is None:
            raise UserInputError("The scene holds no edits of this segment; predict, and redraw a slice")
        _check_same_model(saved, loaded)
        propagation, session = self._new_propagation(writer)
        self._make_way(session)
        volume_of = deferred_source_volume(self._require_selection().volume_nodes)
        axis = saved.propagations[-1].edits[0].axis if saved.propagations else self._axis("axial")

        def compute(progress: Progress, cancelled: CancelCheck) -> SliceDoubt:
            initial = saved.initial if saved.initial.any() else None
            session.set_image(volume_of(), initial, progress, cancelled)
            for done in saved.propagations:
                session.propagate(done.edits, progress, cancelled)
            session.accept_manual_changes(saved.known)
            return _doubt(session, axis, progress, cancelled)

        def finish(doubt: SliceDoubt) -> SavedSession:
            try:
                propagation.resume(saved.known)
            except BaseException:
                self._drop(propagation, session)
                raise
            self._made, self._restored = list(saved.propagations), len(saved.propagations)
            self._adopt(propagation, session, doubt)
            return saved

        return Operation("Replay edits", compute, finish, lambda: self._drop(propagation, session))

    # -- end ---------------------------------------------------------------------------------------------------------

    def close_session(self) -> None:
        """Free the cached features; selection, segment and scene stay as they are."""
        if self.propagation is not None:
            _close(self.propagation)
        self.propagation = self.session = self.doubt = None
        self._made, self._restored = [], 0
        free_device_memory()

    def close(self) -> None:
        """Free the session and the model, and forget the selection."""
        self.close_session()
        self.loaded = self.selection = None
        free_device_memory()

    # -- parts -------------------------------------------------------------------------------------------------------

    def _new_propagation(self, writer: SegmentWriter | None) -> tuple[PropagationLogic, Session]:
        """A session without an image, and what keeps it in step; the earlier one is untouched."""
        from context_propagation.core.session import Session, SessionSettings

        loaded, selection = self._require_loaded(), self._require_selection()
        self._require_idle()
        fusion = loaded.fusion
        settings = SessionSettings()
        if fusion is not None:
            settings = replace(settings, level=fusion.level, neighbours=fusion.neighbours)
        session = Session(loaded.model, settings, fusion)
        node, segment_id = selection.segmentation_node, selection.segment_id
        # Until it is adopted, nothing writes but a prediction: a writer of our own is made when it is needed.
        writer = writer or _LateWriter(self._own_writer)
        return PropagationLogic(self.scene, session, selection.volume_nodes, node, segment_id, writer), session

    def _make_way(self, session: Session) -> None:
        """Close the earlier session once all was checked: two caches may not fit into memory."""
        self.close_session()
        self.session = session

    def _own_writer(self) -> EditorLogicWriter:
        """A writer that obeys the masks of the module Segment Editor where that edits this segmentation."""
        selection = self._require_selection()
        editor_node = self.scene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
        if editor_node is not None and editor_node.GetSegmentationNode() is not selection.segmentation_node:
            editor_node = None
        return EditorLogicWriter(self.scene, selection.segmentation_node, selection.volume_nodes[0], editor_node)

    def _archive_session_node(self) -> None:
        """Keep the record of edits that a new start leaves behind, under another name."""
        selection = self._require_selection()
        node = find_session_node(self.scene, selection.segmentation_node, selection.segment_id)
        if node is not None:
            archive_session(node)

    def _adopt(self, propagation: PropagationLogic, session: Session, doubt: SliceDoubt) -> None:
        if isinstance(propagation.writer, _LateWriter):
            propagation.writer = propagation.writer.made()
        self.propagation, self.session, self.doubt = propagation, session, doubt
        self._save_session()

    def _drop(self, propagation: PropagationLogic, session: Session) -> None:
        """Forget a session that came to nothing."""
        _close(propagation)
        if self.session is session:
            self.session = None
        free_device_memory()

    def _save_session(self) -> None:
        """Put what was done so far into the scene."""
        loaded, selection, propagation = self._require_loaded(), self._require_selection(), self._require_propagation()
        assert self.session is not None  # there is one with the propagation
        saved = SavedSession(
            model_path=str(loaded.description.path),
            model_sha256=loaded.model.content_hash,
            fusion_sha256=None if loaded.fusion is None else loaded.fusion.content_hash,
            label=loaded.model.target_name,
            device=str(loaded.model.device),
            versions=installed_versions(),
            segment_id=selection.segment_id,
            initial=self.session.initial,
            known=propagation.known,
            propagations=tuple(self.history),
        )
        write_session(self.scene, saved, selection.volume_nodes, selection.segmentation_node)

    def _axis(self, plane: str) -> int:
        """The array axis of a plane's slices in the first volume."""
        return axis_of_plane(planes_of_volume(self._require_selection().volume_nodes[0]), plane)

    def _require_idle(self) -> None:
        if self.propagation is not None and self.propagation.busy:
            raise UserInputError("A computation is running, or a preview is open; finish, cancel or discard it first")

    def _require_loaded(self) -> LoadedModel:
        if self.loaded is None:
            raise UserInputError("No model is loaded; choose a model first")
        return self.loaded

    def _require_selection(self) -> Selection:
        if self.selection is None:
            raise UserInputError("No volume and segment are selected; select them first")
        for node in (self.selection.segmentation_node, *self.selection.volume_nodes):
            if node.GetScene() is None:
                raise UserInputError(f"'{node.GetName()}' was deleted; select what to work on again")
        return self.selection

    def _require_propagation(self) -> PropagationLogic:
        if self.propagation is None:
            raise UserInputError("No image is set; predict first")
        return self.propagation


def _same(a: Selection, b: Selection) -> bool:
    same_nodes = all(x is y for x, y in zip(a.volume_nodes, b.volume_nodes, strict=False))
    return (
        same_nodes
        and len(a.volume_nodes) == len(b.volume_nodes)
        and a.segmentation_node is b.segmentation_node
        and a.segment_id == b.segment_id
    )


def _check_same_model(saved: SavedSession, loaded: LoadedModel) -> None:
    fusion_sha256 = None if loaded.fusion is None else loaded.fusion.content_hash
    if (saved.model_sha256, saved.fusion_sha256, saved.label) != (
        loaded.model.content_hash,
        fusion_sha256,
        loaded.model.target_name,
    ):
        raise UserInputError(
            f"The edits in the scene were made with the model '{saved.model_path}' for '{saved.label}' "
            f"(SHA-256 {saved.model_sha256[:12]}); load that model to go on with them"
        )


class _LateWriter:
    """A writer that is made when something is written: a run that comes to nothing leaves no node in the scene."""

    def __init__(self, make: Callable[[], EditorLogicWriter]) -> None:
        self._make = make
        self._writer: EditorLogicWriter | None = None

    def made(self) -> EditorLogicWriter:
        """The writer."""
        if self._writer is None:
            self._writer = self._make()
        return self._writer

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def save_state(self) -> None:
        self.made().save_state()

    def modify(self, segment_id: str, modifier: slicer.vtkOrientedImageData, mode: WriteMode) -> None:
        self.made().modify(segment_id, modifier, mode)

    def finish(self) -> None:
        self.made().finish()


def _close(propagation: PropagationLogic) -> None:
    """Let a writer of our own take its hidden node out of the scene."""
    if isinstance(propagation.writer, (EditorLogicWriter, _LateWriter)):
        propagation.writer.close()


def _doubt(session: Session, axis: int, progress: Progress, cancelled: CancelCheck) -> SliceDoubt:
    if cancelled():
        raise Cancelled
    progress("look for undecided slices", 0.0)
    return SliceDoubt(axis, session.slice_doubt_mm2(axis))


def free_device_memory() -> None:
    """Give back what torch keeps of the GPU; nothing without one."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
