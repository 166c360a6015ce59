"""Slicer's slice views: which slice of a volume they show, and moving them to another."""

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
    for slice_node in slice_nodes():
        slice_node.JumpSliceByCentering(*ras[:3])


def shown_slice(volume_node: slicer.vtkMRMLScalarVolumeNode, axis: int) -> int | None:
    """The slice of a volume that a slice view shows.

    Args:
        volume_node: The volume.
        axis: Array axis that the slice is perpendicular to.

    Returns:
        Its index; of several views, the first that is in the layout. None where no view is along such slices, or is
        beside the volume.
    """
    for node in sorted(_views_along(volume_node, axis), key=lambda one: not one.IsMappedInLayout()):
        if (index := _slice_in(node, volume_node, axis)) is not None:
            return index
    return None


def slice_in_view(volume_node: slicer.vtkMRMLScalarVolumeNode, axis: int) -> int:
    """The slice in the first slice view of the layout that shows slices along an axis.

    Args:
        volume_node: The volume.
        axis: Array axis that the slice is perpendicular to.

    Raises:
        UserInputError: The layout has no such view, or it is beside the volume.
    """
    plane = translated(planes_of_volume(volume_node)[axis])
    seen = [node for node in _views_along(volume_node, axis) if node.IsMappedInLayout()]
    if not seen:
        raise UserInputError(_("No slice view shows {plane} slices; show one in the layout").format(plane=plane))
    index = _slice_in(seen[0], volume_node, axis)
    if index is None:
        raise UserInputError(_("The {plane} view is beside the volume; move it to the slice").format(plane=plane))
    return index


def has_planes(volume_node: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether the slices of a volume are flat: no transform bends them."""
    transform = volume_node.GetParentTransformNode()
    return transform is None or bool(transform.IsTransformToWorldLinear())


def slice_nodes() -> Iterator[slicer.vtkMRMLSliceNode]:
    """Of all slice views, in the layout or not."""
    kind = "vtkMRMLSliceNode"
    scene = slicer.mrmlScene
    return (scene.GetNthNodeByClass(number, kind) for number in range(scene.GetNumberOfNodesByClass(kind)))


def _views_along(volume_node: slicer.vtkMRMLScalarVolumeNode, axis: int) -> list[slicer.vtkMRMLSliceNode]:
    """The views whose plane lies in the slices along an axis, up to some 8 degrees."""
    across = np.linalg.inv(volume_ijk_to_world(volume_node))[2 - axis, :3]
    return [node for node in slice_nodes() if _is_along(node, across)]


def _is_along(slice_node: slicer.vtkMRMLSliceNode, across: np.ndarray) -> bool:
    normal = to_numpy(slice_node.GetSliceToRAS())[:3, 2]
    return abs(normal @ across) > 0.99 * float(np.linalg.norm(normal) * np.linalg.norm(across))


def _slice_in(
    slice_node: slicer.vtkMRMLSliceNode, volume_node: slicer.vtkMRMLScalarVolumeNode, axis: int
) -> int | None:
    """The slice in the middle of a view; None where that is beside the volume."""
    world_to_ijk = np.linalg.inv(volume_ijk_to_world(volume_node))
    index = int(np.floor(world_to_ijk[2 - axis] @ to_numpy(slice_node.GetSliceToRAS())[:, 3] + 0.5))
    return index if 0 <= index < volume_shape_kji(volume_node)[axis] else None
