"""Reading and writing segmentations: the ending chooses between labelmaps, `.seg.nrrd` and RT Structure Sets."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.own_grid import OwnMask
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.optional_dependency import require
from context_propagation.files.dicom_seg import has_seg_name, is_dicom_seg, read_segmentation
from context_propagation.files.dicom_seg_writing import (
    check_seg_output,
    write_changed_segmentation,
    write_new_segmentation,
)
from context_propagation.files.dicom_series import DICOM_SEG, series_for
from context_propagation.files.image_files import check_exists
from context_propagation.files.labelmap_files import (
    LABELMAP_ENDINGS,
    Labelmap,
    files_hold,
    labels_with,
    listed,
    on_image_grid,
    on_own_grid,
    own_mask,
    plain_or_wanted,
    read_labelmap,
    write_labelmap,
)
from context_propagation.files.own_grid_labelmap import changed_on_own_grid, labelmap_of, write_on_own_grid
from context_propagation.files.rtstruct_reading import (
    RTSTRUCT,
    check_rtstruct_output,
    has_rtstruct_name,
    is_dicom_file,
    read_roi,
)
from context_propagation.files.rtstruct_writing import (
    AUTOMATIC,
    PREDICTED,
    PROPAGATED,
    SEMIAUTOMATIC,
    write_changed_roi,
    write_new_structure_set,
)
from context_propagation.files.segmentation import SEG_NRRD, Propagated, ReadSegmentation, Wanted, is_seg_nrrd
from context_propagation.files.structures import Structure

logger = logging.getLogger(__name__)


def check_segmentation_ending(path: Path, images: Sequence[Path] = ()) -> None:
    """Refuse an output name of unknown format, or an RT Structure Set that cannot be written.

    Args:
        path: Where the segmentation shall go.
        images: The image's files or DICOM folders.

    Raises:
        UserInputError: The name ends in none of the known endings; see also `check_rtstruct_output`.
    """
    if has_seg_name(path):
        check_seg_output(path, images)
    elif has_rtstruct_name(path):
        check_rtstruct_output(path, images)
    elif not path.name.lower().endswith((SEG_NRRD, *LABELMAP_ENDINGS)):
        endings = ", ".join((SEG_NRRD, *LABELMAP_ENDINGS, RTSTRUCT, DICOM_SEG))
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
            f"{files_hold([labelmap])} the labels {listed(labelmap.values)}, not {listed(wanted.values)} "
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
        paths: Labelmap files, `.seg.nrrd`, RT Structure Sets, DICOM segmentations; of any grid.
        wanted: Which label, segment or ROI.
        volume: The image.
        images: Its files or DICOM folders; an RT Structure Set needs the folder that it belongs to.

    Returns:
        One for each path; nearest neighbour where the grids differ.

    Raises:
        UserInputError: A file is missing, empty or unreadable, or does not overlap the image; none holds the label.
    """
    opened = [_open(path) for path in paths]
    values = plain_or_wanted([labelmap for labelmap in opened if labelmap is not None], wanted)
    read = []
    for path, labelmap in zip(paths, opened, strict=True):
        if is_dicom_seg(path):
            read.append(_read_dicom_seg(path, wanted, volume, images))
        elif is_dicom_file(path):
            roi = read_roi(path, wanted.name, volume, images)
            beside = (roi.contours_beside, roi.mm_beside)
            read.append(ReadSegmentation(path, wanted, roi.mask, None, None, roi.others, *beside, roi.name))
        elif labelmap is None:
            mask, own = _scene_files().read_segment(path, wanted.name, volume)
            read.append(ReadSegmentation(path, wanted, mask, own=own))
        else:
            meant = values or wanted.values
            mask, labels = on_image_grid(labelmap, meant, volume)
            own = on_own_grid(labelmap, meant, volume)
            read.append(ReadSegmentation(path, wanted, mask, labels if values is None else None, own))
    return read


def write_predicted(path: Path, mask: np.ndarray, name: str, volume: SourceVolume, images: Sequence[Path] = ()) -> None:
    """Write a new segmentation of one label, in the format of the name's ending; see `write_propagated`."""
    if has_seg_name(path):
        write_new_segmentation(path, [Structure.of(name, mask)], volume, series_for(path, images, volume), AUTOMATIC)
    elif has_rtstruct_name(path):
        series = series_for(path, images, volume)
        write_new_structure_set(path, [Structure.of(name, mask)], volume, series, AUTOMATIC, PREDICTED)
    elif is_seg_nrrd(path):
        _scene_files().write_segment(path, mask, name, volume)
    else:
        write_labelmap(path, mask, volume)


def write_propagated(
    path: Path,
    edited: ReadSegmentation,
    done: Propagated,
    volume: SourceVolume,
    images: Sequence[Path] = (),
) -> int:
    """Write the result of a propagation, in the format of the name's ending; see also `refuse_losses`.

    A `.seg.nrrd` is written through a scene: an edited `.seg.nrrd` keeps its other segments, its grid and its colours.
    A labelmap from an edited labelmap of several labels keeps the other labels, and does not write over them; it lies
    on the grid of the edited one.
    An RT Structure Set from an edited one keeps its other ROIs, and the contours of the slices that did not change.
    A DICOM segmentation from an edited one keeps its other segments and its grid; from anything else it lies on the
    slices of the series.

    Args:
        path: Where to write.
        edited: What the clinician drew.
        done: What propagation came to.
        volume: The image.
        images: The image's files or DICOM folders; an RT Structure Set refers to the slices of one.

    Returns:
        Voxels that the segmentation refused to take.
    """
    result = done.segmentation
    if has_seg_name(path):
        _write_propagated_seg(path, edited, done, volume, images)
        return 0
    if has_rtstruct_name(path):
        _write_propagated_roi(path, edited, result, volume, images)
        return 0
    if is_seg_nrrd(path):
        return int(_scene_files().write_propagated_segment(path, edited, done, volume))
    if edited.own is not None:
        if is_seg_nrrd(edited.path) or is_dicom_seg(edited.path):
            return write_on_own_grid(path, *labelmap_of(edited.path, edited.own, volume), (1,), done, volume)
        labelmap, own = read_labelmap(edited.path), edited.own
        refused = write_on_own_grid(path, labelmap, own, _values(edited), done, volume, edited.wanted.outer)
        _warn_of_refused(edited, refused)
        return refused
    if edited.labels is None:
        write_labelmap(path, result, volume)
        return 0
    wanted = edited.wanted
    labels, refused = labels_with(edited.labels, edited.mask, result, wanted.values[0], wanted.outer)
    write_labelmap(path, labels, volume)
    _warn_of_refused(edited, refused)
    return refused


def _values(edited: ReadSegmentation) -> tuple[int, ...]:
    """The label's values in its file: of a plain mask the only one."""
    if edited.labels is not None:
        return edited.wanted.values
    return read_labelmap(edited.path).values or (1,)


def _warn_of_refused(edited: ReadSegmentation, refused: int) -> None:
    if refused:
        what = "%d voxels are not given to %s: the labels %s of '%s' are not written over"
        logger.warning(what, refused, edited.name, listed(edited.other_labels), edited.path)


def _read_dicom_seg(path: Path, wanted: Wanted, volume: SourceVolume, images: Sequence[Path]) -> ReadSegmentation:
    given = read_segmentation(path, volume, images)
    number = given.find(wanted.name)
    labelmap = given.labelmap(number)
    mask, _ = on_image_grid(labelmap, (1,), volume)
    own: OwnMask | None = own_mask(labelmap, (1,), volume)
    if own is not None and own.grid.is_image_s and not own.off_image:
        own = None
    return ReadSegmentation(path, wanted, mask, own=own, others=given.others(number), own_name=given.names[number])


def _write_propagated_seg(
    path: Path, edited: ReadSegmentation, done: Propagated, volume: SourceVolume, images: Sequence[Path]
) -> None:
    if not is_dicom_seg(edited.path):
        structures = [Structure.of(edited.name, done.segmentation)]
        write_new_segmentation(path, structures, volume, series_for(path, images, volume), SEMIAUTOMATIC)
        return
    given = read_segmentation(edited.path, volume, images)
    number = given.find(edited.wanted.name)
    labelmap = given.labelmap(number)
    labels, start, _ = changed_on_own_grid(labelmap, own_mask(labelmap, (1,), volume), (1,), done, volume)
    write_changed_segmentation(path, given, number, (labels > 0, start), volume, images)


def _write_propagated_roi(
    path: Path, edited: ReadSegmentation, result: np.ndarray, volume: SourceVolume, images: Sequence[Path]
) -> None:
    name = edited.wanted.name  # an ROI may be named by its number
    if is_dicom_file(edited.path):
        write_changed_roi(path, edited.path, name, (edited.mask, result), volume, images)
    else:
        series = series_for(path, images, volume)
        write_new_structure_set(path, [Structure.of(name, result)], volume, series, SEMIAUTOMATIC, PROPAGATED)


def _scene_files() -> ModuleType:
    """The part that needs Slicer's libraries.

    Raises:
        MissingDependencyError: They are not installed.
    """
    require("slicer", extra="mrml")
    return import_module("context_propagation.segmentations.seg_nrrd_files")


def _open(path: Path) -> Labelmap | None:
    """Read a labelmap; None for a `.seg.nrrd`, which is read through a scene, and for an RT Structure Set."""
    check_exists(path, "Segmentation")
    if not path.is_file():
        kinds = f"a labelmap file, a {SEG_NRRD} or an RT Structure Set"
        raise UserInputError(f"Segmentation '{path}' is a folder; give {kinds}")
    if is_seg_nrrd(path) or is_dicom_seg(path) or is_dicom_file(path):
        return None
    return read_labelmap(path)
