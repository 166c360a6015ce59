"""Move Slicer's slice views to a slice of a volume."""

from __future__ import annotations

import numpy as np
import slicer

from context_propagation.mrml.nodes.volume_nodes import volume_shape_kji
from context_propagation.mrml.nodes.world_matrices import volume_ijk_to_world


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
    for number in range(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
        slice_node = slicer.mrmlScene.GetNthNodeByClass(number, "vtkMRMLSliceNode")
        slice_node.JumpSliceByCentering(*ras[:3])
