"""What other segments would lose to voxels that are added to one of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer

from context_propagation.core.boxed_mask import BoxedMask
from context_propagation.mrml.layers import layers_over
from context_propagation.mrml.segments import segment_name


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
