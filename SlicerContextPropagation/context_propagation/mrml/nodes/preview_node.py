"""A preview of a propagation: a segmentation node of its own, so that nothing that was drawn is touched."""

from __future__ import annotations

import re

import numpy as np
import slicer
import vtk

from context_propagation.mrml.nodes.segments import add_segment_from_mask, add_segmentation
from context_propagation.mrml.nodes.volume_nodes import volume_shape_kji

NAME = "Propagation preview"


ADDED, REMOVED = "would be added", "would be removed"


GREEN, RED = (0.2, 0.85, 0.3), (0.95, 0.2, 0.25)


OPACITY_2D_FILL = 0.5


class PropagationPreview:
    """Shows which voxels would be added and which removed, until it is closed.

    Args:
        scene: Where the node goes; it is not saved with the scene.
        volume_node: The volume whose grid the masks lie on.
        added: bool `[K, J, I]` of the volume.
        removed: bool `[K, J, I]` of the volume.
    """

    def __init__(
        self,
        scene: slicer.vtkMRMLScene,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
        added: np.ndarray,
        removed: np.ndarray,
    ) -> None:
        shape = volume_shape_kji(volume_node)
        assert added.shape == removed.shape == shape  # both come from the engine, on this volume's grid
        self._scene = scene
        self.node = add_segmentation(scene, volume_node, NAME, shown_to_user=False)
        for mask, name, color in ((added, ADDED, GREEN), (removed, REMOVED, RED)):
            if mask.any():
                add_segment_from_mask(self.node, mask, volume_node, name, color)
        display = self.node.GetDisplayNode()
        display.SetSaveWithScene(False)
        display.SetOpacity2DFill(OPACITY_2D_FILL)
        display.SetVisibility3D(False)

    @property
    def shown(self) -> bool:
        """Whether the views show it: the result; hidden, they show the segment as it was drawn."""
        return bool(self._is_there and self.node.GetDisplayNode().GetVisibility())

    @shown.setter
    def shown(self, on: bool) -> None:
        if self._is_there:
            self.node.GetDisplayNode().SetVisibility(on)

    def close(self) -> None:
        """Take the node out of the scene; nothing where it is gone, as after the scene was closed."""
        if self._is_there:
            self._scene.RemoveNode(self.node.GetDisplayNode())
            self._scene.RemoveNode(self.node)

    @property
    def _is_there(self) -> bool:
        return self.node.GetScene() is not None


def remove_dead_previews(scene: slicer.vtkMRMLScene) -> None:
    """Take entries out of the subject hierarchy that were saved while a preview was open: the preview itself was not.

    While it is open, Slicer asks for its entry at each of its events.
    """
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items, False)
    for item in [items.GetId(number) for number in range(items.GetNumberOfIds())]:
        named = re.fullmatch(rf"{NAME}(_\d+)?", hierarchy.GetItemName(item)) is not None
        folder = hierarchy.GetItemLevel(item) == "Folder" or hierarchy.GetNumberOfItemChildren(item) > 0
        if named and not folder and hierarchy.GetItemDataNode(item) is None:
            hierarchy.RemoveItem(item, False, False)
