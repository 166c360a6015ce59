"""The one way by which voxels of a segment change: what changed on the volume's grid, written on the segment's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol

import numpy as np
import slicer

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import Box, bounding_box, box_shape, offset, slices_of, whole
from context_propagation.core.image.nearest_pull import index_of_array, mapped_box, nearest_index, pull_nearest
from context_propagation.mrml.nodes.labelmap_images import Labelmap, image_from_mask
from context_propagation.mrml.nodes.segments import GridMapping, segment_grid, segment_labelmap, segment_name
from context_propagation.mrml.nodes.volume_nodes import volume_shape_kji


class WriteMode(Enum):
    """What the voxels of a modifier labelmap do to a segment."""

    ADD = "add"
    REMOVE = "remove"


class SegmentWriter(Protocol):
    """Who writes: our own editor logic, or a Segment Editor effect.

    Attributes:
        keeps_history: Whether what it writes is a step of the Segment Editor's history, whose Undo then takes it back.
    """

    @property
    def keeps_history(self) -> bool: ...

    def save_state(self) -> None:
        """Save the segmentation as it is in the Segment Editor's history, where the writer keeps one."""

    def modify(self, segment_id: str, modifier: slicer.vtkOrientedImageData, mode: WriteMode) -> None:
        """Add or remove the voxels of a modifier, as far as masks allow.

        Args:
            segment_id: The only segment that is asked for.
            modifier: On the segment's own grid, cropped to what changes; its extent may lie outside the segment's.
            mode: Whether its voxels are added or removed.
        """


@dataclass(frozen=True)
class Flips:
    """Voxels of a segment that become others.

    Attributes:
        ijk_to_ras: `[4, 4]`, from indices of the segment's own grid to the segmentation's own RAS.
        box: A box of that grid.
        remove: bool `[K, J, I]`, the voxels of the box that leave the segment; None where none does, which is not
            looked through then: it may be a prediction all over a large volume.
        add: Those that come to it; None likewise.
    """

    ijk_to_ras: np.ndarray
    box: Box
    remove: np.ndarray | None
    add: np.ndarray | None

    @property
    def backwards(self) -> Flips:
        """What takes them back."""
        return replace(self, remove=self.add, add=self.remove)

    @property
    def all(self) -> np.ndarray:
        """Removed and added ones, bool `[K, J, I]`."""
        if self.remove is None or self.add is None:
            either = self.add if self.remove is None else self.remove
            return np.zeros(box_shape(self.box), bool) if either is None else either
        return np.asarray(self.remove | self.add)

    def among(self, voxels: np.ndarray) -> Flips:
        """Those that are among voxels of the box, bool `[K, J, I]`."""
        return replace(self, remove=_both(self.remove, voxels), add=_both(self.add, voxels))

    def possible_in(self, labelmap: Labelmap) -> Flips:
        """Those that a labelmap of this grid does not have yet."""
        inside = labelmap.over(self.box)
        add = None if self.add is None else self.add > inside  # one pass, where `add & ~inside` takes two
        return replace(self, remove=_both(self.remove, inside), add=add)


@dataclass(frozen=True)
class WriteReport:
    """What became of the voxels that were to change. Counts are voxels of the segment's own grid.

    Attributes:
        written: Voxels that now have the wanted value.
        refused: Voxels that kept their value: outside the editable area or intensity range.
        refused_per_slice: Refused voxels by index of the nearest slice of the volume, along the edited axis.
        flips: The written voxels, for taking them back; None where there are none.
    """

    written: int = 0
    refused: int = 0
    refused_per_slice: dict[int, int] = field(default_factory=dict)
    flips: Flips | None = field(default=None, compare=False, repr=False)

    @property
    def message(self) -> str:
        """One line for the user."""
        if not self.refused:
            return f"{self.written} voxels changed"
        slices = ", ".join(str(index) for index in sorted(self.refused_per_slice))
        return (
            f"{self.written} voxels changed; masking refused {self.refused} voxels on slices {slices}: "
            "check the editable area and intensity range"
        )


def write_changed_voxels(
    writer: SegmentWriter,
    segmentation_node: slicer.vtkMRMLSegmentationNode,
    segment_id: str,
    volume_node: slicer.vtkMRMLScalarVolumeNode,
    segmentation: np.ndarray,
    changed: np.ndarray,
    axis: int = 0,
    within: Box | None = None,
    spared: Callable[[Box], np.ndarray] | None = None,
) -> WriteReport:
    """Write the changed voxels of a volume-grid mask into a segment, and read back what was written.

    Each voxel of the segment's grid takes the value of the nearest voxel of the volume, where that one changed. The
    segment's labelmap grows where changes lie outside it. One undo state is saved, and none where nothing changes.

    Args:
        writer: Who writes.
        segmentation_node: Holds the segment.
        segment_id: The segment.
        volume_node: The volume whose grid the masks lie on.
        segmentation: bool `[K, J, I]` of the volume, the wanted segment.
        changed: bool `[K, J, I]`, the voxels to write.
        axis: Array axis of the volume (0: k, 1: j, 2: i) by which refused voxels are counted.
        within: A box of the volume in which all changed voxels lie, where it is known: of a large volume, only that is
            looked at then.
        spared: Says of a box of the segment's grid (indices of its labelmap) which voxels are never written, bool.

    Raises:
        UserInputError: Masks of another shape than the volume, or a segment that cannot be read.
    """
    shape = volume_shape_kji(volume_node)
    for mask in (segmentation, changed):
        if mask.shape != shape:
            raise UserInputError(
                f"A mask of shape {mask.shape} does not fit the volume {shape} (k, j, i); pass its own"
            )
    mapping = segment_grid(segmentation_node, segment_id, volume_node)
    labelmap = segment_labelmap(segmentation_node, segment_id)
    flips = _wanted_flips(labelmap, segmentation, changed, mapping, within or whole(shape), spared)
    if flips is None:
        return WriteReport()
    writer.save_state()
    _write(writer, segmentation_node, segment_id, flips)
    refused = flips.possible_in(segment_labelmap(segmentation_node, segment_id)).all
    if not refused.any():
        return WriteReport(written=int(np.count_nonzero(flips.all)), flips=flips)
    written = flips.among(~refused)
    return WriteReport(
        written=int(np.count_nonzero(written.all)),
        refused=int(np.count_nonzero(refused)),
        refused_per_slice=_count_per_slice(refused, flips.box, mapping.volume_from_segment_ijk, axis),
        flips=written if written.all.any() else None,
    )


def write_flips(
    writer: SegmentWriter, segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str, flips: Flips
) -> Flips:
    """Flip voxels of a segment, as far as they still are what they were.

    Args:
        writer: Who writes.
        segmentation_node: Holds the segment.
        segment_id: The segment.
        flips: On the segment's own grid.

    Returns:
        Those that were flipped.

    Raises:
        UserInputError: The segment has another grid by now, or cannot be read; it is unchanged.
    """
    labelmap = segment_labelmap(segmentation_node, segment_id)
    if labelmap.scalars.size and not np.allclose(labelmap.ijk_to_ras, flips.ijk_to_ras, atol=1e-6):
        raise UserInputError(
            f"Segment '{segment_name(segmentation_node, segment_id)}' was moved to another grid since; "
            "undo that in the Segment Editor first"
        )
    possible = flips.possible_in(labelmap)
    _write(writer, segmentation_node, segment_id, possible)
    return possible


def _write(
    writer: SegmentWriter, segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str, flips: Flips
) -> None:
    for mode, voxels in ((WriteMode.REMOVE, flips.remove), (WriteMode.ADD, flips.add)):
        tight = None if voxels is None else bounding_box(voxels)
        if voxels is not None and tight is not None:
            modifier = image_from_mask(voxels[slices_of(tight)], offset(tight, flips.box), flips.ijk_to_ras)
            writer.modify(segment_id, modifier, mode)
    _mark_modified(segmentation_node, segment_id)


def _wanted_flips(
    labelmap: Labelmap,
    wanted: np.ndarray,
    to_write: np.ndarray,
    mapping: GridMapping,
    within: Box,
    spared: Callable[[Box], np.ndarray] | None,
) -> Flips | None:
    """What is to change on the segment's grid, cropped to the voxels that differ; `None` where none does."""
    tight = bounding_box(to_write[slices_of(within)])
    if tight is None:
        return None
    volume_box = offset(tight, within)
    box = mapped_box(volume_box, mapping.segment_from_volume_ijk)
    index = index_of_array(mapping.volume_from_segment_ijk, [start for start, _ in volume_box])
    written = pull_nearest(to_write[slices_of(volume_box)], index, box)
    new = written if wanted is to_write else pull_nearest(wanted[slices_of(volume_box)], index, box)
    old = labelmap.over(box)
    flips = new > old if written is new else written & (old ^ new)
    if spared is not None:
        flips = flips > spared(box)
    tight = bounding_box(flips)
    if tight is None:
        return None
    flips, old = flips[slices_of(tight)], old[slices_of(tight)]
    remove, add = (flips & old, flips > old) if old.any() else (None, flips)
    return Flips(mapping.segment_ijk_to_ras, offset(tight, box), remove, add)


def _both(some: np.ndarray | None, others: np.ndarray) -> np.ndarray | None:
    return None if some is None else some & others


def _mark_modified(segmentation_node: slicer.vtkMRMLSegmentationNode, segment_id: str) -> None:
    """Slicer removes voxels in place and leaves the labelmap's time as it was; its history would then take the next
    state for the one before the removal, and one Undo would take back two steps.

    The labelmap's own event would throw away all 3D surfaces, which Slicer has just brought in step: so its voxels are
    marked, which are part of its time, and the segmentation tells of the change.
    """
    segmentation = segmentation_node.GetSegmentation()
    labelmap = segmentation.GetSegment(segment_id).GetRepresentation(
        slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
    )
    if labelmap is not None:
        labelmap.GetPointData().Modified()
        segmentation.InvokeEvent(slicer.vtkSegmentation.SourceRepresentationModified)


def _count_per_slice(refused: np.ndarray, box: Box, volume_from_segment_ijk: np.ndarray, axis: int) -> dict[int, int]:
    points_kji = np.argwhere(refused) + [start for start, _ in box]
    indices, counts = np.unique(nearest_index(points_kji, volume_from_segment_ijk)[:, axis], return_counts=True)
    return dict(zip(indices.tolist(), counts.tolist(), strict=True))
