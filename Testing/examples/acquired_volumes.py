"""Volumes as Slicer loads a DICOM series whose slices lie unevenly: on a mean grid, under an acquisition transform.

The transform is that of `AcquisitionModeling` in Slicer's DICOMScalarVolumePlugin.py: a grid of 2 x 2 points for each
slice, at its first voxel and one voxel beyond its last, by which its corners get where its DICOM header says.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.mrml.nodes.volume_nodes import add_volume
from context_propagation.mrml.nodes.world_matrices import RAS_TO_LPS

THREE_AND_FIVE = (3.0,) * 5 + (5.0,) * 3
"""Distances of nine slices, in mm: at 0, 3, 6, 9, 12, 15, 20, 25, 30."""


AXIAL = np.diag([-1.0, -1.0, 1.0])
"""Directions of i, j, k in RAS: i to the left, j to the back, k to the head."""


def oblique() -> np.ndarray:
    """Directions turned about all axes."""
    turned = vtk.vtkTransform()
    for axis, degrees in (("X", 17), ("Y", -25), ("Z", 11)):
        getattr(turned, f"Rotate{axis}")(degrees)
    matrix = turned.GetMatrix()
    return np.array([[matrix.GetElement(r, c) for c in range(3)] for r in range(3)]) @ AXIAL


DIRECTIONS = {
    "axial": AXIAL,
    "from the head down": np.diag([-1.0, 1.0, -1.0]),
    "mirrored": np.diag([1.0, -1.0, 1.0]),
    "oblique": oblique(),
}


def slice_positions(distances_mm: Sequence[float] = THREE_AND_FIVE) -> np.ndarray:
    """Where slices lie along their normal, from the first one on."""
    return np.concatenate([[0.0], np.cumsum(distances_mm)])


def add_acquired(
    scene: slicer.vtkMRMLScene,
    voxels: np.ndarray,
    distances_mm: Sequence[float] = THREE_AND_FIVE,
    directions: np.ndarray = AXIAL,
    spacing_ij: tuple[float, float] = (1.5, 2.0),
    origin_ras: Sequence[float] = (20.0, 30.0, -70.0),
    tilt: float = 0.0,
    name: str = "CT",
) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a volume as Slicer loads it.

    Args:
        voxels: `[K, J, I]`, one slice more than there are distances.
        directions: Columns are those of i, j, k in RAS.
        tilt: How far the slices are shifted along j, for each millimetre along the normal.
    """
    slices, rows, columns = voxels.shape
    positions = slice_positions(distances_mm)
    matrix = np.eye(4)
    matrix[:3, :3] = directions * (*spacing_ij, positions[-1] / (slices - 1))
    matrix[:3, 3] = origin_ras
    volume = add_volume(scene, SourceVolume(voxels.astype(np.float32)[None], RAS_TO_LPS @ matrix), name)
    volume.CreateDefaultDisplayNodes()

    first = np.asarray(origin_ras) + positions[:, None] * (directions[:, 2] + tilt * directions[:, 1])
    corner = np.array([[(c * columns, r * rows) for c in (0, 1)] for r in (0, 1)])
    inside = corner @ (directions[:, :2] * spacing_ij).T
    targets = first[:, None, None] + inside
    sources = (matrix[:3, 3] + np.arange(slices)[:, None] * matrix[:3, 2])[:, None, None] + inside
    put_under_grid(scene, volume, targets - sources)
    return volume


def put_under_grid(scene: slicer.vtkMRMLScene, volume: slicer.vtkMRMLScalarVolumeNode, moves_ras: np.ndarray) -> None:
    """Put a volume under a transform that moves the corners of its slices by `[K, 2, 2, 3]` mm."""
    columns, rows, slices = volume.GetImageData().GetDimensions()
    x, y, z = volume.GetSpacing()
    grid = vtk.vtkImageData()
    grid.SetOrigin(*volume.GetOrigin())
    grid.SetDimensions(2, 2, slices)
    grid.SetSpacing(x * columns, y * rows, z)
    grid.AllocateScalars(vtk.VTK_DOUBLE, 3)
    vtk_to_numpy(grid.GetPointData().GetScalars())[:] = moves_ras.reshape(-1, 3)
    transform, directions = slicer.vtkOrientedGridTransform(), vtk.vtkMatrix4x4()
    volume.GetIJKToRASDirectionMatrix(directions)
    transform.SetGridDirectionMatrix(directions)
    transform.SetDisplacementGridData(grid)
    node = slicer.vtkMRMLGridTransformNode()
    node.SetName(f"{volume.GetName()} acquisition transform")
    scene.AddNode(node)
    node.SetAndObserveTransformToParent(transform)
    volume.SetAndObserveTransformNodeID(node.GetID())
