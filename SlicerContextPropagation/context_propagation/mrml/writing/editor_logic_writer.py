"""Write segments through a Segment Editor logic of our own: module, console and command line."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable

import numpy as np
import slicer
import vtk

from context_propagation.core.errors import UserInputError
from context_propagation.mrml.nodes.labelmap_images import labelmap_from_image
from context_propagation.mrml.nodes.scenes import prepare_scene
from context_propagation.mrml.nodes.world_matrices import node_to_world
from context_propagation.mrml.writing.modifier_masks import (
    is_masked_by_single_segment,
    masked_by_intensity,
    masked_by_single_segment,
)
from context_propagation.mrml.writing.segment_writer import SegmentWriter, WriteMode


class EditorLogicWriter:
    """A `SegmentWriter` with its own undo history.

    Voxels are never taken from other segments (OverwriteNone). Masks are those of a segment editor node, looked up and
    read at each write. The user's node is not touched: a hidden node, which is not saved with the scene, carries the
    settings.

    Args:
        scene: Holds the nodes.
        segmentation_node: The segmentation that is written.
        volume_node: For the intensity-range mask, where the editor node has no source volume.
        editor_node_of: Gives the node whose editable area and intensity range are obeyed; where it gives None, all
            voxels are editable.
    """

    def __init__(
        self,
        scene: slicer.vtkMRMLScene,
        segmentation_node: slicer.vtkMRMLSegmentationNode,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
        editor_node_of: Callable[[], slicer.vtkMRMLSegmentEditorNode | None] = lambda: None,
    ) -> None:
        self._scene = prepare_scene(scene)
        self._node = segmentation_node
        self._volume = volume_node
        self._editor_node_of = editor_node_of
        self._settings = _private_editor_node(scene, segmentation_node, volume_node)
        self._logic = slicer.vtkSlicerSegmentEditorLogic()
        self._logic.SetMRMLScene(scene)
        self._logic.SetSegmentEditorNode(self._settings)
        self._left: str | None = None  # fingerprint of the segmentation as our last write, undo or redo left it

    def close(self) -> None:
        """Take the hidden node out of the scene; the history is lost."""
        self._logic.SetSegmentEditorNode(None)
        if self._settings.GetScene() is not None:  # a scene that was closed may have given its ID to another node
            self._scene.RemoveNode(self._settings)

    def save_state(self) -> None:
        """Save the segmentation, so that one `undo` returns to it.

        Raises:
            UserInputError: The state could not be saved.
        """
        if self._left is not None and self._left != segmentation_fingerprint(self._node):
            self._logic.ClearUndoState()  # older states would wipe what someone else changed since
        if not self._logic.SaveStateForUndo():
            raise UserInputError(
                f"The state of '{self._node.GetName()}' could not be saved for Undo; check that it has a segment"
            )

    def modify(self, segment_id: str, modifier: slicer.vtkOrientedImageData, mode: WriteMode) -> None:
        """Add or remove the voxels of a modifier on the segment's own grid, as far as masks allow."""
        editor_node = self._editor_node_of()
        self._copy_masks(segment_id, editor_node)
        if editor_node is not None:
            modifier = masked_by_intensity(modifier, self._node, editor_node, self._volume)
        if mode is WriteMode.REMOVE and is_masked_by_single_segment(self._settings):
            modifier = masked_by_single_segment(modifier, self._node, self._settings.GetMaskSegmentID())
            self._settings.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)
        modes = {
            WriteMode.ADD: self._logic.ModificationModeAdd,
            WriteMode.REMOVE: self._logic.ModificationModeRemove,
        }
        extent = list(modifier.GetExtent())
        self._logic.ModifySegmentByLabelmap(self._node, segment_id, modifier, modes[mode], extent, True, False)

    def finish(self) -> None:
        """Remember the segmentation as it was left."""
        self._left = segmentation_fingerprint(self._node)

    @property
    def can_undo(self) -> bool:
        return bool(self._logic.CanUndo())

    @property
    def can_redo(self) -> bool:
        return bool(self._logic.CanRedo())

    def undo(self) -> None:
        """Return to the state before the last write.

        Raises:
            UserInputError: Nothing to undo, or the segmentation was changed by someone else since.
        """
        self._require_untouched(self.can_undo, "undo")
        self._logic.Undo()
        self._left = segmentation_fingerprint(self._node)

    def redo(self) -> None:
        """Return to the state before the last `undo`.

        Raises:
            UserInputError: Nothing to redo, or the segmentation was changed by someone else since.
        """
        self._require_untouched(self.can_redo, "redo")
        self._logic.Redo()
        self._left = segmentation_fingerprint(self._node)

    def _require_untouched(self, possible: bool, word: str) -> None:
        name = self._node.GetName()
        if self._left is not None and self._left != segmentation_fingerprint(self._node):
            raise UserInputError(
                f"'{name}' was edited since the last propagation, and {word} would wipe that; undo that edit first"
            )
        if not possible:
            raise UserInputError(f"Nothing to {word} in '{name}'; no propagation was written after its last other edit")

    def _copy_masks(self, segment_id: str, editor_node: slicer.vtkMRMLSegmentEditorNode | None) -> None:
        everywhere = slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere
        self._settings.SetSelectedSegmentID(segment_id)
        self._settings.SetMaskMode(everywhere if editor_node is None else editor_node.GetMaskMode())
        self._settings.SetMaskSegmentID("" if editor_node is None else editor_node.GetMaskSegmentID() or "")


def _private_editor_node(
    scene: slicer.vtkMRMLScene,
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
) -> slicer.vtkMRMLSegmentEditorNode:
    node_to_world(segmentation_node)  # refuses transforms that are not linear before anything is written
    node = slicer.vtkMRMLSegmentEditorNode()
    node.SetName("ContextPropagationSegmentWriter")
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    node = scene.AddNode(node)
    node.SetAndObserveSegmentationNode(segmentation_node)
    node.SetAndObserveSourceVolumeNode(volume_node)
    node.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteNone)
    return node


class LateWriter:
    """A `SegmentWriter`.

    Args:
        make: Makes the writer.
    """

    def __init__(self, make: Callable[[], EditorLogicWriter]) -> None:
        self._make = make
        self._writer: EditorLogicWriter | None = None

    def made(self) -> EditorLogicWriter:
        """The writer."""
        if self._writer is None:
            self._writer = self._make()
        return self._writer

    def close(self) -> None:
        """Take the writer's node out of the scene, if it was made."""
        if self._writer is not None:
            self._writer.close()

    def save_state(self) -> None:
        """See `SegmentWriter`."""
        self.made().save_state()

    def modify(self, segment_id: str, modifier: slicer.vtkOrientedImageData, mode: WriteMode) -> None:
        """See `SegmentWriter`."""
        self.made().modify(segment_id, modifier, mode)

    def finish(self) -> None:
        """See `SegmentWriter`."""
        self.made().finish()


def close_own(writer: SegmentWriter) -> None:
    """Let a writer of our own take its hidden node out of the scene; others are their makers'."""
    if isinstance(writer, (EditorLogicWriter, LateWriter)):
        writer.close()


def segmentation_fingerprint(segmentation_node: slicer.vtkMRMLSegmentationNode) -> str:
    """A hash of all that an Undo would restore: segments, their names, colors and voxels.

    Conversions (closed surfaces for 3D views) and display settings do not count; modification times would.
    """
    segmentation = segmentation_node.GetSegmentation()
    digest = hashlib.blake2b()
    for segment_id in segmentation.GetSegmentIDs():
        segment = segmentation.GetSegment(segment_id)
        facts = (segment_id, segment.GetName(), segment.GetColor(), segment.GetLabelValue())
        digest.update(repr((facts, segmentation.GetLayerIndex(segment_id))).encode())
    for layer in range(segmentation.GetNumberOfLayers()):
        _add_layer(digest, segmentation.GetLayerDataObject(layer))
    return digest.hexdigest()


def _add_layer(digest: hashlib.blake2b, layer: vtk.vtkDataObject) -> None:
    if not isinstance(layer, slicer.vtkOrientedImageData):
        digest.update(repr(layer.GetMTime()).encode())
        return
    digest.update(repr((layer.GetExtent(), layer.GetSpacing(), layer.GetOrigin())).encode())
    labelmap = labelmap_from_image(layer)
    box = labelmap.filled_box
    if box is not None:
        digest.update(repr((box, zlib.crc32(np.ascontiguousarray(labelmap.crop(box)).data))).encode())
