"""Reading and writing segmentations: labelmap files, `.seg.nrrd` and RT Structure Sets."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import SimpleITK as sitk

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.image.source_volume import SourceVolume, same_grid
from context_propagation.core.optional_dependency import require
from context_propagation.files.image_files import check_exists, nifti_voxels
from context_propagation.files.native_messages import native_messages_hidden
from context_propagation.files.rtstruct_reading import (
    RTSTRUCT,
    check_rtstruct_output,
    has_rtstruct_name,
    is_dicom_file,
    read_roi,
)
from context_propagation.files.rtstruct_writing import (
    AUTOMATIC,
    SEMIAUTOMATIC,
    write_changed_roi,
    write_new_structure_set,
)
from context_propagation.files.segmentation import SEG_NRRD, ReadSegmentation, Wanted, is_seg_nrrd

logger = logging.getLogger(__name__)


LABELMAP_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")


LARGEST_LABEL = 2**31


@dataclass(frozen=True)
class _Labelmap:
    """A labelmap file on its own grid; `values` are its distinct values above zero."""

    path: Path
    image: sitk.Image
    values: tuple[int, ...]


def check_segmentation_ending(path: Path, images: Sequence[Path] = ()) -> None:
    """Refuse an output name of unknown format, or an RT Structure Set that cannot be written.

    Args:
        path: Where the segmentation shall go.
        images: The image's files or DICOM folders.

    Raises:
        UserInputError: The name ends in none of the known endings; see also `check_rtstruct_output`.
    """
    if has_rtstruct_name(path):
        check_rtstruct_output(path, images)
    elif not path.name.lower().endswith((SEG_NRRD, *LABELMAP_ENDINGS)):
        endings = ", ".join((SEG_NRRD, *LABELMAP_ENDINGS, RTSTRUCT))
        raise UserInputError(f"Output '{path}' has an unknown format; end its name in {endings}")


def read_mask(path: Path, wanted: Wanted, volume: SourceVolume) -> np.ndarray:
    """Read one label of one ground truth; see `read_together`, but a mask of another value is not taken for it.

    A training label that holds another organ alone would be learnt from as the target.

    Raises:
        UserInputError: The file has labels, none of them the wanted one; and as `read_together`.
    """
    labelmap = _open(path)
    if labelmap is not None and labelmap.values and not set(labelmap.values) & set(wanted.values):
        raise UserInputError(
            f"{_files_hold([labelmap])} the labels {_listed(labelmap.values)}, not {_listed(wanted.values)} "
            f"({wanted.name}); give the target that value, or choose another label with --label"
        )
    return read_together([path], wanted, volume)[0].mask


def read_together(
    paths: Sequence[Path], wanted: Wanted, volume: SourceVolume, images: Sequence[Path] = ()
) -> list[ReadSegmentation]:
    """Read one label of several segmentations of one image onto the image's grid.

    Labelmaps that hold only one value between them are masks of the wanted label, whatever the value. Otherwise the
    wanted values are read, and one of the files may lack them: the label was erased in it, or not yet drawn.

    Args:
        paths: Labelmap files, `.seg.nrrd` or RT Structure Sets; their grids may differ from the image's.
        wanted: Which label, segment or ROI.
        volume: The image.
        images: Its files or DICOM folders; an RT Structure Set needs the folder that it belongs to.

    Returns:
        One for each path; nearest neighbour where the grids differ.

    Raises:
        UserInputError: A file is missing, empty or unreadable, or does not overlap the image; none holds the label.
    """
    opened = [_open(path) for path in paths]
    values = _plain_or_wanted([labelmap for labelmap in opened if labelmap is not None], wanted)
    read = []
    for path, labelmap in zip(paths, opened, strict=True):
        if is_dicom_file(path):
            roi = read_roi(path, wanted.name, volume, images)
            read.append(ReadSegmentation(path, wanted, roi.mask, other_rois=roi.other_names))
        elif labelmap is None:
            read.append(ReadSegmentation(path, wanted, _scene_files().read_segment(path, wanted.name, volume)))
        else:
            mask, labels = _on_image_grid(labelmap, values or wanted.values, volume)
            read.append(ReadSegmentation(path, wanted, mask, labels if values is None else None))
    return read


def write_labelmap(path: Path, labels: np.ndarray, volume: SourceVolume) -> None:
    """Write a mask `[K, J, I]` as 0 and 1, or labels as they are, on the image's grid, compressed."""
    image = sitk.GetImageFromArray(labels.astype(np.uint8) if labels.dtype == bool else labels)
    image.CopyInformation(_image_grid(volume))
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise UserInputError(f"Output '{path.name}' cannot be written; check that its folder has room") from error


def write_predicted(path: Path, mask: np.ndarray, name: str, volume: SourceVolume, images: Sequence[Path] = ()) -> None:
    """Write a new segmentation of one label, in the format of the name's ending; see `write_propagated`."""
    if has_rtstruct_name(path):
        write_new_structure_set(path, mask, name, volume, images, AUTOMATIC)
    elif is_seg_nrrd(path):
        _scene_files().write_segment(path, mask, name, volume)
    else:
        write_labelmap(path, mask, volume)


def write_propagated(
    path: Path,
    edited: ReadSegmentation,
    result: np.ndarray,
    volume: SourceVolume,
    edits: Sequence[SliceEdit],
    images: Sequence[Path] = (),
) -> int:
    """Write the result of a propagation, in the format of the name's ending.

    A `.seg.nrrd` is written through a scene: an edited `.seg.nrrd` keeps its other segments, its grid and its colours.
    A labelmap from an edited labelmap of several labels keeps the other labels, and does not write over them.
    An RT Structure Set from an edited one keeps its other ROIs, and the contours of the slices that did not change.

    Args:
        path: Where to write.
        edited: What the clinician drew.
        result: bool `[K, J, I]`.
        volume: The image.
        edits: The drawn slices, which stay as they are.
        images: The image's files or DICOM folders; an RT Structure Set refers to the slices of one.

    Returns:
        Voxels that the segmentation refused to take.
    """
    if has_rtstruct_name(path) or is_seg_nrrd(path) or edited.other_rois:
        _warn_of_what_is_left_out(path, edited)
    if has_rtstruct_name(path):
        _write_propagated_roi(path, edited, result, volume, images)
        return 0
    if is_seg_nrrd(path):
        return int(_scene_files().write_propagated_segment(path, edited, result, volume, edits))
    if edited.labels is None:
        write_labelmap(path, result, volume)
        return 0
    labels, refused = _labels_with(edited.labels, edited.mask, result, edited.wanted.values[0])
    write_labelmap(path, labels, volume)
    if refused:
        what = "%d voxels are not given to %s: the labels %s of '%s' are not written over"
        logger.warning(what, refused, edited.wanted.name, _listed(edited.other_labels), edited.path)
    return refused


def _warn_of_what_is_left_out(path: Path, edited: ReadSegmentation) -> None:
    left_out = []
    if edited.other_labels:
        left_out.append(f"labels {_listed(edited.other_labels)}")
    if edited.other_rois and not has_rtstruct_name(path):
        left_out.append("ROIs " + ", ".join(f"'{name}'" for name in edited.other_rois))
    for others in left_out:
        logger.warning("only %s is written, not the %s of '%s'", edited.wanted.name, others, edited.path)


def _write_propagated_roi(
    path: Path, edited: ReadSegmentation, result: np.ndarray, volume: SourceVolume, images: Sequence[Path]
) -> None:
    name = edited.wanted.name
    if is_dicom_file(edited.path):
        write_changed_roi(path, edited.path, name, (edited.mask, result), volume, images)
    else:
        write_new_structure_set(path, result, name, volume, images, SEMIAUTOMATIC)


def _labels_with(labels: np.ndarray, before: np.ndarray, after: np.ndarray, value: int) -> tuple[np.ndarray, int]:
    """The labels with one label changed from `before` to `after` where no other one lies, and the voxels refused.

    Args:
        labels: Whole numbers `[K, J, I]`.
        before: bool `[K, J, I]`, where the label lies; such voxels keep their value, of which a region has several.
        after: bool `[K, J, I]`, where it shall lie.
        value: Of the voxels that are added.
    """
    free = labels == 0
    written = labels.astype(np.promote_types(labels.dtype, np.min_scalar_type(value)))
    written[before & ~after] = 0
    written[after & free] = value
    return written, int((after & ~before & ~free).sum())


def _scene_files() -> ModuleType:
    """The part that needs Slicer's libraries.

    Raises:
        MissingDependencyError: They are not installed.
    """
    require("slicer", extra="mrml")
    return import_module("context_propagation.segmentations.seg_nrrd_files")


def _open(path: Path) -> _Labelmap | None:
    """Read a labelmap; None for a `.seg.nrrd`, which is read through a scene, and for an RT Structure Set."""
    check_exists(path, "Segmentation")
    if not path.is_file():
        kinds = f"a labelmap file, a {SEG_NRRD} or an RT Structure Set"
        raise UserInputError(f"Segmentation '{path}' is a folder; give {kinds}")
    if is_seg_nrrd(path) or is_dicom_file(path):
        return None
    image = _read_labels(path)
    return _Labelmap(path, image, _label_values(path, image))


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


def _label_values(path: Path, image: sitk.Image) -> tuple[int, ...]:
    values = [value for value in np.unique(sitk.GetArrayViewFromImage(image)).tolist() if value != 0]
    if not all(0 < value < LARGEST_LABEL and value == int(value) for value in values):
        raise UserInputError(
            f"Segmentation '{path}' holds the values {_listed(values)}, which are no labels; give a labelmap"
        )
    return tuple(int(value) for value in values)


def _plain_or_wanted(labelmaps: Sequence[_Labelmap], wanted: Wanted) -> list[int] | None:
    """The only value of plain masks, none where they are empty; None where the wanted values are to be read.

    Raises:
        UserInputError: There are several values, none of them wanted.
    """
    found = sorted({value for labelmap in labelmaps for value in labelmap.values})
    if len(found) > 1:
        _check_wanted(labelmaps, found, wanted)
        return None
    if set(found) - set(wanted.values):
        holds = _files_hold(labelmaps)
        logger.warning("%s the value %d only; it is taken as a mask of %s", holds, found[0], wanted.name)
    return found


def _check_wanted(labelmaps: Sequence[_Labelmap], found: Sequence[int], wanted: Wanted) -> None:
    """Refuse labelmaps without the wanted values; where one holds them, warn of the other that does not."""
    asked = f"{_listed(wanted.values)} ({wanted.name})"
    if not set(wanted.values) & set(found):
        raise UserInputError(
            f"{_files_hold(labelmaps)} the labels {_listed(found)}, not {asked}; choose another label with --label, "
            "or give masks of one value"
        )
    for labelmap in labelmaps:
        if labelmap.values and not set(wanted.values) & set(labelmap.values):
            holds = _files_hold([labelmap])
            logger.warning("%s the labels %s, not %s; it is taken as empty", holds, _listed(labelmap.values), asked)


def _files_hold(labelmaps: Sequence[_Labelmap]) -> str:
    names = " and ".join(f"'{labelmap.path}'" for labelmap in labelmaps)
    return f"Segmentation {names} holds" if len(labelmaps) == 1 else f"Segmentations {names} hold"


def _listed(values: Sequence[float]) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:6])
    return shown + (", ..." if len(values) > 6 else "")


def _on_image_grid(
    labelmap: _Labelmap, wanted_values: Sequence[int], volume: SourceVolume
) -> tuple[np.ndarray, np.ndarray]:
    """The wanted voxels and all labels, `[K, J, I]` of the image."""
    room = np.min_scalar_type(max(labelmap.values, default=0) + 1)
    labels = sitk.GetArrayViewFromImage(labelmap.image).astype(room)
    grid = _image_grid(volume)
    inside = True
    if not same_grid(labelmap.image, grid):
        labels, inside = _resampled(labels, labelmap.image, grid)
    mask = np.isin(labels, wanted_values)
    if not inside or (set(wanted_values) & set(labelmap.values) and not mask.any()):
        raise UserInputError(
            f"Segmentation '{labelmap.path}' does not overlap the image: it lies around {_centre(labelmap.image)}, "
            f"the image around {_centre(grid)} (LPS, mm); give the segmentation of this image"
        )
    return mask, labels


def _resampled(labels: np.ndarray, own_grid: sitk.Image, grid: sitk.Image) -> tuple[np.ndarray, bool]:
    """Nearest neighbour by patient coordinates, and whether the grids overlap; labels leave room for one more value."""
    shifted = sitk.GetImageFromArray(labels + 1)  # 0 is outside the labels' own grid
    shifted.CopyInformation(own_grid)
    moved = sitk.GetArrayFromImage(sitk.Resample(shifted, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0))
    return np.maximum(moved, 1) - 1, bool(moved.any())


def _image_grid(volume: SourceVolume) -> sitk.Image:
    return volume.mask_to_sitk(np.zeros(volume.shape_kji, bool))


def _centre(image: sitk.Image) -> str:
    middle = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    return "(" + ", ".join(f"{x:.1f}" for x in middle) + ")"
