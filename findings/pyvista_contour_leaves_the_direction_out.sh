#!/usr/bin/env bash
# A vtkImageData has had a direction matrix since VTK 9: a mask's axes need not be x, y and z. A surface of the mask is made by a contour filter;
# PyVista's contour() chooses among three: "contour" (the default, vtkContourFilter), "marching_cubes" and "flying_edges".
#
# Expected: the three surfaces lie in one place, around the voxels of the mask, where image.points, threshold() and slice() have them too.
# Seen (vtk 9.7.2, pyvista 0.49.1): with first axes that point to -x and -y, as those of an axial DICOM series do in RAS, marching cubes and flying
# edges put the surface around the voxels, x -10.5 to -4.5 mm. The default puts it to 14.5 to 20.5 mm, where it were with axes x, y and z, and
# so for a sagittal stack: vtkContourFilter has it made by vtkSynchronizedTemplates3D, which knows origin and spacing but no direction. With
# vtkContourFilter's FastMode on (off is its default) it is right. Nothing is raised or logged.
# What to do: name a method, contour(..., method="flying_edges"); in VTK take vtkFlyingEdges3D, or turn FastMode on.
#
# Run it: bash findings/pyvista_contour_leaves_the_direction_out.sh   (a minute; needs Python 3.10 or later and a package index)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet vtk==9.7.2 pyvista==0.49.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'PROGRAM'
import platform
from importlib.metadata import version

import numpy as np
import pyvista
import vtk

WITHOUT_DIRECTION = (14.5, 20.5, 8.5, 14.5, 14.0, 22.0)
METHODS = ("contour", "marching_cubes", "flying_edges")
AXES = {
    "x, y, z": np.eye(3),
    "-x, -y, z": np.diag([-1.0, -1.0, 1.0]),
    "z, x, y (a sagittal stack)": np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
}


def bounds(surface):
    return tuple(round(float(value), 3) for value in surface.GetBounds())


def of_filter(image, fast):
    contour = vtk.vtkContourFilter()
    contour.SetInputData(image)
    contour.SetValue(0, 0.5)
    contour.SetFastMode(fast)
    contour.Update()
    return bounds(contour.GetOutput())


def of_voxels(image):
    """Half a voxel around the mask's voxels, along the image's axes."""
    points = image.points[image["mask"] > 0]
    half = np.abs(image.direction_matrix) @ image.spacing / 2
    low, high = points.min(0) - half, points.max(0) + half
    return tuple(round(float(value), 3) for pair in zip(low, high) for value in pair)


print("python", platform.python_version(), *(f"{name} {version(name)}" for name in ("pyvista", "vtk", "numpy")))
voxels = np.zeros((28, 24, 20), np.uint8)
voxels[4:8, 3:9, 10:16] = 1
for name, direction in AXES.items():
    image = pyvista.ImageData(dimensions=voxels.shape[::-1], spacing=(1, 1, 2), origin=(5, 6, 7), direction_matrix=direction)
    image.point_data["mask"] = voxels.ravel()
    right = of_voxels(image)
    seen = {method: bounds(image.contour([0.5], scalars="mask", method=method)) for method in METHODS}
    seen["default"] = bounds(image.contour([0.5], scalars="mask"))
    seen["vtkContourFilter, FastMode off"], seen["vtkContourFilter, FastMode on"] = of_filter(image, False), of_filter(image, True)
    print(f"axes {name}: voxels at {right}")
    for method, where in seen.items():
        print(f"    {method}: {where}")
    wrong = {"contour", "default", "vtkContourFilter, FastMode off"} if name != "x, y, z" else set()
    assert all(where == (WITHOUT_DIRECTION if method in wrong else right) for method, where in seen.items()), "this has changed"
    assert (right == WITHOUT_DIRECTION) == (not wrong)
PROGRAM
