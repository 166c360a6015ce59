"""A copy of a segmentation on another grid, read and written one segment at a time: large ones take long."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import slicer

from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.mrml.nodes.scenes import remove_with_display, require_there
from context_propagation.mrml.nodes.segments import (
    add_segment_in_box,
    add_segmentation,
    boxed_segment,
    require_binary_labelmap,
)
from context_propagation.mrml.session.operation import Parts


class SegmentationCopy:
    """A new segmentation with the same segments, their names, colours and tags, and other voxels.

    Args:
        segmentation_node: Is copied; None for nothing.
        volume_node: The volume on whose grid it is read.

    Attributes:
        node: The copy, once it is begun.

    Raises:
        UserInputError: It is stored as contours or surface.
    """

    def __init__(
        self, segmentation_node: slicer.vtkMRMLSegmentationNode | None, volume_node: slicer.vtkMRMLScalarVolumeNode
    ) -> None:
        self._of, self._volume_node = segmentation_node, volume_node
        self._read: dict[str, tuple[slicer.vtkSegment, BoxedMask]] = {}
        self.node: slicer.vtkMRMLSegmentationNode | None = None
        if segmentation_node is not None:
            require_binary_labelmap(segmentation_node)

    def read(self) -> Parts:
        """Read all segments.

        Raises:
            UserInputError: One lies outside the volume, or cannot be read; or a node was deleted since.
        """
        self._read = {}
        for segment_id in self._of.GetSegmentation().GetSegmentIDs() if self._of is not None else ():
            require_there(self._of, self._volume_node)
            mask = boxed_segment(self._of, segment_id, self._volume_node)
            self._read[segment_id] = self._of.GetSegmentation().GetSegment(segment_id), mask
            yield

    def changed(self, change: Callable[[np.ndarray], np.ndarray]) -> dict[str, BoxedMask]:
        """All segments on another grid, by ID; on any thread.

        Args:
            change: Makes such a mask of one on the volume's grid, bool `[K, J, I]`.
        """
        return {segment_id: BoxedMask.of(change(part.mask)) for segment_id, (_, part) in self._read.items()}

    def write(self, masks: dict[str, BoxedMask], volume_node: slicer.vtkMRMLScalarVolumeNode, name: str) -> Parts:
        """Add the copy to the scene of a volume.

        Args:
            masks: On that volume's grid, by the ID of the segment that each is of.
            volume_node: The volume.
            name: The copy's.
        """
        if self._of is None:
            return
        self.node = add_segmentation(volume_node.GetScene(), volume_node, name)
        for segment_id, mask in masks.items():
            segment, _ = self._read[segment_id]
            new_id = add_segment_in_box(self.node, mask, volume_node, segment.GetName(), segment.GetColor())
            copy = self.node.GetSegmentation().GetSegment(new_id)
            value = copy.GetLabelValue()
            copy.DeepCopyMetadata(segment)  # the label value too, which the copy's voxels do not have
            copy.SetLabelValue(value)
            yield

    def remove(self) -> None:
        """Take the copy out of the scene again, as far as it was begun."""
        if self.node is not None:
            remove_with_display(self.node)
        self.node = None
