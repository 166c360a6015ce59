"""Whether a segmentation is still as we left it."""

from __future__ import annotations

import hashlib
import zlib

import numpy as np
import slicer
import vtk

from context_propagation.mrml.labelmap_images import labelmap_from_image


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
