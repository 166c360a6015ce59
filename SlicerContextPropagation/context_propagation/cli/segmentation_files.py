"""Reading and writing segmentations: labelmap files and `.seg.nrrd`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import SimpleITK as sitk

from context_propagation.cli.image_files import check_exists, nifti_voxels
from context_propagation.cli.native_messages import native_messages_hidden
from context_propagation.core.edited_slices import SliceEdit
from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require
from context_propagation.core.source_volume import SourceVolume, same_grid

logger = logging.getLogger(__name__)

LABELMAP_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
SEG_NRRD = ".seg.nrrd"


@dataclass(frozen=True)
class Wanted:
    """Which part of a segmentation file is meant.

    Attributes:
        name: The label's name; the segment's name in a `.seg.nrrd` of several segments.
        values: The label's values in a labelmap; empty where every value above zero is meant.
    """

    name: str
    values: tuple[int, ...] = ()


@dataclass(frozen=True)
class EditedSegmentation:
    """A segmentation file and what was read from it.

    Attributes:
        path: The file.
        name: The label's name.
        mask: bool `[K, J, I]` on the image's grid.
    """

    path: Path
    name: str
    mask: np.ndarray


def check_segmentation_ending(path: Path) -> None:
    """Refuse an output name of unknown format.

    Raises:
        UserInputError: The name ends in none of the known endings.
    """
    if not path.name.lower().endswith((SEG_NRRD, *LABELMAP_ENDINGS)):
        raise UserInputError(
            f"Output '{path}' has an unknown format; end its name in {SEG_NRRD}, {', '.join(LABELMAP_ENDINGS)}"
        )


def is_seg_nrrd(path: Path) -> bool:
    """Whether the name is that of a Slicer segmentation file."""
    return path.name.lower().endswith(SEG_NRRD)


def read_mask(path: Path, wanted: Wanted, volume: SourceVolume) -> np.ndarray:
    """Read one label of a segmentation onto the image's grid.

    Args:
        path: A labelmap file or a `.seg.nrrd`; its grid may differ from the image's.
        wanted: Which label or segment.
        volume: The image.

    Returns:
        bool `[K, J, I]`; nearest neighbour where the grids differ.

    Raises:
        UserInputError: The file is missing, empty or unreadable, lacks the target, or does not overlap the image.
    """
    check_exists(path, "Segmentation")
    if not path.is_file():
        raise UserInputError(f"Segmentation '{path}' is a folder; give a labelmap file or a {SEG_NRRD}")
    if is_seg_nrrd(path):
        return _scene_files().read_segment(path, wanted.name, volume)
    return _read_labelmap(path, wanted, volume)


def write_labelmap(path: Path, mask: np.ndarray, volume: SourceVolume) -> None:
    """Write a mask `[K, J, I]` as 0 and 1 on the image's grid, compressed."""
    try:
        sitk.WriteImage(volume.mask_to_sitk(mask), str(path), useCompression=True)
    except RuntimeError as error:
        raise UserInputError(f"Output '{path.name}' cannot be written; check that its folder has room") from error


def write_predicted(path: Path, mask: np.ndarray, name: str, volume: SourceVolume) -> None:
    """Write a new segmentation of one label, in the format of the name's ending."""
    if is_seg_nrrd(path):
        _scene_files().write_segment(path, mask, name, volume)
    else:
        write_labelmap(path, mask, volume)


def write_propagated(
    path: Path, edited: EditedSegmentation, result: np.ndarray, volume: SourceVolume, edits: Sequence[SliceEdit]
) -> int:
    """Write the result of a propagation, in the format of the name's ending.

    A `.seg.nrrd` is written through a scene: an edited `.seg.nrrd` keeps its other segments, its grid and its colours.

    Args:
        path: Where to write.
        edited: What the clinician drew.
        result: bool `[K, J, I]`.
        volume: The image.
        edits: The drawn slices, which stay as they are.

    Returns:
        Voxels that the segmentation refused to take.
    """
    if is_seg_nrrd(path):
        return int(_scene_files().write_propagated_segment(path, edited, result, volume, edits))
    write_labelmap(path, result, volume)
    return 0


def _read_labelmap(path: Path, wanted: Wanted, volume: SourceVolume) -> np.ndarray:
    labelmap = _read_labels(path)
    labels = sitk.GetArrayViewFromImage(labelmap)
    chosen = _voxels_of(labels, wanted, path)
    image_grid = volume.mask_to_sitk(np.zeros(volume.shape_kji, bool))
    if same_grid(labelmap, image_grid):
        return chosen
    return _resampled(chosen, labelmap, image_grid, path)


def _scene_files() -> ModuleType:
    """The part that needs Slicer's libraries.

    Raises:
        MissingDependencyError: They are not installed.
    """
    require("slicer", extra="mrml")
    return import_module("context_propagation.cli.scene_files")


def _read_labels(path: Path) -> sitk.Image:
    try:
        with native_messages_hidden():
            image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise UserInputError(
            f"Segmentation '{path}' cannot be read; give a complete NIfTI, NRRD or MHA labelmap, or a {SEG_NRRD}"
        ) from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise UserInputError(
            f"Segmentation '{path}' is {image.GetDimension()}D with {image.GetNumberOfComponentsPerPixel()} values "
            "per voxel; give a 3D labelmap"
        )
    nifti_voxels(path)
    return image


def _voxels_of(labels: np.ndarray, wanted: Wanted, path: Path) -> np.ndarray:
    """The wanted voxels; a labelmap of 0 and 1 is a mask of the wanted label, whatever its value in the model."""
    values = [value for value in np.unique(labels).tolist() if value != 0]
    if not np.isfinite(values).all() or any(value != int(value) or value < 0 for value in values):
        raise UserInputError(
            f"Segmentation '{path}' holds the values {_listed(values)}, which are no labels; give a labelmap"
        )
    if not wanted.values or set(wanted.values) & set(values):
        return np.isin(labels, wanted.values) if wanted.values else np.asarray(labels != 0)
    if set(values) <= {1}:
        if values:
            logger.warning("'%s' holds the value 1 only; it is taken as a mask of %s", path, wanted.name)
        return np.asarray(labels == 1)
    raise UserInputError(
        f"Segmentation '{path}' holds the labels {_listed(values)}, not {_listed(wanted.values)} ({wanted.name}); "
        "choose another label, or give a mask of 0 and 1"
    )


def _listed(values: Sequence[float]) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:6])
    return shown + (", ..." if len(values) > 6 else "")


def _resampled(mask: np.ndarray, labelmap: sitk.Image, image_grid: sitk.Image, path: Path) -> np.ndarray:
    """Nearest neighbour by patient coordinates; 0 is outside the segmentation's grid, 1 background, 2 target."""
    shifted = sitk.GetImageFromArray(mask.astype(np.uint8) + 1)
    shifted.CopyInformation(labelmap)
    moved = sitk.GetArrayFromImage(sitk.Resample(shifted, image_grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0))
    if not moved.any() or (mask.any() and not (moved == 2).any()):
        raise UserInputError(
            f"Segmentation '{path}' does not overlap the image: it lies around {_centre(labelmap)}, the image around "
            f"{_centre(image_grid)} (LPS, mm); give the segmentation of this image"
        )
    return np.asarray(moved == 2)


def _centre(image: sitk.Image) -> str:
    middle = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    return "(" + ", ".join(f"{x:.1f}" for x in middle) + ")"
