"""What is worked on: one volume per channel, and a segment."""

from __future__ import annotations

from dataclasses import dataclass

import slicer

from context_propagation.core.errors import UserInputError


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

    def require_nodes(self) -> None:
        """Raises:
        UserInputError: One of the nodes was deleted.
        """
        for node in (self.segmentation_node, *self.volume_nodes):
            if node.GetScene() is None:
                raise UserInputError(f"'{node.GetName()}' was deleted; select what to work on again")
