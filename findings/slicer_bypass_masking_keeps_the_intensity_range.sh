#!/usr/bin/env bash
# Slicer's Segment Editor logic may be told to write past the masks that the user has set: bypassMasking=True.
#
# Expected: with masking bypassed, all voxels of a labelmap are added to the segment.
# Seen (slicer-core 5.13.31053.0): past the editable area they are, past the editable intensity range they are not: half the voxels are
# missing, as without the flag, and nothing says so.
# What to do: read the segment after writing and count what is missing, or switch the node's SourceVolumeIntensityMask off meanwhile.
#
# Run it: bash findings/slicer_bypass_masking_keeps_the_intensity_range.sh   (about a minute; needs Python 3.11 and a package index)
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

WHOLE, HALF = (0, 9, 0, 9, 0, 9), (0, 9, 0, 9, 0, 4)


def labelmap(extent, value):
    image = slicer.vtkOrientedImageData()
    image.SetExtent(*extent)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    vtk_to_numpy(image.GetPointData().GetScalars())[:] = value
    return image


scene = slicer.vtkMRMLScene()
segmentations = slicer.vtkSlicerSegmentationsModuleLogic()
segmentations.SetMRMLScene(scene)
volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
voxels = vtk.vtkImageData()
voxels.SetDimensions(10, 10, 10)
voxels.AllocateScalars(vtk.VTK_SHORT, 1)
vtk_to_numpy(voxels.GetPointData().GetScalars())[:] = np.repeat([100, 0], 500)  # five bright slices, five dark ones
volume.SetAndObserveImageData(voxels)
editor = scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
editor.SetAndObserveSourceVolumeNode(volume)
logic = slicer.vtkSlicerSegmentEditorLogic()
logic.SetMRMLScene(scene)
logic.SetSegmentEditorNode(editor)


def added(bypass):
    """Voxels of an empty segment after 1000 were added under the masks that the editor node has."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.GetSegmentation().SetSourceRepresentationName("Binary labelmap")
    for name, extent, value in (("target", WHOLE, 0), ("area", HALF, 1)):
        segment = slicer.vtkSegment()
        segment.AddRepresentation("Binary labelmap", labelmap(extent, value))
        node.GetSegmentation().AddSegment(segment, name)
    editor.SetAndObserveSegmentationNode(node)
    editor.SetSelectedSegmentID("target")
    editor.SetMaskSegmentID("area")
    logic.ModifySegmentByLabelmap(node, "target", labelmap(WHOLE, 1), logic.ModificationModeAdd, True, bypass)
    out = slicer.vtkOrientedImageData()
    node.GetBinaryLabelmapRepresentation("target", out)
    return int(np.count_nonzero(vtk_to_numpy(out.GetPointData().GetScalars())))


print("python", platform.python_version(), "slicer-core", version("slicer-core"), "numpy", version("numpy"))
editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedInsideSingleSegment)
area = [added(bypass) for bypass in (False, True)]
editor.SetMaskMode(slicer.vtkMRMLSegmentationNode.EditAllowedEverywhere)
editor.SetSourceVolumeIntensityMask(True)
editor.SetSourceVolumeIntensityMaskRange(50, 150)
intensity = [added(bypass) for bypass in (False, True)]
print("of 1000 voxels were added, under masking and with masking bypassed:")
print("editable area of half the volume:", *area)
print("editable intensity range of half the volume:", *intensity)
assert area == [500, 1000], "this has changed"
assert intensity == [500, 500], "this has changed"
PROGRAM
