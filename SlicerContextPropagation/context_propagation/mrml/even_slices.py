"""Copies with even slices of volumes and segmentations whose slices lie unevenly, and contours back on those slices."""

from __future__ import annotations

from dataclasses import dataclass

import slicer

from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.mrml.nodes.acquired_slices import acquired_slices, has_acquisition_transform
from context_propagation.mrml.nodes.segments import add_segment_in_box, add_segmentation, boxed_segment
from context_propagation.mrml.nodes.volume_nodes import add_volume, volume_array, volume_shape_kji
from context_propagation.mrml.nodes.world_matrices import RAS_TO_LPS, node_to_world
from context_propagation.mrml.session.operation import Operation

EVEN, ACQUIRED = ", even slices", ", acquired slices"
"""Ends of the names of copies."""


ACQUIRED_VOLUME = "acquiredVolume"
"""The role in which an even copy refers to the volume that it was made of."""


CONTOURS = "each slice takes the contours of the nearest acquired slice"


@dataclass(frozen=True)
class EvenCopies:
    """What was made.

    Attributes:
        volume_node: The copy on even slices.
        segmentation_node: To go on with: the copy, or the given one where it needs none; None where none was given.
        message: What changed.
    """

    volume_node: slicer.vtkMRMLScalarVolumeNode
    segmentation_node: slicer.vtkMRMLSegmentationNode | None
    message: str


def acquired_volume(volume_node: slicer.vtkMRMLScalarVolumeNode) -> slicer.vtkMRMLScalarVolumeNode | None:
    """The volume that an even copy was made of; None for any other volume, or where that one was deleted."""
    return volume_node.GetNodeReference(ACQUIRED_VOLUME)


def even_slices_change(
    volume_node: slicer.vtkMRMLScalarVolumeNode, segmentation_node: slicer.vtkMRMLSegmentationNode | None = None
) -> str:
    """What `even_slices_operation` would make, in words for the user.

    Raises:
        UserInputError: As that.
    """
    even, name = acquired_slices(volume_node).even, volume_node.GetName()
    said = f"'{name}' has slices {even.distances}. A copy is made with {even.change}."
    if segmentation_node is None:
        return f"{said} '{name}' stays as it is."
    its_name = segmentation_node.GetName()
    if _moves_with(segmentation_node, volume_node):
        return f"{said} '{its_name}' is copied too: {CONTOURS}. '{name}' and '{its_name}' stay as they are."
    return f"{said} '{its_name}' is in place already and is not copied. '{name}' stays as it is."


def even_slices_operation(
    scene: slicer.vtkMRMLScene,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
    segmentation_node: slicer.vtkMRMLSegmentationNode | None = None,
) -> Operation[EvenCopies]:
    """Make copies on even slices; all nodes stay as they are.

    Args:
        scene: Where the new nodes go; under the transform, if any, that the volume's acquisition transform is under.
        volume_node: Under Slicer's acquisition transform.
        segmentation_node: Copied with all segments where it is under that transform too, on the volume's grid. Under a
            linear transform or none it is in place already, and is handed back.

    Raises:
        UserInputError: As `acquired_slices`; the segmentation is under another transform that is not linear, or is
            under this one and stored as contours or surface.
    """
    acquired = acquired_slices(volume_node)
    transform = volume_node.GetParentTransformNode()
    node_to_world(transform)  # refuses one that is under a transform that is not linear
    parent_id, name = transform.GetTransformNodeID(), volume_node.GetName()
    moves_too = segmentation_node is not None and _moves_with(segmentation_node, volume_node)
    segments = _segments(segmentation_node, volume_node) if moves_too else {}
    voxels = volume_array(volume_node)

    def compute(progress: Progress, cancelled: CancelCheck) -> tuple[SourceVolume, dict[str, BoxedMask]]:
        progress("read", 0.0)
        image = acquired.even.image(voxels, progress, cancelled)
        masks = {segment_id: BoxedMask.of(acquired.even.mask(part.mask)) for segment_id, part in segments.items()}
        return SourceVolume(image[None], RAS_TO_LPS @ acquired.ijk_to_ras), masks

    def finish(computed: tuple[SourceVolume, dict[str, BoxedMask]]) -> EvenCopies:
        _require_there(volume_node, segmentation_node)
        image, masks = computed
        made = add_volume(scene, image, scene.GenerateUniqueName(name + EVEN), owned=True)
        made.SetAndObserveTransformNodeID(parent_id)
        made.SetNodeReferenceID(ACQUIRED_VOLUME, volume_node.GetID())
        made.SetVoxelValueUnits(volume_node.GetVoxelValueUnits())
        made.SetVoxelValueQuantity(volume_node.GetVoxelValueQuantity())
        _show_alike(made, volume_node)
        copy = _copied(scene, segmentation_node, masks, made, EVEN) if moves_too else segmentation_node
        return EvenCopies(made, copy, _message(acquired.even.change, made, segmentation_node, copy))

    return Operation("Even slices", compute, finish)


def acquired_slices_operation(
    scene: slicer.vtkMRMLScene,
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
) -> Operation[slicer.vtkMRMLSegmentationNode]:
    """Bring contours from an even copy back on the acquired slices, as a new segmentation; all nodes stay as they are.

    Each acquired slice takes the even slice that it is the source of, voxel by voxel.

    Args:
        scene: Where the new node goes; it lies on the acquired volume's grid, under its acquisition transform.
        segmentation_node: On any grid beside the even copy.
        volume_node: The even copy.

    Raises:
        UserInputError: The volume is no even copy, or the one that it was made of is gone or was changed; a segment
            cannot be read.
    """
    volume = acquired_volume(volume_node)
    if volume is None:
        raise UserInputError(
            f"Volume '{volume_node.GetName()}' was not made by Make even slices, or the volume that it was made of was "
            "deleted; choose a copy"
        )
    if not has_acquisition_transform(volume):
        raise UserInputError(
            f"'{volume.GetName()}' is not under its acquisition transform any more, which says where its slices lie; "
            "put it back there in the module Transforms"
        )
    even = acquired_slices(volume).even
    if volume_shape_kji(volume_node) != (even.count, *volume_shape_kji(volume)[1:]):
        raise UserInputError(
            f"'{volume.GetName()}' was changed since '{volume_node.GetName()}' was made of it; press Make even slices "
            "again"
        )
    segments = _segments(segmentation_node, volume_node)

    def compute(progress: Progress, cancelled: CancelCheck) -> dict[str, BoxedMask]:
        progress("read", 0.0)
        return {segment_id: BoxedMask.of(even.back(part.mask)) for segment_id, part in segments.items()}

    def finish(masks: dict[str, BoxedMask]) -> slicer.vtkMRMLSegmentationNode:
        _require_there(volume, segmentation_node)
        return _copied(scene, segmentation_node, masks, volume, ACQUIRED)

    return Operation("Acquired slices", compute, finish)


def _moves_with(segmentation_node: slicer.vtkMRMLSegmentationNode, volume_node: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether a segmentation is under a volume's acquisition transform; otherwise it is in place.

    Raises:
        UserInputError: It is under another transform that is not linear.
    """
    if segmentation_node.GetParentTransformNode() is volume_node.GetParentTransformNode():
        return True
    node_to_world(segmentation_node)
    return False


def _require_there(*nodes: slicer.vtkMRMLNode | None) -> None:
    """Raises:
    UserInputError: A node was deleted since the operation was made.
    """
    for node in nodes:
        if node is not None and node.GetScene() is None:
            raise UserInputError(f"'{node.GetName()}' was deleted meanwhile, and nothing was made; choose another")


def _segments(
    segmentation_node: slicer.vtkMRMLSegmentationNode, volume_node: slicer.vtkMRMLScalarVolumeNode
) -> dict[str, BoxedMask]:
    """All segments on a volume's grid, by ID."""
    ids = segmentation_node.GetSegmentation().GetSegmentIDs()
    return {segment_id: boxed_segment(segmentation_node, segment_id, volume_node) for segment_id in ids}


def _copied(
    scene: slicer.vtkMRMLScene,
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    masks: dict[str, BoxedMask],
    volume_node: slicer.vtkMRMLScalarVolumeNode,
    ending: str,
) -> slicer.vtkMRMLSegmentationNode:
    """A segmentation with the same segments, their names, colours and tags, on another volume's grid."""
    made = add_segmentation(scene, volume_node, segmentation_node.GetName().replace(EVEN, "") + ending)
    for segment_id, mask in masks.items():
        segment = segmentation_node.GetSegmentation().GetSegment(segment_id)
        new_id = add_segment_in_box(made, mask, volume_node, segment.GetName(), segment.GetColor())
        copy = made.GetSegmentation().GetSegment(new_id)
        value = copy.GetLabelValue()
        copy.DeepCopyMetadata(segment)  # the label value too, which the copy's voxels do not have
        copy.SetLabelValue(value)
    return made


def _show_alike(made: slicer.vtkMRMLScalarVolumeNode, volume_node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """With the same window and colours; Slicer would take seconds to find a window by itself."""
    shown = volume_node.GetDisplayNode()
    if shown is not None and shown.IsA("vtkMRMLScalarVolumeDisplayNode"):
        display = made.GetScene().AddNewNodeByClass(shown.GetClassName())
        display.SetAutoWindowLevel(False)
        display.SetWindowLevel(shown.GetWindow(), shown.GetLevel())
        display.SetAndObserveColorNodeID(shown.GetColorNodeID())
        made.SetAndObserveDisplayNodeID(display.GetID())


def _message(
    change: str,
    made: slicer.vtkMRMLScalarVolumeNode,
    segmentation_node: slicer.vtkMRMLSegmentationNode | None,
    copy: slicer.vtkMRMLSegmentationNode | None,
) -> str:
    """What was done, in words for the user."""
    said = f"'{made.GetName()}' was made with {change}."
    if segmentation_node is None or copy is None:
        return said
    if copy is segmentation_node:
        return f"{said} '{copy.GetName()}' is in place already and was not copied."
    return f"{said} '{copy.GetName()}' was made of '{segmentation_node.GetName()}': {CONTOURS}."
