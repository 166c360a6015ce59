"""The phantom that the shipped bundle never saw, as nodes of a scene; generated here, nothing is downloaded."""

from __future__ import annotations

import slicer

from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.phantom.phantom import Phantom, PhantomSettings, make_phantom
from context_propagation.core.phantom.unseen_phantoms import UNSEEN
from context_propagation.mrml.nodes.segments import add_segment_from_mask, add_segmentation
from context_propagation.mrml.nodes.volume_nodes import add_volume


def add_phantom(
    scene: slicer.vtkMRMLScene, settings: PhantomSettings = UNSEEN
) -> tuple[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSegmentationNode]:
    """Add a phantom's CT, and a segmentation with its true GTV.

    Returns:
        The CT's node, and the segmentation, whose only segment is "GTV, truth".
    """
    return add_generated(scene, make_phantom(settings))


def add_generated(
    scene: slicer.vtkMRMLScene, phantom: Phantom
) -> tuple[slicer.vtkMRMLScalarVolumeNode, slicer.vtkMRMLSegmentationNode]:
    """As `add_phantom`, of one that was generated before: that takes seconds, and may be done on any thread."""
    volume = SourceVolume.from_sitk([phantom.image(phantom.ct)])
    node = add_volume(scene, volume, "Phantom CT")
    truth = add_segmentation(scene, node, "Phantom truth")
    add_segment_from_mask(truth, phantom.gtv, node, "GTV, truth", (0.3, 0.8, 0.3))
    return node, truth
