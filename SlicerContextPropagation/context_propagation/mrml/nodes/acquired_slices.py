"""Where the slices of a volume lie that Slicer's DICOM module put under an acquisition transform."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.even_slices import EvenSlices, allowed_offset, even_slices
from context_propagation.mrml.nodes.volume_nodes import volume_shape_kji
from context_propagation.mrml.nodes.world_matrices import is_acquisition_transform, volume_ijk_to_ras

HARDEN = "harden the transform on it in the module Transforms, which resamples it"


@dataclass(frozen=True)
class AcquiredSlices:
    """A volume's slices in their places, and the even stack that can stand for them.

    Attributes:
        even: The stack.
        ijk_to_ras: float64 `[4, 4]`, from indices of the even stack to RAS in mm, beside the acquisition transform:
            under the transform, if any, that this one is under.
    """

    even: EvenSlices
    ijk_to_ras: np.ndarray


def has_acquisition_transform(node: slicer.vtkMRMLTransformableNode) -> bool:
    """Whether a node is under a transform such as Slicer's DICOM module makes for slices that lie unevenly."""
    transform = node.GetParentTransformNode()
    return transform is not None and is_acquisition_transform(transform)


def acquired_slices(volume_node: slicer.vtkMRMLScalarVolumeNode) -> AcquiredSlices:
    """Where an acquisition transform puts the slices of a volume.

    Raises:
        UserInputError: The volume has no voxels or is under no such transform, or its slices do not only move along
            their normal, as with a tilted gantry.
    """
    what = f"Volume '{volume_node.GetName()}'"
    if not has_acquisition_transform(volume_node):
        raise UserInputError(
            f"{what} is under no acquisition transform, so that its slices lie evenly; use it as it is"
        )
    slices, rows, columns = volume_shape_kji(volume_node)
    matrix = volume_ijk_to_ras(volume_node)
    edges_ji = [(j, i) for j in (0, (rows - 1) / 2, rows - 1) for i in (0, (columns - 1) / 2, columns - 1)]
    indices = np.array([(i, j, k, 1) for k in range(slices) for j, i in edges_ji]).T
    before = (matrix @ indices)[:3].T.reshape(slices, -1, 3)
    after = _moved(volume_node.GetParentTransformNode(), before)
    normal = np.cross(matrix[:3, 0], matrix[:3, 1])
    normal *= np.sign(normal @ matrix[:3, 2]) / np.linalg.norm(normal)
    _check_moved_along(what, matrix, normal, before, after)
    even = even_slices(what, (after[:, 0] - after[0, 0]) @ normal)
    even_matrix = matrix.copy()
    even_matrix[:3, 2] = normal * even.step_mm
    even_matrix[:3, 3] = after[0, 0] + normal * even.start_mm
    return AcquiredSlices(even, even_matrix)


def _moved(transform: slicer.vtkMRMLTransformNode, points_ras: np.ndarray) -> np.ndarray:
    """Points `[A, N, 3]` as a transform moves them to its parent."""
    points, moved = vtk.vtkPoints(), vtk.vtkPoints()
    moved.SetDataTypeToDouble()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(points_ras.reshape(-1, 3)), deep=True))
    transform.GetTransformToParent().TransformPoints(points, moved)
    return np.array(vtk_to_numpy(moved.GetData())).reshape(points_ras.shape)


def _check_moved_along(
    what: str, matrix: np.ndarray, normal: np.ndarray, before: np.ndarray, after: np.ndarray
) -> None:
    """Refuse slices that lie sideways of the first one, or are turned or stretched."""
    sizes = np.linalg.norm(matrix[:3, :2], axis=0)
    allowed_mm = float((allowed_offset(sizes) * sizes).min())
    moves = after[:, 0] - after[0, 0]
    shift = float(np.linalg.norm(moves - (moves @ normal)[:, None] * normal, axis=1).max())
    if shift > allowed_mm:
        raise UserInputError(
            f"{what} has slices that are shifted sideways, by up to {shift:.3g} mm (gantry tilt?), not only along "
            f"their normal; {HARDEN}"
        )
    bent = float(np.linalg.norm((after - after[:, :1]) - (before - before[:, :1]), axis=-1).max())
    if bent > allowed_mm:
        raise UserInputError(
            f"{what} has slices that are turned or stretched, by up to {bent:.3g} mm, not only moved along their "
            f"normal; {HARDEN}"
        )
