#!/usr/bin/env bash
# Slicer converts segmentations between labelmap, surface and others by rules, which a factory keeps for the whole process. The logic of the
# module Segmentations registers them when it is given a scene. A script without the application makes such a logic for each scene.
#
# Expected: the rules are there once, however many logics were made.
# Seen (slicer-core 5.13.31053.0, Python 3.11): each logic adds all four rules once more, and each copy is one more way from labelmap to
# surface among which a conversion chooses. Ways of several steps multiply; a process that makes a scene for each case slows down with them.
# What to do: remember the rules before a second logic is made, and unregister those that came to them.
#
# Run it: bash findings/slicer_segmentation_logic_adds_rules_again.sh   (about a minute; needs Python 3.11 and a package index)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet slicer-core==5.13.31053.0
cd "$folder"
venv/bin/python - <<'PROGRAM'
import platform
from importlib.metadata import version

import slicer
import vtk

print("python", platform.python_version(), "slicer-core", version("slicer-core"))
factory = slicer.vtkSegmentationConverterFactory.GetInstance()
seen = []
for logics in (1, 2, 3):
    slicer.vtkSlicerSegmentationsModuleLogic().SetMRMLScene(slicer.vtkMRMLScene())
    segmentation, segment, labelmap = slicer.vtkSegmentation(), slicer.vtkSegment(), slicer.vtkOrientedImageData()
    labelmap.SetExtent(0, 9, 0, 9, 0, 9)
    labelmap.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    segmentation.SetSourceRepresentationName("Binary labelmap")
    segment.AddRepresentation("Binary labelmap", labelmap)
    segmentation.AddSegment(segment, "segment")
    ways = slicer.vtkSegmentationConversionPaths()
    segmentation.GetPossibleConversions("Closed surface", ways)
    seen.append((len(factory.GetConverterRules()), ways.GetNumberOfPaths()))
    print(f"after {logics} logic(s): {seen[-1][0]} rules, {seen[-1][1]} way(s) from labelmap to surface")
assert seen == [(4, 1), (8, 2), (12, 3)], "this has changed"
PROGRAM
