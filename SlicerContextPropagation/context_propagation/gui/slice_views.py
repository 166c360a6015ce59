"""Slicer's slice views: move them to a slice of a volume, and say which slice they show."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import slicer
from slicer.i18n import tr as _

from context_propagation.core.errors import UserInputError
from context_propagation.gui.texts import translated
from context_propagation.mrml.nodes.volume_nodes import planes_of_volume, volume_shape_kji
from context_propagation.mrml.nodes.world_matrices import to_numpy, volume_ijk_to_world


def jump_to_slice(volume_node: slicer.vtkMRMLScalarVolumeNode, axis: int, index: int) -> None:
    """Show a slice in all slice views: its centre, each view keeping its orientation.

    Args:
        volume_node: The volume.
        axis: Array axis (0: k, 1: j, 2: i) that the slice is perpendicular to.
        index: Of the slice.
    """
    centre_kji = [(size - 1) / 2 for size in volume_shape_kji(volume_node)]
    centre_kji[axis] = index
    ras = volume_ijk_to_world(volume_node) @ np.array([*centre_kji[::-1], 1.0])
    for slice_node in _slice_nodes():
        slice_node.JumpSliceByCentering(*ras[:3])


LARGEST_ANGLE_DEGREES = 15.0
"""Between a view and the slices that it shows; volumes often are tilted against the views a little."""


def slice_in_view(volume_node: slicer.vtkMRMLScalarVolumeNode, axis: int) -> int:
    """The slice in the middle of the first visible slice view that shows slices along an axis.

    Args:
        volume_node: The volume.
        axis: Array axis (0: k, 1: j, 2: i) that the slices are perpendicular to.

    Raises:
        UserInputError: No view shows such slices, or it is beside the volume.
    """
    plane = translated(planes_of_volume(volume_node)[axis])
    ijk_from_ras = np.linalg.inv(volume_ijk_to_world(volume_node))
    across = ijk_from_ras[2 - axis, :3] / np.linalg.norm(ijk_from_ras[2 - axis, :3])
    for slice_node in _slice_nodes():
        ras_from_slice = to_numpy(slice_node.GetSliceToRAS())
        normal = ras_from_slice[:3, 2] / np.linalg.norm(ras_from_slice[:3, 2])
        if not slice_node.IsMappedInLayout() or abs(normal @ across) < np.cos(np.radians(LARGEST_ANGLE_DEGREES)):
            continue
        index = int(np.floor((ijk_from_ras @ ras_from_slice[:, 3])[2 - axis] + 0.5))
        if 0 <= index < volume_shape_kji(volume_node)[axis]:
            return index
        raise UserInputError(_("The {plane} view is beside the volume; move it to the slice").format(plane=plane))
    raise UserInputError(_("No slice view shows {plane} slices; show one in the layout").format(plane=plane))


def _slice_nodes() -> Iterator[slicer.vtkMRMLSliceNode]:
    for number in range(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
        yield slicer.mrmlScene.GetNthNodeByClass(number, "vtkMRMLSliceNode")
