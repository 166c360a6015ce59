"""Write segments through a Segment Editor logic of our own: module, console and command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import slicer

from context_propagation.mrml.nodes.scenes import prepare_scene
from context_propagation.mrml.nodes.world_matrices import node_to_world
from context_propagation.mrml.writing.modifier_masks import (
    is_masked_by_single_segment,
    masked_by_intensity,
    masked_by_single_segment,
)
from context_propagation.mrml.writing.segment_writer import WriteMode


class EditorLogicWriter:
    """A `SegmentWriter` that leaves nothing behind but the voxels: no node, and no step of any history.

    Voxels are never taken from other segments (OverwriteNone). Masks are those of a segment editor node, looked up and
    read at each write. The user's node is not touched: a hidden node, which is in the scene during a write alone,
    carries the settings.

    Args:
        scene: Holds the nodes.
        segmentation_node: The segmentation that is written.
        volume_node: For the intensity-range mask, where the editor node has no source volume.
        editor_node_of: Gives the node whose editable area and intensity range are obeyed; where it gives None, all
            voxels are editable.
    """

    keeps_history = False

    def __init__(
        self,
        scene: slicer.vtkMRMLScene,
        segmentation_node: slicer.vtkMRMLSegmentationNode,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
        editor_node_of: Callable[[], slicer.vtkMRMLSegmentEditorNode | None] = lambda: None,
    ) -> None:
        node_to_world(segmentation_node)  # refuses transforms that are not linear before anything is written
        self._scene = prepare_scene(scene)
        self._node = segmentation_node
        self._volume = volume_node
        self._editor_node_of = editor_node_of

    def save_state(self) -> None:
        """Nothing: whoever writes knows the voxels, and can write them back."""

    def modify(self, segment_id: str, modifier: slicer.vtkOrientedImageData, mode: WriteMode) -> None:
        """Add or remove the voxels of a modifier on the segment's own grid, as far as masks allow."""
        editor_node = self._editor_node_of()
        if editor_node is not None:
            modifier = masked_by_intensity(modifier, self._node, editor_node, self._volume)
        with self._settings(segment_id, editor_node) as settings:
            if mode is WriteMode.REMOVE and is_masked_by_single_segment(settings):
                modifier = masked_by_single_segment(modifier, self._node, settings.GetMaskSegmentID())
                settings.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)
            logic = slicer.vtkSlicerSegmentEditorLogic()
            logic.SetMRMLScene(self._scene)
            logic.SetSegmentEditorNode(settings)
            modes = {WriteMode.ADD: logic.ModificationModeAdd, WriteMode.REMOVE: logic.ModificationModeRemove}
            extent = list(modifier.GetExtent())
            logic.ModifySegmentByLabelmap(self._node, segment_id, modifier, modes[mode], extent, True, False)
            logic.SetSegmentEditorNode(None)

    @contextmanager
    def _settings(
        self, segment_id: str, editor_node: slicer.vtkMRMLSegmentEditorNode | None
    ) -> Iterator[slicer.vtkMRMLSegmentEditorNode]:
        """A hidden node with the editable area of the user's."""
        node = slicer.vtkMRMLSegmentEditorNode()
        node.SetName("ContextPropagationSegmentWriter")
        node.SetHideFromEditors(True)
        node.SetSaveWithScene(False)
        node = self._scene.AddNode(node)
        try:
            node.SetAndObserveSegmentationNode(self._node)
            node.SetAndObserveSourceVolumeNode(self._volume)
            node.SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteNone)
            node.SetSelectedSegmentID(segment_id)
            if editor_node is not None:
                node.SetMaskMode(editor_node.GetMaskMode())
                node.SetMaskSegmentID(editor_node.GetMaskSegmentID() or "")
            yield node
        finally:
            self._scene.RemoveNode(node)
