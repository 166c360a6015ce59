"""What is worked on: one volume per channel, and a segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import slicer

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import EMPTY, BoxedMask
from context_propagation.mrml.nodes.segments import add_segment_in_box, add_segmentation, segment_name, segment_named
from context_propagation.mrml.nodes.volume_nodes import volume_shape_kji
from context_propagation.mrml.nodes.world_matrices import volume_ijk_to_world


@dataclass(frozen=True)
class Selection:
    """Equal where all nodes are the same.

    Attributes:
        volume_nodes: One per channel, in the model's order.
        segmentation_node: Holds the segment.
        segment_id: The segment.
    """

    volume_nodes: tuple[slicer.vtkMRMLScalarVolumeNode, ...]
    segmentation_node: slicer.vtkMRMLSegmentationNode
    segment_id: str

    @property
    def name(self) -> str:
        """The segment's."""
        return segment_name(self.segmentation_node, self.segment_id)

    def nodes_are_there(self) -> bool:
        """Whether all nodes are in the scene."""
        return all(node.GetScene() is not None for node in (self.segmentation_node, *self.volume_nodes))

    def is_there(self) -> bool:
        """Whether nodes and segment are in the scene."""
        return self.nodes_are_there() and self.segment_id in self.segmentation_node.GetSegmentation().GetSegmentIDs()

    def require_nodes(self) -> None:
        """Raises:
        UserInputError: One of the nodes was deleted.
        """
        for node in (self.segmentation_node, *self.volume_nodes):
            if node.GetScene() is None:
                raise UserInputError(f"'{node.GetName()}' was deleted; select what to work on again")


def require_different(volume_nodes: Sequence[slicer.vtkMRMLScalarVolumeNode]) -> None:
    """Raises:
    UserInputError: No volume, one twice, one under a transform that is not linear, or the first one has no voxels.
    """
    if not volume_nodes:
        raise UserInputError("No volume is selected; select one volume per channel")
    if len(set(volume_nodes)) < len(volume_nodes):  # as Slicer's selector does by itself where the PET is deleted
        raise UserInputError(f"'{volume_nodes[0].GetName()}' is selected twice; select another volume per channel")
    volume_shape_kji(volume_nodes[0])
    for node in volume_nodes:
        volume_ijk_to_world(node)  # refuses what could not be worked on, before anything is added for it


def selection_of(
    scene: slicer.vtkMRMLScene,
    volume_nodes: Sequence[slicer.vtkMRMLScalarVolumeNode],
    segmentation_node: slicer.vtkMRMLSegmentationNode | None,
    segment: str | None,
    new_name: str,
) -> Selection:
    """Volumes and a segment; what is missing of segmentation and segment is added.

    Args:
        scene: Where a segmentation is added, on the first volume's grid.
        volume_nodes: One per channel, in the model's order.
        segmentation_node: Holds the segment; None for a new one.
        segment: ID or name; None for the only one, or a new empty one.
        new_name: Of a new segment.

    Raises:
        UserInputError: No such segment, or several and none named.
    """
    volume_node = volume_nodes[0]
    if segmentation_node is None:
        segmentation_node = add_segmentation(scene, volume_node, f"{volume_node.GetName()} segmentation")
    if segment is None and not segmentation_node.GetSegmentation().GetNumberOfSegments():
        empty = BoxedMask(volume_shape_kji(volume_node), EMPTY, np.zeros(0, np.uint8))
        segment_id = add_segment_in_box(segmentation_node, empty, volume_node, new_name)
    else:
        segment_id = segment_named(segmentation_node, segment)
    return Selection(tuple(volume_nodes), segmentation_node, segment_id)
