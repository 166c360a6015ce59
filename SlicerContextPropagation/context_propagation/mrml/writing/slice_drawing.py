"""One slice of a segment, drawn by a script."""

from __future__ import annotations

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import box_of, whole
from context_propagation.core.image.source_volume import axis_of_plane
from context_propagation.mrml.nodes.segments import own_segment, segment_name
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
        UserInputError: The slice or mask does not fit the volume, or the segment has no voxel on that slice.
    """
    volume_node = selection.volume_nodes[0]
    shape, axis = volume_shape_kji(volume_node), axis_of_plane(planes_of_volume(volume_node), plane)
    expected = tuple(n for a, n in enumerate(shape) if a != axis)
    if not 0 <= index < shape[axis] or mask.shape != expected:
        raise UserInputError(
            f"Slice {index} with a mask of shape {mask.shape} does not fit '{volume_node.GetName()}', "
            f"which has {shape[axis]} {plane} slices of shape {expected}, numbered from 0; give one of these"
        )
    _check_has_voxels(selection, axis, index, plane)
    wanted, changed = np.zeros(shape, bool), np.zeros(shape, bool)
    np.moveaxis(wanted, axis, 0)[index] = mask
    np.moveaxis(changed, axis, 0)[index] = True
    slab = box_of([(index, index + 1) if a == axis else span for a, span in enumerate(whole(shape))])
    where = selection.segmentation_node, selection.segment_id, volume_node
    return write_changed_voxels(writer, *where, wanted, changed, axis=axis, within=slab)


def _check_has_voxels(selection: Selection, axis: int, index: int, plane: str) -> None:
    """Refuse a slice of the volume between those of a segment whose voxels are thicker."""
    volume_node = selection.volume_nodes[0]
    grid = own_segment(selection.segmentation_node, selection.segment_id, volume_node).grid
    if grid.has_voxels_on(axis, index):
        return
    others = sorted(range(grid.image_shape[axis]), key=lambda other: abs(other - index))
    nearest = next((other for other in others if grid.has_voxels_on(axis, other)), None)
    name = segment_name(selection.segmentation_node, selection.segment_id)
    remedy = "give the segment finer voxels" if nearest is None else f"draw slice {nearest}, or give it finer voxels"
    raise UserInputError(
        f"Segment '{name}' has no voxel on {plane} slice {index} of '{volume_node.GetName()}': its own voxels are "
        f"thicker; {remedy}"
    )
