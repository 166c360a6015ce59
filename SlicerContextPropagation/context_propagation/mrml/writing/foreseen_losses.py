"""What other segments would lose to voxels that are added to one of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer

from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.boxes import Box, box_shape
from context_propagation.mrml.nodes.labelmap_images import image_from_mask, labelmap_from_image
from context_propagation.mrml.nodes.layers import any_segment_over, layers_over
from context_propagation.mrml.nodes.segments import segment_name
from context_propagation.mrml.nodes.world_matrices import node_to_world, volume_ijk_to_world
from context_propagation.mrml.writing.modifier_masks import masked_by_intensity


def lost_by_others(
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
    added: BoxedMask,
    overwrite_mode: int,
) -> dict[str, int]:
    """Count the voxels that adding would take from other segments under an overwrite mode of the Segment Editor.

    Args:
        segmentation_node: Holds the segments.
        segment_id: The segment that grows.
        volume_node: The volume.
        added: On the volume's grid.
        overwrite_mode: Of `vtkMRMLSegmentEditorNode`.

    Returns:
        Voxels of the volume by the segment's name; segments that lose nothing are left out.
    """
    if added.is_empty:
        return {}
    lost = {}
    inside = added.inside
    others = _overwritten(segmentation_node, segment_id, overwrite_mode)
    for values, labels in layers_over(segmentation_node, others, volume_node, added.box):
        found, counts = np.unique(labels[inside], return_counts=True)
        count_of = dict(zip(found.tolist(), counts.tolist(), strict=True))
        lost |= {other: count_of[value] for other, value in values.items() if value in count_of}
    return {segment_name(segmentation_node, other): lost[other] for other in others if other in lost}


def _overwritten(
    segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str, overwrite_mode: int
) -> Sequence[str]:
    others = [other for other in segmentation_node.GetSegmentation().GetSegmentIDs() if other != segment_id]
    if overwrite_mode == slicer.vtkMRMLSegmentEditorNode.OverwriteNone:
        return []
    display = segmentation_node.GetDisplayNode()
    if overwrite_mode == slicer.vtkMRMLSegmentEditorNode.OverwriteVisibleSegments and display is not None:
        return [other for other in others if display.GetSegmentVisibility(other)]
    return others


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
