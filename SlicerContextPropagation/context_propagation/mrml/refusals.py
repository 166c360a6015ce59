"""How many voxels of a change the Segment Editor's masks would refuse."""

from __future__ import annotations

import numpy as np
import slicer

from context_propagation.core.boxed_mask import BoxedMask
from context_propagation.core.boxes import Box, box_shape
from context_propagation.mrml.labelmap_images import image_from_mask, labelmap_from_image
from context_propagation.mrml.layers import any_segment_over
from context_propagation.mrml.modifier_masks import masked_by_intensity
from context_propagation.mrml.world_matrices import node_to_world, volume_ijk_to_world

NODE = slicer.vtkMRMLSegmentationNode
INSIDE = (
    NODE.EditAllowedInsideAllSegments,
    NODE.EditAllowedInsideVisibleSegments,
    NODE.EditAllowedInsideSingleSegment,
)
VISIBLE = (NODE.EditAllowedInsideVisibleSegments, NODE.EditAllowedOutsideVisibleSegments)


def count_refused(
    editor_node: slicer.vtkMRMLSegmentEditorNode,
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
    changed: BoxedMask,
) -> int:
    """Count what lies outside the editable area or intensity range as they are set now.

    Args:
        editor_node: Has the masks.
        segmentation_node: Holds the segments.
        segment_id: The segment that is to change.
        volume_node: The volume.
        changed: Voxels to add or remove, on the volume's grid.

    Returns:
        Voxels of the volume. Where the segment has a grid of its own, `WriteReport.refused` counts that grid's.
    """
    if changed.is_empty:
        return 0
    box = changed.box
    own_ras = np.linalg.inv(node_to_world(segmentation_node)) @ volume_ijk_to_world(volume_node)
    change = image_from_mask(changed.inside, box, own_ras)
    in_range = labelmap_from_image(masked_by_intensity(change, segmentation_node, editor_node, volume_node))
    written = in_range.over(box) & _editable(editor_node, segmentation_node, segment_id, volume_node, box)
    return changed.count - int(np.count_nonzero(written))


def _editable(
    editor_node: slicer.vtkMRMLSegmentEditorNode,
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
    box: Box,
) -> np.ndarray:
    """The editable area over a box, as Slicer's `GenerateEditMask` has it: outside segments, but not the edited one."""
    mode = editor_node.GetMaskMode()
    if mode == NODE.EditAllowedEverywhere:
        return np.ones(box_shape(box), bool)
    if mode == NODE.EditAllowedInsideSingleSegment:
        ids = [editor_node.GetMaskSegmentID() or ""]
    else:
        ids = list(segmentation_node.GetSegmentation().GetSegmentIDs())
    display = segmentation_node.GetDisplayNode()
    if mode in VISIBLE and display is not None:
        ids = [one for one in ids if display.GetSegmentVisibility(one)]
    if mode not in INSIDE:
        ids = [one for one in ids if one != segment_id]
    covered = any_segment_over(segmentation_node, ids, volume_node, box)
    return covered if mode in INSIDE else ~covered
