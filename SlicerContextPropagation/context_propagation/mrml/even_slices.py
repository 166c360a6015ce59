"""Copies with even slices of volumes and segmentations whose slices lie unevenly, and contours back on those slices."""

from __future__ import annotations

from dataclasses import dataclass

import slicer

from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.mrml.nodes.acquired_slices import acquired_slices, has_acquisition_transform
from context_propagation.mrml.nodes.scenes import remove_with_display, require_there
from context_propagation.mrml.nodes.volume_nodes import add_volume, volume_array, volume_shape_kji
from context_propagation.mrml.nodes.world_matrices import RAS_TO_LPS, node_to_world
from context_propagation.mrml.segmentation_copy import SegmentationCopy
from context_propagation.mrml.session.operation import Operation, Parts

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
    copy = SegmentationCopy(segmentation_node if moves_too else None, volume_node)
    voxels = volume_array(volume_node)
    made: list[slicer.vtkMRMLScalarVolumeNode] = []

    def compute(progress: Progress, cancelled: CancelCheck) -> tuple[SourceVolume, dict[str, BoxedMask]]:
        progress("read", 0.0)
        image = acquired.even.image(voxels, progress, cancelled)
        return SourceVolume(image[None], RAS_TO_LPS @ acquired.ijk_to_ras), copy.changed(acquired.even.mask)

    def write(computed: tuple[SourceVolume, dict[str, BoxedMask]]) -> Parts:
        require_there(volume_node, segmentation_node)
        image, masks = computed
        made.append(add_volume(scene, image, scene.GenerateUniqueName(name + EVEN), owned=True))
        made[0].SetAndObserveTransformNodeID(parent_id)
        made[0].SetNodeReferenceID(ACQUIRED_VOLUME, volume_node.GetID())
        made[0].SetVoxelValueUnits(volume_node.GetVoxelValueUnits())
        made[0].SetVoxelValueQuantity(volume_node.GetVoxelValueQuantity())
        _show_alike(made[0], volume_node)
        yield
        yield from copy.write(masks, made[0], _named(segmentation_node, EVEN))

    def finish(_: tuple[SourceVolume, dict[str, BoxedMask]]) -> EvenCopies:
        volume, its_segmentation = made.pop(), copy.node if moves_too else segmentation_node
        require_there(volume, its_segmentation)
        message = _message(acquired.even.change, volume, segmentation_node, its_segmentation)
        return EvenCopies(volume, its_segmentation, message)

    def abandon() -> None:
        copy.remove()
        while made:
            remove_with_display(made.pop())

    return Operation("Even slices", compute, finish, abandon, read=copy.read, write=write)


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
    copy = SegmentationCopy(segmentation_node, volume_node)

    def compute(progress: Progress, cancelled: CancelCheck) -> dict[str, BoxedMask]:
        progress("read", 0.0)
        return copy.changed(even.back)

    def write(masks: dict[str, BoxedMask]) -> Parts:
        require_there(volume, segmentation_node)
        yield from copy.write(masks, volume, _named(segmentation_node, ACQUIRED))

    def finish(_: dict[str, BoxedMask]) -> slicer.vtkMRMLSegmentationNode:
        require_there(copy.node)
        return copy.node

    return Operation("Acquired slices", compute, finish, copy.remove, read=copy.read, write=write)


def _moves_with(segmentation_node: slicer.vtkMRMLSegmentationNode, volume_node: slicer.vtkMRMLScalarVolumeNode) -> bool:
    """Whether a segmentation is under a volume's acquisition transform; otherwise it is in place.

    Raises:
        UserInputError: It is under another transform that is not linear.
    """
    if segmentation_node.GetParentTransformNode() is volume_node.GetParentTransformNode():
        return True
    node_to_world(segmentation_node)
    return False


def _named(segmentation_node: slicer.vtkMRMLSegmentationNode | None, ending: str) -> str:
    return "" if segmentation_node is None else segmentation_node.GetName().replace(EVEN, "") + ending


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
