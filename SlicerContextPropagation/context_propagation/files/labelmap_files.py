"""Labelmap files: labels read onto the image's grid, and written there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import whole
from context_propagation.core.image.nearest_pull import pull_nearest
from context_propagation.core.image.own_grid import OwnMask
from context_propagation.core.image.source_volume import SourceVolume, farthest_apart_mm, ijk_to_lps_of, same_grid
from context_propagation.files.segmentation import SEG_NRRD, Wanted
from context_propagation.files.volume_files import read_volume

logger = logging.getLogger(__name__)


LABELMAP_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")


LARGEST_LABEL = 2**31


MOST = 0.5
"""Of a label that lies beside the image: more is another image's."""


@dataclass(frozen=True)
class Labelmap:
    """A labelmap file on its own grid; `values` are its distinct values above zero."""

    path: Path
    image: sitk.Image
    values: tuple[int, ...]


def read_labelmap(path: Path) -> Labelmap:
    """Read a file that is there.

    Raises:
        UserInputError: It is damaged, not 3D, or holds values that are no labels.
    """
    image = read_volume(path, "Segmentation", f"a complete NIfTI, NRRD or MHA labelmap, or a {SEG_NRRD}")
    return Labelmap(path, image, _label_values(path, image))


def write_labelmap(path: Path, labels: np.ndarray, volume: SourceVolume) -> None:
    """Write a mask `[K, J, I]` as 0 and 1, or labels as they are, on the image's grid, compressed."""
    image = sitk.GetImageFromArray(labels.astype(np.uint8) if labels.dtype == bool else labels)
    image.CopyInformation(_image_grid(volume))
    write_sitk(path, image)


def write_sitk(path: Path, image: sitk.Image) -> None:
    """Write an image, compressed."""
    try:
        sitk.WriteImage(image, str(path), useCompression=True)
    except RuntimeError as error:
        raise UserInputError(f"Output '{path.name}' cannot be written; check that its folder has room") from error


def labels_with(
    labels: np.ndarray, before: np.ndarray, after: np.ndarray, value: int, outer: Sequence[int] = ()
) -> tuple[np.ndarray, int]:
    """The labels with one label changed from `before` to `after` where no other one lies, and the voxels refused.

    Args:
        labels: Whole numbers `[K, J, I]`.
        before: bool `[K, J, I]`, where the label lies; such voxels keep their value, of which a region has several.
        after: bool `[K, J, I]`, where it shall lie.
        value: Of the voxels that are added.
        outer: Of the regions that the label lies in, the innermost first: it may take their voxels, and those that it
            leaves are the innermost one's.
    """
    free = np.isin(labels, (0, *outer))
    written = labels.astype(np.promote_types(labels.dtype, np.min_scalar_type(max(value, *outer, 0))))
    written[before & ~after] = outer[0] if outer else 0
    written[after & free] = value
    return written, int((after & ~before & ~free).sum())


def _label_values(path: Path, image: sitk.Image) -> tuple[int, ...]:
    values = [value for value in np.unique(sitk.GetArrayViewFromImage(image)).tolist() if value != 0]
    if not all(0 < value < LARGEST_LABEL and value == int(value) for value in values):
        raise UserInputError(
            f"Segmentation '{path}' holds the values {listed(values)}, which are not labels (whole numbers above 0); "
            "give a labelmap"
        )
    return tuple(int(value) for value in values)


def plain_or_wanted(labelmaps: Sequence[Labelmap], wanted: Wanted) -> list[int] | None:
    """The only value of plain masks, none where they are empty; None where the wanted values are to be read.

    Raises:
        UserInputError: There are several values, none of them wanted.
    """
    found = sorted({value for labelmap in labelmaps for value in labelmap.values})
    if len(found) > 1:
        _check_wanted(labelmaps, found, wanted)
        return None
    if set(found) - set(wanted.values):
        holds = files_hold(labelmaps)
        logger.warning("%s the value %d only; it is taken as a mask of %s", holds, found[0], wanted.name)
    return found


def _check_wanted(labelmaps: Sequence[Labelmap], found: Sequence[int], wanted: Wanted) -> None:
    """Refuse labelmaps without the wanted values; where one holds them, warn of the other that does not."""
    asked = f"{listed(wanted.values)} ({wanted.name})"
    of_training = sorted(set(found) & set(wanted.training))
    if of_training:
        raise UserInputError(
            f"{files_hold(labelmaps)} the value {listed(of_training)}, which labelmaps of the model's training have in "
            f"{wanted.name}; here its values are {listed(wanted.values)}: change them in the file"
        )
    if not set(wanted.values) & set(found):
        raise UserInputError(
            f"{files_hold(labelmaps)} the labels {listed(found)}, not {asked}; choose another label with --label, "
            "or give masks of one value"
        )
    for labelmap in labelmaps:
        if labelmap.values and not set(wanted.values) & set(labelmap.values):
            holds = files_hold([labelmap])
            logger.warning("%s the labels %s, not %s; it is taken as empty", holds, listed(labelmap.values), asked)


def files_hold(labelmaps: Sequence[Labelmap]) -> str:
    """The beginning of a sentence about files."""
    names = " and ".join(f"'{labelmap.path}'" for labelmap in labelmaps)
    return f"Segmentation {names} holds" if len(labelmaps) == 1 else f"Segmentations {names} hold"


def listed(values: Sequence[float]) -> str:
    """The first values, for a message."""
    shown = ", ".join(f"{value:g}" for value in values[:6])
    return shown + (", ..." if len(values) > 6 else "")


def on_image_grid(
    labelmap: Labelmap, wanted_values: Sequence[int], volume: SourceVolume
) -> tuple[np.ndarray, np.ndarray]:
    """The wanted voxels (bool) and all labels (whole numbers), `[K, J, I]` of the image; nearest neighbour.

    Raises:
        UserInputError: The labelmap does not overlap the image, most of the label lies beside it, or the header places
            nothing.
    """
    room = np.min_scalar_type(max(labelmap.values, default=0) + 1)
    labels = sitk.GetArrayViewFromImage(labelmap.image).astype(room)
    grid = _image_grid(volume)
    inside = True
    if not same_grid(labelmap.image, grid):
        _check_place(labelmap, grid)
        _check_outside(labelmap, np.isin(labels, wanted_values), volume)
        _warn_of_same_size(labelmap, grid)
        labels, inside = _resampled(labels, labelmap.image, grid)
    mask = np.isin(labels, wanted_values)
    if not inside or (set(wanted_values) & set(labelmap.values) and not mask.any()):
        raise _beside(labelmap, grid)
    return mask, labels


def _check_place(labelmap: Labelmap, grid: sitk.Image) -> None:
    """Refuse an array that was saved without its place, as numpy knows none; RAS or LPS is all that can differ."""
    bare = np.array_equal(np.abs(ijk_to_lps_of(labelmap.image)), np.eye(4))
    if bare and labelmap.image.GetSize() == grid.GetSize():
        raise UserInputError(
            f"Segmentation '{labelmap.path}' has the image's size and no geometry in its header (spacing 1, origin 0); "
            "copy origin, spacing and direction of the image into it"
        )


def _warn_of_same_size(labelmap: Labelmap, grid: sitk.Image) -> None:
    if labelmap.image.GetSize() != grid.GetSize():
        return
    logger.warning(
        "Segmentation '%s' has the image's size and lies up to %.4g mm beside it; it is placed by its own header",
        *(labelmap.path, farthest_apart_mm(labelmap.image, grid)),
    )


def _check_outside(labelmap: Labelmap, wanted: np.ndarray, volume: SourceVolume) -> None:
    """Refuse a label most of which lies beside the image, and tell of a part that does."""
    indices = np.argwhere(wanted)[:, ::-1]
    if not len(indices):
        return
    to_image = np.linalg.inv(volume.ijk_to_lps) @ ijk_to_lps_of(labelmap.image)
    places = indices @ to_image[:3, :3].T + to_image[:3, 3]
    last = np.array(volume.shape_kji[::-1]) - 0.5
    outside = int(((places < -0.5) | (places > last)).any(axis=1).sum())
    if outside > len(indices) * MOST:
        raise _beside(labelmap, _image_grid(volume), f"{outside} of {len(indices)} voxels of the label lie beside it")
    if outside:
        logger.warning(
            "%d of %d voxels of the label in '%s' lie beside the image and are left out",
            *(outside, len(indices), labelmap.path),
        )


def _beside(labelmap: Labelmap, grid: sitk.Image, what: str = "") -> UserInputError:
    return UserInputError(
        f"Segmentation '{labelmap.path}' does not overlap the image{f' ({what})' if what else ''}: it lies around "
        f"{_centre(labelmap.image)}, the image around {_centre(grid)} (LPS, mm); give the segmentation of this image"
    )


def on_own_grid(labelmap: Labelmap, wanted_values: Sequence[int], volume: SourceVolume) -> OwnMask | None:
    """The wanted voxels on the labelmap's own grid; None where that is the image's."""
    return None if same_grid(labelmap.image, _image_grid(volume)) else own_mask(labelmap, wanted_values, volume)


def own_mask(labelmap: Labelmap, wanted_values: Sequence[int], volume: SourceVolume) -> OwnMask:
    """The wanted voxels on the labelmap's own grid, also where that is the image's."""
    mask = np.isin(sitk.GetArrayViewFromImage(labelmap.image), wanted_values)
    matrix = np.linalg.inv(volume.ijk_to_lps) @ ijk_to_lps_of(labelmap.image)
    return OwnMask.of_array(mask, matrix, volume.shape_kji, volume.spacing_kji_mm)


def _resampled(labels: np.ndarray, own_grid: sitk.Image, grid: sitk.Image) -> tuple[np.ndarray, bool]:
    """Nearest neighbour by patient coordinates, and whether the grids overlap; labels leave room for one more value."""
    matrix = np.linalg.inv(ijk_to_lps_of(own_grid)) @ ijk_to_lps_of(grid)
    moved = pull_nearest(labels + 1, matrix, whole(grid.GetSize()[::-1]), back=True)  # 0: outside the labels' grid
    return np.maximum(moved, 1) - 1, bool(moved.any())


def _image_grid(volume: SourceVolume) -> sitk.Image:
    return volume.mask_to_sitk(np.zeros(volume.shape_kji, bool))


def _centre(image: sitk.Image) -> str:
    middle = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    return "(" + ", ".join(f"{x:.1f}" for x in middle) + ")"
