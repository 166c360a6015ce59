"""A map of values from 0 to 1 on a part of a volume's grid, as a volume that slice views show in colours."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from context_propagation.core.image.boxes import Box
from context_propagation.mrml.nodes.scenes import leave_hierarchy
from context_propagation.mrml.nodes.world_matrices import to_numpy, to_vtk

MAP_ATTRIBUTE = "ContextPropagation.Map"
"""Of volumes that are maps: no model reads them."""


COLORS = "ContextPropagationMapColors"
"""Singleton tag of the colour table that all maps share."""


STOPS = np.array([(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)]) / 255.0
"""From 0 to 1, dark to bright, also for those who do not tell red from green: five colours of matplotlib's inferno."""


LEAST_SHOWN = 0.05
"""Below this a map is transparent: the image is seen there as it is."""


def map_colors(values: np.ndarray) -> np.ndarray:
    """The colour of values from 0 to 1: float64, a last axis for red, green and blue, 0 to 1."""
    at = np.linspace(0, 1, len(STOPS))
    return np.stack([np.interp(values, at, channel) for channel in STOPS.T], axis=-1)


def add_map(scene: slicer.vtkMRMLScene, name: str, overlay_tag: str = "") -> slicer.vtkMRMLScalarVolumeNode:
    """Add a map without voxels.

    Args:
        scene: Where it goes.
        name: Its name.
        overlay_tag: Of a map that is shown over others and no more: it is in no list, is not saved, and has an ID of
            its own. Slice views that were saved while they showed it then refer to nothing, and never to a volume that
            is loaded later.
    """
    node, display = slicer.vtkMRMLScalarVolumeNode(), slicer.vtkMRMLScalarVolumeDisplayNode()
    if overlay_tag:
        node.SetSingletonTag(overlay_tag)
        for hidden in (node, display):
            hidden.SetHideFromEditors(True)
            hidden.SetSaveWithScene(False)
    node.SetName(scene.GenerateUniqueName(name))
    node.SetAttribute(MAP_ATTRIBUTE, "1")
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0.0, 1.0)
    display.SetThreshold(LEAST_SHOWN, 1.0)
    display.ApplyThresholdOn()
    display = scene.AddNode(display)
    display.SetAndObserveColorNodeID(_colors(scene).GetID())
    node = scene.AddNode(node)
    node.SetAndObserveDisplayNodeID(display.GetID())
    if overlay_tag:
        leave_hierarchy(scene, node)
    return node


def fill_map(
    node: slicer.vtkMRMLScalarVolumeNode, volume_node: slicer.vtkMRMLScalarVolumeNode, box: Box, values: np.ndarray
) -> None:
    """Give a map its voxels: they lie where those of the volume's box lie, under the same parent transform.

    Args:
        node: See `add_map`.
        volume_node: Gives the grid.
        box: The part of it.
        values: The box's shape; not copied, as the main thread would wait for it: not to be written to any more.
    """
    image, matrix = vtk.vtkImageData(), vtk.vtkMatrix4x4()
    image.SetDimensions(*values.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(np.ascontiguousarray(values).ravel(), deep=False))
    volume_node.GetIJKToRASMatrix(matrix)
    ijk_to_ras, first_ijk = to_numpy(matrix), np.array([*(start for start, _ in box[::-1]), 1.0])
    ijk_to_ras[:, 3] = ijk_to_ras @ first_ijk
    node.SetIJKToRASMatrix(to_vtk(ijk_to_ras))
    node.SetAndObserveTransformNodeID(volume_node.GetTransformNodeID())
    node.SetAndObserveImageData(image)


def is_map(node: slicer.vtkMRMLVolumeNode) -> bool:
    """Whether a volume is a map."""
    return node.GetAttribute(MAP_ATTRIBUTE) is not None


def _colors(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLColorTableNode:
    node = scene.GetSingletonNode(COLORS, "vtkMRMLColorTableNode")
    if node is None:
        node = slicer.vtkMRMLColorTableNode()
        node.SetSingletonTag(COLORS)
        node.SetName("Context propagation: maps")
        node.SetHideFromEditors(True)
        node.SetTypeToUser()
        node.SetNumberOfColors(256)
        for number, color in enumerate(map_colors(np.linspace(0, 1, 256))):
            node.SetColor(number, f"{number / 255:.2f}", *color, 1.0)
        node.GetLookupTable().SetTableRange(0, 255)
        node = scene.AddNode(node)
    return node
