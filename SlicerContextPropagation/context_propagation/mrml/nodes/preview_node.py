"""A preview of a propagation: a segmentation node of its own, so that nothing that was drawn is touched."""

from __future__ import annotations

import re

import slicer
import vtk

from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.mrml.nodes.scenes import remove_with_display
from context_propagation.mrml.nodes.segments import add_segment_in_box, add_segmentation

NAME = "Propagation preview"


ADDED, REMOVED = "would be added", "would be removed"


GREEN, RED = (0.2, 0.85, 0.3), (0.95, 0.2, 0.25)


OPACITY_2D_FILL = 0.5


class PropagationPreview:
    """Shows which voxels would be added and which removed, until it is closed.

    Args:
        scene: Where the node goes; it is not saved with the scene.
        volume_node: The volume whose grid the masks lie on.
        added: On the volume's grid.
        removed: On the volume's grid.
    """

    def __init__(
        self,
        scene: slicer.vtkMRMLScene,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
        added: BoxedMask,
        removed: BoxedMask,
    ) -> None:
        self.node = add_segmentation(scene, volume_node, NAME, shown_to_user=False)
        for mask, name, color in ((added, ADDED, GREEN), (removed, REMOVED, RED)):
            if not mask.is_empty:
                add_segment_in_box(self.node, mask, volume_node, name, color)
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
        remove_with_display(self.node)

    @property
    def _is_there(self) -> bool:
        return self.node.GetScene() is not None


def remove_dead_previews(scene: slicer.vtkMRMLScene) -> None:
    """Take entries out of the subject hierarchy that were saved while a preview was open: the preview itself was not.

    While it is open, Slicer asks for its entry at each of its events, and gives it a child for each of its segments.
    """
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    for item in _items_below(hierarchy, hierarchy.GetSceneItemID(), recursive=False):
        named = re.fullmatch(rf"{NAME}(_\d+)?", hierarchy.GetItemName(item)) is not None
        if named and hierarchy.GetItemLevel(item) != "Folder" and not _shows_nodes(hierarchy, item):
            hierarchy.RemoveItem(item, False, True)


def _shows_nodes(hierarchy: slicer.vtkMRMLSubjectHierarchyNode, item: int) -> bool:
    """Whether an entry, or one below it, is that of a node in the scene."""
    entries = [item, *_items_below(hierarchy, item, recursive=True)]
    return any(hierarchy.GetItemDataNode(entry) is not None for entry in entries)


def _items_below(hierarchy: slicer.vtkMRMLSubjectHierarchyNode, item: int, recursive: bool) -> list[int]:
    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(item, items, recursive)
    return [items.GetId(number) for number in range(items.GetNumberOfIds())]
