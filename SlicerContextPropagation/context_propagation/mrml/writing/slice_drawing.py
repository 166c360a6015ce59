"""One slice of a segment, drawn by a script."""

from __future__ import annotations

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import box_of, whole
from context_propagation.core.image.source_volume import axis_of_plane
from context_propagation.mrml.nodes.selection import Selection
from context_propagation.mrml.nodes.volume_nodes import planes_of_volume, volume_shape_kji
from context_propagation.mrml.writing.segment_writer import SegmentWriter, WriteReport, write_changed_voxels


def draw_slice(writer: SegmentWriter, selection: Selection, index: int, mask: np.ndarray, plane: str) -> WriteReport:
    """Write one slice; all others stay as they are.

    Args:
        writer: Who writes.
        selection: The segment, and the volume whose slices are counted.
        index: The volume's slice, from 0.
        mask: bool, the slice's two remaining array axes in the volume's order (k, j, i).
        plane: axial, sagittal or coronal.

    Raises:
        UserInputError: The slice or mask does not fit the volume.
    """
    volume_node = selection.volume_nodes[0]
    shape, axis = volume_shape_kji(volume_node), axis_of_plane(planes_of_volume(volume_node), plane)
    expected = tuple(n for a, n in enumerate(shape) if a != axis)
    if not 0 <= index < shape[axis] or mask.shape != expected:
        raise UserInputError(
            f"Slice {index} with a mask of shape {mask.shape} does not fit '{volume_node.GetName()}', "
            f"which has {shape[axis]} {plane} slices of shape {expected}, numbered from 0; give one of these"
        )
    wanted, changed = np.zeros(shape, bool), np.zeros(shape, bool)
    np.moveaxis(wanted, axis, 0)[index] = mask
    np.moveaxis(changed, axis, 0)[index] = True
    slab = box_of([(index, index + 1) if a == axis else span for a, span in enumerate(whole(shape))])
    where = selection.segmentation_node, selection.segment_id, volume_node
    return write_changed_voxels(writer, *where, wanted, changed, axis=axis, within=slab)
