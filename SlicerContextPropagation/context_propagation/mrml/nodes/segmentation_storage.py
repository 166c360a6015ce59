"""Masks to `.seg.nrrd` files and back; through Slicer's own storage node, so that Slicer opens what is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import slicer

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.storage.whole_file import whole_file
from context_propagation.mrml.nodes.scenes import new_scene
from context_propagation.mrml.nodes.segments import (
    DEFAULT_COLOR,
    Color,
    add_segment_from_mask,
    add_segmentation,
)
from context_propagation.mrml.nodes.volume_nodes import add_volume

SUFFIX = ".seg.nrrd"


EXTENT = "_Extent"


WHOLE_NUMBERS = {"_ReferenceImageExtentOffset": 3, EXTENT: 6, "_LabelValue": 1, "_Layer": 1}
"""Entries of the header by which Slicer finds a segment's voxels, and how many numbers each has."""


FARTHEST = 2**16
"""The largest index, label or layer; Slicer makes room for what a header says, and ends where there is none."""


@dataclass(frozen=True)
class NamedMask:
    """A segment of a file.

    Attributes:
        mask: bool `[K, J, I]` on the volume's grid.
        name: The name that Slicer shows.
        color: Red, green, blue from 0 to 1.
    """

    mask: np.ndarray
    name: str
    color: Color = DEFAULT_COLOR


def write_seg_nrrd(path: str | Path, segments: Sequence[NamedMask], volume: SourceVolume) -> None:
    """Write segments to a file that Slicer opens with names and colors. An older file stays until the new one is whole.

    Args:
        path: Ends in `.seg.nrrd`; its folder exists.
        segments: At least one; they may overlap.
        volume: The image that the masks lie on.

    Raises:
        UserInputError: Another suffix, no such folder, no segment, a mask of another shape, or a failed write.
    """
    path = Path(path)
    _require_suffix(path)
    if not path.parent.is_dir():
        raise UserInputError(f"The folder '{path.parent}' does not exist; create it, or write '{path.name}' elsewhere")
    if not segments:
        raise UserInputError(f"Nothing to write to '{path}'; give at least one segment")
    scene = new_scene()
    volume_node = add_volume(scene, volume, "source")
    segmentation_node = add_segmentation(scene, volume_node, path.name.removesuffix(SUFFIX))
    for segment in segments:
        add_segment_from_mask(segmentation_node, segment.mask, volume_node, segment.name, segment.color)
    save_segmentation(path, segmentation_node)


def save_segmentation(path: str | Path, segmentation_node: slicer.vtkMRMLSegmentationNode) -> None:
    """Save a segmentation node to `.seg.nrrd`, whole or not at all.

    Raises:
        UserInputError: Another suffix, or Slicer could not write the file.
    """
    path = Path(path)
    _require_suffix(path)
    storage = slicer.vtkMRMLSegmentationStorageNode()
    with whole_file(path) as partial:
        storage.SetFileName(str(partial))
        if not storage.WriteData(segmentation_node) or not partial.is_file():
            raise UserInputError(f"'{path}' could not be written; check that the folder is writable and has room")


def load_segmentation(scene: slicer.vtkMRMLScene, path: str | Path) -> slicer.vtkMRMLSegmentationNode:
    """Load a segmentation file into a scene.

    Raises:
        UserInputError: No such file, or not a segmentation that Slicer can read.
    """
    path = Path(path)
    if not path.is_file():
        raise UserInputError(f"There is no file '{path}'; check the path")
    _require_whole(path)
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", path.name.removesuffix(SUFFIX))
    storage = slicer.vtkMRMLSegmentationStorageNode()
    scene.AddNode(storage)
    storage.SetFileName(str(path))
    if not storage.ReadData(node) or not node.GetSegmentation().GetNumberOfSegments():
        scene.RemoveNode(node)
        scene.RemoveNode(storage)
        raise UserInputError(f"'{path}' holds no segmentation that Slicer can read; give a .seg.nrrd file")
    return node


def _require_whole(path: Path) -> None:
    """Read the file once with SimpleITK: at a damaged one Slicer's storage node ends the process.

    Raises:
        UserInputError: The file is cut off, or an entry places a segment where no voxels are.
    """
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise UserInputError(f"'{path}' is truncated or damaged; export the segmentation again") from error
    for key in image.GetMetaDataKeys():
        count = next((count for ending, count in WHOLE_NUMBERS.items() if key.endswith(ending)), 0)
        if count and not _are_whole(image.GetMetaData(key), count):
            raise UserInputError(
                f"'{path}' is damaged: {key} is '{image.GetMetaData(key)[:40]}', which is not {count} usable whole "
                "numbers; export the segmentation again"
            )
        if key.endswith(EXTENT) and not _fits(image.GetMetaData(key), image.GetSize()):
            raise UserInputError(
                f"'{path}' is damaged: {key} is '{image.GetMetaData(key)[:40]}' in an image of "
                f"{' x '.join(str(size) for size in image.GetSize())} voxels; export the segmentation again"
            )


def _are_whole(text: str, count: int) -> bool:
    words = text.split()
    return len(words) == count and all(
        word.lstrip("-").isdecimal() and len(word) < 12 and abs(int(word)) <= FARTHEST for word in words
    )


def _fits(text: str, size_ijk: Sequence[int]) -> bool:
    """Whether a segment's extent (first and last index along i, j, k) is no longer than the file's image."""
    bounds = np.array(text.split(), int).reshape(3, 2)
    return bool((bounds[:, 1] - bounds[:, 0] < size_ijk[:3]).all())


def _require_suffix(path: Path) -> None:
    if not path.name.endswith(SUFFIX):
        raise UserInputError(f"'{path}' does not end in {SUFFIX}; name the file {path.name.split('.')[0]}{SUFFIX}")
