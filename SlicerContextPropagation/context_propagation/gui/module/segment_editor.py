"""Slicer's module Segment Editor, opened on what is worked on."""

from __future__ import annotations

import slicer
import slicer.util

from context_propagation.mrml.nodes.selection import Selection

TOOL = "Paint"
"""The effect that is ready to draw; its name is the same in every language."""


def open_segment_editor(selection: Selection) -> None:
    """Show the module with segment and first volume chosen, ready to paint."""
    slicer.util.selectModule("SegmentEditor")
    editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
    editor.setSegmentationNode(selection.segmentation_node)
    editor.setSourceVolumeNode(selection.volume_nodes[0])
    editor.setCurrentSegmentID(selection.segment_id)
    editor.setActiveEffectByName(TOOL)
