"""Segmentations in the 3D views: as Slicer's own button "Show 3D" has it, so that both say the same."""

from __future__ import annotations

import slicer


def show_in_3d(segmentation_node: slicer.vtkMRMLSegmentationNode, on: bool) -> None:
    """Show all visible segments in the 3D views, or none. Which segments are visible is left as it is.

    Surfaces are computed for this and follow each later change of a segment. So they are dropped when they are hidden,
    unless the segmentation consists of them.

    Args:
        segmentation_node: The segmentation.
        on: Whether it is to be shown.
    """
    segmentation, surface = segmentation_node.GetSegmentation(), _closed_surface()
    segmentation_node.CreateDefaultDisplayNodes()
    display = segmentation_node.GetDisplayNode()
    if on:
        segmentation_node.CreateClosedSurfaceRepresentation()
        display.SetPreferredDisplayRepresentationName3D(surface)
        display.SetVisibility(True)
        display.SetVisibility3D(True)
    elif segmentation.GetSourceRepresentationName() == surface:
        display.SetVisibility3D(False)
    else:
        segmentation_node.RemoveClosedSurfaceRepresentation()


def is_shown_in_3d(segmentation_node: slicer.vtkMRMLSegmentationNode) -> bool:
    """Whether a 3D view shows the segmentation's visible segments."""
    display = segmentation_node.GetDisplayNode()
    if display is None or not (display.GetVisibility() and display.GetVisibility3D()):
        return False
    return bool(segmentation_node.GetSegmentation().ContainsRepresentation(_closed_surface()))


def _closed_surface() -> str:
    return str(slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName())
