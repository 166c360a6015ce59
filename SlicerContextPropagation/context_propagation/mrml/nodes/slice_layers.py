"""A volume shown over whatever slice views show, in a layer of its own: their foreground stays as the user chose it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import slicer

from context_propagation.core.errors import UserInputError

OPACITY = 0.5


def show_over(
    scene: slicer.vtkMRMLScene,
    node: slicer.vtkMRMLScalarVolumeNode,
    volume_nodes: Sequence[slicer.vtkMRMLScalarVolumeNode],
) -> None:
    """Show a volume in all slice views that show one of some volumes, over all else in them; it stays where it is.

    Args:
        scene: Holds the views and the volumes.
        node: What is shown.
        volume_nodes: Views that show none of these are left alone.

    Raises:
        UserInputError: A Slicer whose views have no such layers.
    """
    ids = {volume.GetID() for volume in volume_nodes}
    for view in _views(scene):
        if not hasattr(view, "GetNumberOfAdditionalLayers"):
            raise UserInputError("The slice views of this Slicer can show no further layer; use Slicer 5.10 or later")
        free = view.Layer_Last + view.GetNumberOfAdditionalLayers()
        shown_here = ids & {view.GetBackgroundVolumeID(), view.GetForegroundVolumeID()}
        if shown_here and _layer(view, node) is None:
            view.SetNthLayerVolumeID(free, node.GetID())
            view.SetNthLayerOpacity(free, OPACITY)


def show_no_more(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Take a volume out of the layer that `show_over` gave it."""
    for view in _views(scene):
        layer = _layer(view, node)
        if layer is not None:
            view.SetNthLayerVolumeID(layer, None)


def _layer(view: slicer.vtkMRMLSliceCompositeNode, node: slicer.vtkMRMLScalarVolumeNode) -> int | None:
    """The additional layer in which a view shows a volume."""
    layers = range(view.Layer_Last, view.Layer_Last + view.GetNumberOfAdditionalLayers())
    return next((layer for layer in layers if view.GetNthLayerVolumeID(layer) == node.GetID()), None)


def _views(scene: slicer.vtkMRMLScene) -> Iterator[slicer.vtkMRMLSliceCompositeNode]:
    kind = "vtkMRMLSliceCompositeNode"
    return (scene.GetNthNodeByClass(n, kind) for n in range(scene.GetNumberOfNodesByClass(kind)))
