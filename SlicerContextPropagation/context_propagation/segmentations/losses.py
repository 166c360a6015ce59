"""What an output would lose of the segmentation that it comes from: other organs, thin parts, what lies off the image.

Each loss is counted before anything is computed, and refused unless it was allowed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from context_propagation.core.errors import UserInputError, counted
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.files.dicom_seg import has_seg_name, is_dicom_seg
from context_propagation.files.dicom_series import DICOM_SEG
from context_propagation.files.grid_losses import finer_detail, off_image, size_of
from context_propagation.files.labelmap_files import LABELMAP_ENDINGS, read_labelmap
from context_propagation.files.rtstruct_reading import RTSTRUCT, has_rtstruct_name, is_dicom_file
from context_propagation.files.segmentation import SEG_NRRD, ReadSegmentation, is_seg_nrrd

logger = logging.getLogger(__name__)


MOST_LISTED = 6


def refuse_losses(output: Path, edited: ReadSegmentation, volume: SourceVolume, allowed: bool) -> None:
    """Refuse an output that cannot hold all of the edited segmentation; where that is allowed, say what is lost.

    Args:
        output: Where the result shall go; its ending says what it can hold.
        edited: What was read.
        volume: The image.
        allowed: Whether losses were allowed.

    Raises:
        UserInputError: Naming each loss with its voxels and mm3, and the ending that loses nothing.
    """
    lost = list(losses(output, edited, volume))
    if not lost:
        return
    listed = "; ".join(lost[:MOST_LISTED]) + (f"; and {len(lost) - MOST_LISTED} more" if lost[MOST_LISTED:] else "")
    if allowed:
        logger.warning("'%s' loses of '%s': %s", output, edited.path, listed)
        return
    raise UserInputError(
        f"'{output}' would lose of '{edited.path}': {listed}; end its name in {_lossless_ending(edited.path)}, or give "
        "--allow-loss"
    )


def losses(output: Path, edited: ReadSegmentation, volume: SourceVolume) -> Iterator[str]:
    """Each thing that an output would lose, for a message; none where it is of the kind that was read."""
    if _kind(output) == _kind(edited.path):
        return
    yield from _others(edited, volume)
    if edited.own is not None:
        yield from off_image(edited.name, edited.own)
        if has_rtstruct_name(output) or has_seg_name(output):
            yield from finer_detail(edited.name, edited.own)
    if edited.contours_beside:
        contours, mm = counted(edited.contours_beside, "contour"), edited.mm_beside
        yield f"{contours} of {edited.name}, in whole or part beside the image, by up to {mm:.2f} mm"


def _kind(path: Path) -> str:
    if is_seg_nrrd(path):
        return "seg.nrrd"
    if is_dicom_seg(path):
        return "DICOM segmentation"
    if is_dicom_file(path):
        return "structure set"
    return "labelmap"


def _lossless_ending(edited: Path) -> str:
    endings = {"seg.nrrd": SEG_NRRD, "DICOM segmentation": DICOM_SEG, "structure set": RTSTRUCT}
    return endings.get(_kind(edited), " or ".join(LABELMAP_ENDINGS[::2]))


def _others(edited: ReadSegmentation, volume: SourceVolume) -> Iterator[str]:
    """What a file of one label alone has no room for."""
    yield from edited.others
    if is_seg_nrrd(edited.path):
        files = import_module("context_propagation.segmentations.seg_nrrd_files")
        for name, voxels, voxel_mm3 in files.other_segments(edited.path, edited.wanted.name):
            yield f"the segment '{name}' ({size_of(voxels, voxel_mm3)})"
    elif edited.labels is not None:
        image = read_labelmap(edited.path).image
        values, counts = np.unique(sitk.GetArrayViewFromImage(image), return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            if value != 0 and value not in edited.wanted.values:
                yield f"the label {value:g} ({size_of(count, float(np.prod(image.GetSpacing())))})"
