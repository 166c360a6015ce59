"""Write segments through the active effect of the Segment Editor: masks, overwrite mode and undo are the editor's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import slicer

from context_propagation.core.errors import UserInputError
from context_propagation.mrml.writing.modifier_masks import (
    is_masked_by_single_segment,
    masked_by_intensity,
    masked_by_single_segment,
)
from context_propagation.mrml.writing.segment_writer import WriteMode


class ScriptedEffect(Protocol):
    """What is asked of `qSlicerSegmentEditorScriptedEffect`; its names are Slicer's."""

    def parameterSetNode(self) -> slicer.vtkMRMLSegmentEditorNode: ...

    def saveStateForUndo(self) -> None: ...

    def modifySelectedSegmentByLabelmap(
        self, labelmap: slicer.vtkOrientedImageData, mode: Any, extent: list[int], bypass_masking: bool
    ) -> None: ...


class EffectWriter:
    """A `SegmentWriter` whose writes are steps of the editor's history: Undo is the editor's.

    Args:
        effect: The scripted effect.
        segmentation_node: The segmentation that is written; the editor may be set to another one meanwhile.
        add_mode: Slicer's `ModificationModeAdd`.
        remove_mode: Slicer's `ModificationModeRemove`.
    """

    keeps_history = True

    def __init__(
        self,
        effect: ScriptedEffect,
        segmentation_node: slicer.vtkMRMLSegmentationNode,
        add_mode: Any,
        remove_mode: Any,
    ) -> None:
        self._effect, self._node = effect, segmentation_node
        self._modes = {WriteMode.ADD: add_mode, WriteMode.REMOVE: remove_mode}

    def save_state(self) -> None:
        """Save the segmentation in the editor's history."""
        self._effect.saveStateForUndo()

    def modify(self, segment_id: str, modifier: slicer.vtkOrientedImageData, mode: WriteMode) -> None:
        """Add or remove the voxels of a modifier on the segment's own grid, as far as the editor's masks allow.

        Raises:
            UserInputError: Another segment or segmentation is selected in the editor.
        """
        editor_node = self._effect.parameterSetNode()
        segmentation_node = editor_node.GetSegmentationNode()
        if segmentation_node is not self._node or editor_node.GetSelectedSegmentID() != segment_id:
            raise UserInputError("Another segment was selected in the Segment Editor; select the propagated one again")
        modifier = masked_by_intensity(modifier, segmentation_node, editor_node, editor_node.GetSourceVolumeNode())
        by_hand = mode is WriteMode.REMOVE and is_masked_by_single_segment(editor_node)
        if by_hand:
            modifier = masked_by_single_segment(modifier, segmentation_node, editor_node.GetMaskSegmentID())
        extent = list(modifier.GetExtent())
        with _without_intensity_range(editor_node):
            self._effect.modifySelectedSegmentByLabelmap(modifier, self._modes[mode], extent, by_hand)


@contextmanager
def _without_intensity_range(editor_node: slicer.vtkMRMLSegmentEditorNode) -> Iterator[None]:
    """The range was applied by `masked_by_intensity`; no one is told that it is off for a moment."""
    on, silent = editor_node.GetSourceVolumeIntensityMask(), editor_node.GetDisableModifiedEvent()
    editor_node.SetDisableModifiedEvent(1)
    editor_node.SetSourceVolumeIntensityMask(False)
    try:
        yield
    finally:
        editor_node.SetSourceVolumeIntensityMask(on)
        editor_node.SetDisableModifiedEvent(silent)
        if on:
            editor_node.Modified()  # the editor may have looked meanwhile, and shows the range as off
