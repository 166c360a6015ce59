"""Make a MRML scene ready for segmentations."""

from __future__ import annotations

import slicer


def prepare_scene(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLScene:
    """Register the segmentation nodes and conversion rules; in the running application they are there already.

    Args:
        scene: Any scene.

    Returns:
        The same scene.
    """
    if not scene.IsNodeClassRegistered("vtkMRMLSegmentEditorNode"):
        logic = slicer.vtkSlicerSegmentationsModuleLogic()
        logic.SetMRMLScene(scene)
        logic.SetMRMLScene(None)
    return scene


def new_scene() -> slicer.vtkMRMLScene:
    """A scene of its own, for the command line and tests."""
    return prepare_scene(slicer.vtkMRMLScene())
