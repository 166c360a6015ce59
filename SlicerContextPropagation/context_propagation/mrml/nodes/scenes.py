"""Make a MRML scene ready for segmentations."""

from __future__ import annotations

import slicer

from context_propagation.core.errors import UserInputError


def prepare_scene(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLScene:
    """Register the segmentation nodes and conversion rules; in the running application they are there already.

    Args:
        scene: Any scene.

    Returns:
        The same scene.
    """
    if not scene.IsNodeClassRegistered("vtkMRMLSegmentEditorNode"):
        factory = slicer.vtkSegmentationConverterFactory.GetInstance()
        before = factory.GetConverterRules()
        logic = slicer.vtkSlicerSegmentationsModuleLogic()
        logic.SetMRMLScene(scene)
        logic.SetMRMLScene(None)
        if before:  # the logic adds the rules once more, and a conversion tries every combination of all rules
            for rule in factory.GetConverterRules()[len(before) :]:
                factory.UnregisterConverterRule(rule)
    return scene


def new_scene() -> slicer.vtkMRMLScene:
    """A scene of its own, for the command line and tests."""
    return prepare_scene(slicer.vtkMRMLScene())


def require_there(*nodes: slicer.vtkMRMLNode | None) -> None:
    """Raises:
    UserInputError: A node was deleted since an operation on it was made.
    """
    for node in nodes:
        if node is not None and node.GetScene() is None:
            raise UserInputError(f"'{node.GetName()}' was deleted meanwhile, and nothing was made; choose another")


def remove_with_display(node: slicer.vtkMRMLDisplayableNode) -> None:
    """Take a node and what displays it out of its scene; nothing where it is gone, as after the scene was closed."""
    scene, display = node.GetScene(), node.GetDisplayNode()
    if scene is None:
        return
    # The node first: until it goes, Slicer's 3D views hold on to what displays it, and at its next event they would
    # look at a display node that is gone, which ends the application.
    scene.RemoveNode(node)
    if display is not None and display.GetScene() is not None:
        scene.RemoveNode(display)


def leave_hierarchy(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLNode) -> None:
    """Take a node that is not saved out of the subject hierarchy, which saves its items all the same.

    Args:
        scene: Holds the node.
        node: Stays in the scene.
    """
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    item = hierarchy.GetItemByDataNode(node) if hierarchy is not None else 0
    if item:
        hierarchy.RemoveItem(item, False, True)
