#!/usr/bin/env bash
# Segments that do not overlap may share one labelmap in Slicer, a layer. The logic of the module Segmentations gives a segment's labelmap:
# GetSegmentBinaryLabelmapRepresentation(node, segment id, labelmap).
#
# Expected: a binary labelmap of that segment alone, 0 and 1, whichever way it is stored.
# Seen (slicer-core 5.13.31053.0): once layers are shared, what comes back is the whole layer, with the voxels of the other segments in it
# under their own labels. Code that takes every voxel above 0 for the segment is right until someone collapses the layers, as Slicer's own
# modules and a saved .seg.nrrd do. The node's GetBinaryLabelmapRepresentation(segment id, labelmap) gives the segment alone.
# What to do: read from the node, or compare with the segment's label value.
#
# Run it: bash findings/slicer_logic_gives_other_segments_of_the_layer.sh   (about a minute; needs Python 3.11 and a package index)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet slicer-core==5.13.31053.0 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PROGRAM'
import platform
from importlib.metadata import version

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

scene = slicer.vtkMRMLScene()
logic = slicer.vtkSlicerSegmentationsModuleLogic()
logic.SetMRMLScene(scene)
node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
segmentation = node.GetSegmentation()
segmentation.SetSourceRepresentationName("Binary labelmap")
for name, extent in (("tumour", (0, 2, 0, 9, 0, 9)), ("organ", (5, 9, 0, 9, 0, 9))):
    labelmap, segment = slicer.vtkOrientedImageData(), slicer.vtkSegment()
    labelmap.SetExtent(*extent)
    labelmap.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    vtk_to_numpy(labelmap.GetPointData().GetScalars())[:] = 1
    segment.AddRepresentation("Binary labelmap", labelmap)
    segmentation.AddSegment(segment, name)


def voxels(read):
    """How many voxels of each value above 0 are in a labelmap."""
    out = slicer.vtkOrientedImageData()
    read(out)
    values, counts = np.unique(vtk_to_numpy(out.GetPointData().GetScalars()), return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts) if value}


def tumour():
    """By the logic and by the node."""
    return (
        voxels(lambda out: logic.GetSegmentBinaryLabelmapRepresentation(node, "tumour", out)),
        voxels(lambda out: node.GetBinaryLabelmapRepresentation("tumour", out)),
    )


print("python", platform.python_version(), "slicer-core", version("slicer-core"), "numpy", version("numpy"))
print("a tumour of 300 voxels beside an organ of 500; value: voxels, by the logic and by the node")
apart = tumour()
print(f"{segmentation.GetNumberOfLayers()} layers:", *apart)
segmentation.CollapseBinaryLabelmaps(False)
shared = tumour()
print(f"{segmentation.GetNumberOfLayers()} layer: ", *shared)
assert apart == ({1: 300}, {1: 300}), "this has changed"
assert shared == ({1: 300, 2: 500}, {1: 300}), "this has changed"
PROGRAM
