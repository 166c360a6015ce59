"""One segment on the grid that it is stored on, read again only where its voxels or its place have changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from context_propagation.core.image.own_grid import OwnMask
from context_propagation.mrml.nodes.segments import own_segment, segment_labelmap
from context_propagation.mrml.nodes.volume_nodes import volume_shape_kji
from context_propagation.mrml.nodes.world_matrices import relative_place


class SegmentReader:
    """Gives the same object for the same voxels. Slicer changes some in place and leaves all times as they were: so
    the labelmap itself is compared with what was read, which takes a quarter of the time of reading.

    Args:
        segmentation_node: Holds the segment.
        segment_id: The segment.
        volume_node: The volume that it lies on.
    """

    def __init__(
        self,
        segmentation_node: slicer.vtkMRMLSegmentationNode,
        segment_id: str,
        volume_node: slicer.vtkMRMLScalarVolumeNode,
    ) -> None:
        self._where = segmentation_node, segment_id, volume_node
        self._read: tuple[Any, np.ndarray, OwnMask] | None = None

    def read(self) -> OwnMask:
        """The segment as it is now; see `own_segment`.

        Raises:
            UserInputError: As `own_segment`.
        """
        node, segment_id, volume_node = self._where
        labelmap = segment_labelmap(node, segment_id)
        place = (
            labelmap.box,
            labelmap.label_value,
            labelmap.ijk_to_ras.tobytes(),
            relative_place(volume_node, node).tobytes(),
            volume_shape_kji(volume_node),
        )
        if self._read is not None and self._read[0] == place and _are_equal(self._read[1], labelmap.scalars):
            return self._read[2]
        segment = own_segment(node, segment_id, volume_node)
        self._read = place, labelmap.scalars.copy(), segment
        return segment


def _are_equal(then: np.ndarray, now: np.ndarray) -> bool:
    """Slice by slice: what is compared stays in the processor's cache."""
    return then.dtype == now.dtype and all(np.array_equal(*slices) for slices in zip(then, now, strict=True))
