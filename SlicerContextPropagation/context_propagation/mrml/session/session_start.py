"""How a session begins: an image is cached, or earlier edits are replayed; then it is live."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import slicer

from context_propagation.core.bundle.loaded_model import LoadedModel
from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.own_grid import OwnMask
from context_propagation.core.image.slices import SliceEdit, mask_of_slices
from context_propagation.core.image.source_volume import axis_of_plane
from context_propagation.core.session.saved_session import SavedPropagation, SavedSession
from context_propagation.mrml.nodes.selection import Selection
from context_propagation.mrml.nodes.volume_nodes import (
    deferred_source_volume,
    image_times,
    planes_of_volume,
)
from context_propagation.mrml.session.live_session import Beginning, LiveSession, SliceUncertainty, slice_uncertainty
from context_propagation.mrml.session.operation import Operation
from context_propagation.mrml.session.propagation_logic import PropagationLogic
from context_propagation.mrml.session.session_node import (
    archive_session,
    find_session_node,
    take_back_archived,
)
from context_propagation.mrml.writing.editor_logic_writer import EditorLogicWriter
from context_propagation.mrml.writing.segment_writer import SegmentWriter, WriteReport

if TYPE_CHECKING:
    from context_propagation.core.session.ready_image import ReadyImage
    from context_propagation.core.session.session_settings import SessionSettings


class SessionStart:
    """A session without an image, and what will keep it in step with the segment.

    Args:
        scene: Where its record goes.
        loaded: The model.
        selection: What is worked on.
        writer: Who writes voxels; None for a writer of our own.
        settings: Those of a session that is replayed; the defaults without.

    Attributes:
        selection: What is worked on.
        session: The engine.
    """

    def __init__(
        self,
        scene: slicer.vtkMRMLScene,
        loaded: LoadedModel,
        selection: Selection,
        writer: SegmentWriter | None,
        settings: SessionSettings | None = None,
    ) -> None:
        self._scene, self._loaded, self.selection = scene, loaded, selection
        self.session = loaded.session(settings)
        self._propagation = PropagationLogic(
            scene,
            self.session,
            selection.volume_nodes,
            selection.segmentation_node,
            selection.segment_id,
            writer or own_writer(scene, selection),
        )

    def predict_operation(
        self, kept: Sequence[SliceEdit], kept_on: str, ready: ReadyImage | None, fill: bool = True
    ) -> Operation[tuple[LiveSession, WriteReport]]:
        """Cache the image around the segment as it is; one that is empty is filled with the model's prediction.

        Args:
            kept: Slices that propagation leaves alone.
            kept_on: SHA-256 of the first channel on which they were drawn; on another they are dropped. Empty: this.
            ready: What `ready_image` made of the volumes, so that it is not done again.
            fill: False: one that is empty stays empty, and the first drawn slice says what is cached.
        """
        volume_node = self.selection.volume_nodes[0]
        axis = axis_of_plane(planes_of_volume(volume_node), "axial")
        image = self._propagation.image_operation(ready=ready, fill=fill)

        def compute(progress: Progress, cancelled: CancelCheck) -> tuple[Any, Beginning, SliceUncertainty]:
            from context_propagation.core.image.image_hash import image_sha256

            computed = image.compute(progress, cancelled)
            volume = self.session.volume
            sha256 = image_sha256(volume)
            drawn_here = tuple(kept) if kept_on in ("", sha256[0]) else ()
            self.session.protect(mask_of_slices(volume.shape_kji, drawn_here))
            beginning = Beginning.of(self.session, sha256, drawn_here)
            return computed, beginning, slice_uncertainty(self.session, axis, drawn_here, progress, cancelled)

        def finish(computed: tuple[Any, Beginning, SliceUncertainty]) -> tuple[LiveSession, WriteReport]:
            report = image.finish(computed[0])
            return self._in_place_of_the_record(*computed[1:]), report

        return Operation("Predict", compute, finish, image.abandon, image.begin)

    def replay_operation(
        self, saved: SavedSession, ready: ReadyImage | None
    ) -> Operation[tuple[LiveSession, SavedSession]]:
        """Cache the image and make the saved edits again; the segment is not written.

        Args:
            saved: What the scene holds.
            ready: As in `predict_operation`.
        """
        nodes = self.selection.volume_nodes
        volume_of, times = deferred_source_volume(nodes) if ready is None else lambda: ready, image_times(nodes)
        axial = axis_of_plane(planes_of_volume(nodes[0]), "axial")
        axis = saved.propagations[-1].slices[0].axis if saved.propagations else axial

        def compute(progress: Progress, cancelled: CancelCheck) -> tuple[Beginning, SliceUncertainty]:
            from context_propagation.core.session.session_file import replay

            replay(saved, self.session, volume_of(), progress, cancelled)
            beginning = Beginning.of(self.session, saved.image_sha256, saved.kept)
            return beginning, slice_uncertainty(self.session, axis, saved.kept, progress, cancelled)

        def finish(computed: tuple[Beginning, SliceUncertainty]) -> tuple[LiveSession, SavedSession]:
            self.selection.require_nodes()
            if image_times(nodes) != times:
                raise UserInputError("The voxels of a volume were changed while edits were replayed; do it again")
            self._propagation.resume(OwnMask(saved.own_grid, saved.known), saved.own_slices)
            return self._live(*computed, saved.propagations), saved

        return Operation("Replay edits", compute, finish)

    def _live(
        self, beginning: Beginning, doubt: SliceUncertainty, restored: Sequence[SavedPropagation] = ()
    ) -> LiveSession:
        worked_on = self._scene, self._loaded, self.selection, self.session, self._propagation
        return LiveSession(*worked_on, beginning, doubt, restored)

    def _in_place_of_the_record(self, beginning: Beginning, doubt: SliceUncertainty) -> LiveSession:
        """The record of edits that a new start leaves behind is kept under another name."""
        node = find_session_node(self._scene, self.selection.segmentation_node, self.selection.segment_id)
        if node is None:
            return self._live(beginning, doubt)
        archive_session(node)
        try:
            return self._live(beginning, doubt)
        except BaseException:
            take_back_archived(node)
            raise


def own_writer(scene: slicer.vtkMRMLScene, selection: Selection) -> EditorLogicWriter:
    """A writer that obeys the masks of the module Segment Editor while that edits the segmentation."""

    def editor_node() -> slicer.vtkMRMLSegmentEditorNode | None:
        node = scene.GetSingletonNode("SegmentEditor", "vtkMRMLSegmentEditorNode")
        edits_it = node is not None and node.GetSegmentationNode() is selection.segmentation_node
        return node if edits_it else None

    return EditorLogicWriter(scene, selection.segmentation_node, selection.volume_nodes[0], editor_node)
