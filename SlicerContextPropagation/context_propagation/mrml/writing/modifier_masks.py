"""Masks of the Segment Editor applied to a modifier by hand, where Slicer's own masking does something else."""

from __future__ import annotations

import numpy as np
import slicer

from context_propagation.core.image.boxes import Box, box_shape
from context_propagation.core.image.nearest_pull import pull_nearest
from context_propagation.mrml.nodes.labelmap_images import image_from_mask, labelmap_from_image
from context_propagation.mrml.nodes.segments import grid_mapping
from context_propagation.mrml.nodes.volume_nodes import volume_array


def masked_by_intensity(
    modifier: slicer.vtkOrientedImageData,
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    editor_node: slicer.vtkMRMLSegmentEditorNode,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
) -> slicer.vtkOrientedImageData:
    """A modifier within the editor's intensity range: Slicer's writes nothing where a segment has a grid of its own.

    Args:
        modifier: On the segment's grid.
        segmentation_node: Holds the segment.
        editor_node: Has the range, and the source volume that it is of.
        volume_node: Taken where the editor node has no source volume.
    """
    if not editor_node.GetSourceVolumeIntensityMask():
        return modifier
    volume_node = editor_node.GetSourceVolumeNode() or volume_node
    part = labelmap_from_image(modifier)
    mapping = grid_mapping(segmentation_node, part.ijk_to_ras, volume_node)
    intensity = pull_nearest(volume_array(volume_node), mapping.volume_from_segment_ijk, part.box)
    low, high = editor_node.GetSourceVolumeIntensityMaskRange()
    return image_from_mask(part.voxels & (intensity >= low) & (intensity <= high), part.box, part.ijk_to_ras)


def is_masked_by_single_segment(editor_node: slicer.vtkMRMLSegmentEditorNode) -> bool:
    """Whether the editable area is one segment: Slicer's erase would add its voxels to that segment."""
    return bool(editor_node.GetMaskMode() == slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)


def masked_by_single_segment(
    modifier: slicer.vtkOrientedImageData, segmentation_node: slicer.vtkMRMLSegmentationNode, mask_segment_id: str
) -> slicer.vtkOrientedImageData:
    """A modifier inside one segment."""
    part = labelmap_from_image(modifier)
    editable = _segment_over(segmentation_node, mask_segment_id, modifier, part.box)
    return image_from_mask(part.voxels & editable, part.box, part.ijk_to_ras)


def _segment_over(
    node: slicer.vtkMRMLSegmentationNode, segment_id: str, reference: slicer.vtkOrientedImageData, box: Box
) -> np.ndarray:
    """A segment over a box of another image's grid, bool; nearest voxels."""
    image, resampled = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData()
    if not node.GetBinaryLabelmapRepresentation(segment_id, image):
        return np.zeros(box_shape(box), bool)
    slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(image, reference, resampled)
    return labelmap_from_image(resampled).over(box)
