#!/usr/bin/env bash
# Slicer's Segment Editor logic changes a segment by a labelmap of new values: added, removed or set. An extent says which part of the
# labelmap counts.
#
# Expected: setting one slice of a segment, by its extent, leaves the other slices as they are, as adding and removing do.
# Seen (slicer-core 5.13.31053.0): ModificationModeSet with the extent of one slice out of ten leaves that slice alone in the segment; the
# other nine are erased. ModificationModeAdd and ModificationModeRemove keep to the extent.
# What to do: write a part as two steps: remove the voxels that go, then add those that come, both with the part's extent.
#
# Run it: bash findings/slicer_editor_set_mode_erases_outside_its_extent.sh   (about a minute; needs Python 3.11 and a package index)
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

Logic = slicer.vtkSlicerSegmentEditorLogic
WHOLE, FIFTH_SLICE = (0, 9, 0, 9, 0, 9), (0, 9, 0, 9, 4, 4)


def labelmap(value):
    image = slicer.vtkOrientedImageData()
    image.SetExtent(*WHOLE)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    vtk_to_numpy(image.GetPointData().GetScalars())[:] = value
    return image


scene = slicer.vtkMRMLScene()
segmentations = slicer.vtkSlicerSegmentationsModuleLogic()
segmentations.SetMRMLScene(scene)
editor = scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode")
logic = Logic()
logic.SetMRMLScene(scene)
logic.SetSegmentEditorNode(editor)


def voxels_after(mode, start):
    """Voxels per slice after the fifth slice of a segment was changed by a labelmap of ones."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    node.GetSegmentation().SetSourceRepresentationName("Binary labelmap")
    segment = slicer.vtkSegment()
    segment.AddRepresentation("Binary labelmap", labelmap(start))
    node.GetSegmentation().AddSegment(segment, "target")
    editor.SetAndObserveSegmentationNode(node)
    editor.SetSelectedSegmentID("target")
    logic.ModifySegmentByLabelmap(node, "target", labelmap(1), mode, FIFTH_SLICE, True, False)
    seen = np.zeros(10, int)
    out = slicer.vtkOrientedImageData()
    node.GetBinaryLabelmapRepresentation("target", out)
    _, _, _, _, first, last = out.GetExtent()
    values = vtk_to_numpy(out.GetPointData().GetScalars()).reshape(last - first + 1, -1)
    seen[first : last + 1] = (values > 0).sum(1)
    return list(map(int, seen))


print("python", platform.python_version(), "slicer-core", version("slicer-core"), "numpy", version("numpy"))
added, removed = voxels_after(Logic.ModificationModeAdd, 1), voxels_after(Logic.ModificationModeRemove, 1)
set_ = voxels_after(Logic.ModificationModeSet, 1)
print("a full segment of ten slices, its fifth slice changed by ones; voxels per slice")
print("add:   ", *added)
print("remove:", *removed)
print("set:   ", *set_)
assert added == [100] * 10, "this has changed"
assert removed == [100] * 4 + [0] + [100] * 5, "this has changed"
assert set_ == [0] * 4 + [100] + [0] * 5, "this has changed"
PROGRAM
