"""Matrices from voxel indices to world coordinates, parent transforms included."""

from __future__ import annotations

import numpy as np
import slicer
import vtk

from context_propagation.core.errors import UserInputError

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Its own inverse."""


def to_numpy(matrix: vtk.vtkMatrix4x4) -> np.ndarray:
    """A VTK matrix as float64 `[4, 4]`."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def to_vtk(matrix: np.ndarray) -> vtk.vtkMatrix4x4:
    """A matrix `[4, 4]` as a VTK matrix."""
    result = vtk.vtkMatrix4x4()
    for row in range(4):
        for column in range(4):
            result.SetElement(row, column, float(matrix[row, column]))
    return result


def node_to_world(node: slicer.vtkMRMLTransformableNode) -> np.ndarray:
    """The matrix `[4, 4]` from a node's own RAS to world RAS: all its parent transforms, or the identity.

    Raises:
        UserInputError: A parent transform is not linear, or cannot be inverted.
    """
    transform = node.GetParentTransformNode()
    if transform is None:
        return np.eye(4)
    name = f"'{node.GetName()}' is under the transform '{transform.GetName()}'"
    if not transform.IsTransformToWorldLinear():
        raise UserInputError(f"{name}, which is not linear; harden it on the node, or take the node out of it")
    matrix = vtk.vtkMatrix4x4()
    transform.GetMatrixTransformToWorld(matrix)
    result = to_numpy(matrix)
    if abs(np.linalg.det(result[:3, :3])) < 1e-12:
        raise UserInputError(f"{name}, which flattens space; take the node out of it")
    return result


def volume_ijk_to_world(node: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """The matrix `[4, 4]` from a volume's voxel indices (i, j, k) to world RAS in mm, parent transforms included.

    Raises:
        UserInputError: A parent transform is not linear.
    """
    return np.asarray(node_to_world(node) @ volume_ijk_to_ras(node))


def volume_ijk_to_ras(node: slicer.vtkMRMLScalarVolumeNode) -> np.ndarray:
    """The matrix `[4, 4]` from a volume's voxel indices (i, j, k) to its own RAS in mm, without parent transforms."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return to_numpy(matrix)


def relative_place(
    volume_node: slicer.vtkMRMLScalarVolumeNode, other_node: slicer.vtkMRMLTransformableNode
) -> np.ndarray:
    """The matrix `[4, 4]` from another node's own RAS to a volume's voxel indices (i, j, k).

    It is unchanged where both are moved together.

    Raises:
        UserInputError: A parent transform is not linear.
    """
    return np.asarray(np.linalg.inv(volume_ijk_to_world(volume_node)) @ node_to_world(other_node))
