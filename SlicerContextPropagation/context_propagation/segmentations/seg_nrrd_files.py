"""`.seg.nrrd` files through a real scene; imported only where one is read or written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import slicer
import vtk

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.own_grid import OwnMask
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.files.native_messages import native_messages_hidden
from context_propagation.files.segmentation import Propagated, ReadSegmentation, is_seg_nrrd, meant_by
from context_propagation.mrml.nodes.scenes import new_scene
from context_propagation.mrml.nodes.segmentation_storage import (
    NamedMask,
    load_segmentation,
    save_segmentation,
    write_seg_nrrd,
)
from context_propagation.mrml.nodes.segments import (
    add_own_segment,
    add_segmentation,
    own_segment,
    segment_labelmap,
    segment_mask,
    segment_name,
)
from context_propagation.mrml.nodes.volume_nodes import add_volume
from context_propagation.mrml.writing.editor_logic_writer import EditorLogicWriter
from context_propagation.mrml.writing.segment_writer import write_changed_voxels

vtk.vtkObject.GlobalWarningDisplayOff()  # what fails is raised as an error of one line


IMAGE_NODE = "image"


def read_segment(path: Path, name: str, volume: SourceVolume) -> tuple[np.ndarray, OwnMask | None]:
    """Read a segment.

    Args:
        path: A `.seg.nrrd`.
        name: The segment's name where the file holds several; a single segment is taken whatever its name.
        volume: The image.

    Returns:
        bool `[K, J, I]` on the image's grid; and the segment on its own, None where that is the image's.

    Raises:
        UserInputError: The file is unreadable, lacks the segment, or the segment does not overlap the image.
    """
    scene = new_scene()
    volume_node = add_volume(scene, volume, IMAGE_NODE)
    with native_messages_hidden():
        node = load_segmentation(scene, path)
    try:
        where = node, _segment_id(node, name, path), volume_node
        own = own_segment(*where)
        return segment_mask(*where), None if own.grid.is_image_s else own
    except UserInputError as error:
        if str(path) in str(error):
            raise
        raise UserInputError(f"Segmentation '{path}' does not fit the image: {error}") from error


def other_segments(path: Path, name: str) -> list[tuple[str, int, float]]:
    """The segments of a file beside the one that a name means: name, voxels, and the volume of a voxel in mm3."""
    with native_messages_hidden():
        node = load_segmentation(new_scene(), path)
    wanted, found = _segment_id(node, name, path), []
    for segment_id in node.GetSegmentation().GetSegmentIDs():
        labelmap = segment_labelmap(node, segment_id)
        voxels = labelmap.mask.count
        if segment_id != wanted and voxels:
            voxel_mm3 = float(abs(np.linalg.det(labelmap.ijk_to_ras[:3, :3])))
            found.append((segment_name(node, segment_id), voxels, voxel_mm3))
    return found


def write_segment(path: Path, mask: np.ndarray, name: str, volume: SourceVolume) -> None:
    """Write a mask as the only segment of a new file."""
    with native_messages_hidden():
        write_seg_nrrd(path, [NamedMask(mask, name)], volume)


def write_propagated_segment(path: Path, edited: ReadSegmentation, done: Propagated, volume: SourceVolume) -> int:
    """Write what propagation changed into the edited segmentation, and save that under another name.

    Args:
        path: Where to save.
        edited: What the clinician drew.
        done: What propagation came to.
        volume: The image.

    Returns:
        Voxels that the segmentation refused to take.
    """
    scene = new_scene()
    volume_node = add_volume(scene, volume, IMAGE_NODE)
    if is_seg_nrrd(edited.path):
        with native_messages_hidden():
            node = load_segmentation(scene, edited.path)
        segment_id = _segment_id(node, edited.wanted.name, edited.path)
    else:
        node = add_segmentation(scene, volume_node, edited.name)
        segment_id = add_own_segment(node, edited.own or edited.on_image, volume_node, edited.name)
    start = own_segment(node, segment_id, volume_node).grid.start_kji
    report = write_changed_voxels(
        EditorLogicWriter(scene, node, volume_node),
        node,
        segment_id,
        volume_node,
        done.segmentation,
        done.to_write,
        done.drawing.axis,
        spared=lambda box: done.spared(box, start),
    )
    with native_messages_hidden():
        save_segmentation(path, node)
    return report.refused


def _segment_id(node: slicer.vtkMRMLSegmentationNode, name: str, path: Path) -> str:
    segment_ids = [str(segment_id) for segment_id in node.GetSegmentation().GetSegmentIDs()]
    names = [segment_name(node, segment_id) for segment_id in segment_ids]
    meant = meant_by(name, names)
    if len(meant) != 1:
        listed = ", ".join(f"'{known}'" for known in names)
        raise UserInputError(
            f"Segmentation '{path}' holds {len(meant)} segments named '{name}' among {listed}; "
            "rename the one that is meant, or remove the others"
        )
    return segment_ids[meant[0]]
