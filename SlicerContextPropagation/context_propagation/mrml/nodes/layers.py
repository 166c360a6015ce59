"""Many segments at once over a part of a volume's grid: Slicer keeps them as label values in shared layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import slicer

from context_propagation.core.image.boxes import Box, box_shape
from context_propagation.core.image.nearest_pull import index_of_array, pull_nearest
from context_propagation.mrml.nodes.labelmap_images import labelmap_from_image
from context_propagation.mrml.nodes.segments import grid_mapping


def layers_over(
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    segment_ids: Iterable[str],
    volume_node: slicer.vtkMRMLScalarVolumeNode,
    box: Box,
) -> Iterator[tuple[dict[str, int], np.ndarray]]:
    """Each layer that holds one of some segments, once.

    Args:
        segmentation_node: Holds the segments, as binary labelmaps.
        segment_ids: The segments; those without voxels are left out.
        volume_node: Gives the grid.
        box: The part of it.

    Yields:
        The label value of each of the segments in the layer, and the layer's values over the box, of the nearest voxel.
    """
    segmentation = segmentation_node.GetSegmentation()
    labelmaps = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
    by_layer: dict[int, dict[str, int]] = {}
    for segment_id in segment_ids:
        there = segmentation.GetSegment(segment_id) is not None
        layer = segmentation.GetLayerIndex(segment_id, labelmaps) if there else -1
        if layer >= 0:
            by_layer.setdefault(layer, {})[segment_id] = segmentation.GetSegment(segment_id).GetLabelValue()
    for layer, values in by_layer.items():
        image = segmentation.GetLayerDataObject(layer, labelmaps)
        labelmap = labelmap_from_image(image)
        if labelmap.scalars.size:
            mapping = grid_mapping(segmentation_node, labelmap.ijk_to_ras, volume_node)
            index = index_of_array(mapping.segment_from_volume_ijk, [start for start, _ in labelmap.box])
            yield values, pull_nearest(labelmap.scalars, index, box, back=True)


def any_segment_over(
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    segment_ids: Iterable[str],
    volume_node: slicer.vtkMRMLScalarVolumeNode,
    box: Box,
) -> np.ndarray:
    """Where at least one of some segments is: bool, the box's shape."""
    covered = np.zeros(box_shape(box), bool)
    for values, labels in layers_over(segmentation_node, segment_ids, volume_node, box):
        covered |= np.isin(labels, list(values.values()))
    return covered
