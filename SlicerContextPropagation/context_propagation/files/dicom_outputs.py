"""Structures as a DICOM object of their series: which kind, by the name's ending; and what it may replace."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.long_imports import no_garbage_search
from context_propagation.core.optional_dependency import require
from context_propagation.files.dicom_files import EXTRA, sop_class
from context_propagation.files.dicom_seg import SEGMENTATION_STORAGE, has_seg_name
from context_propagation.files.dicom_seg_writing import require_usable_frames, write_new_segmentation
from context_propagation.files.dicom_series import DICOM_SEG, DicomSeries, no_frame
from context_propagation.files.rtstruct_reading import RT_STRUCTURE_SET_STORAGE, RTSTRUCT, has_rtstruct_name
from context_propagation.files.rtstruct_writing import (
    EDITED,
    SEMIAUTOMATIC,
    write_new_structure_set,
    write_structures_into,
)
from context_propagation.files.structures import Structure

WITH_STRUCTURE_SET = ("pydicom", "skimage.measure", "skimage.draw")


WITH_SEGMENTATION = ("highdicom.seg", "highdicom.color", "highdicom.sr")


def check_dicom_output(path: Path, inputs: Sequence[Path], given: Path | None) -> None:
    """Refuse, before anything is computed, what cannot or must not be written.

    Args:
        path: Ends in .dcm for an RT Structure Set, in .seg.dcm for a DICOM segmentation.
        inputs: The files of the series, none of which is replaced.
        given: The structure set that other ROIs are taken from, if any; it is not replaced either.

    Raises:
        UserInputError: Another ending, no such folder, an input, a link, or a file of another kind.
        MissingDependencyError: The extra is not installed.
    """
    if not has_seg_name(path) and not has_rtstruct_name(path):
        raise UserInputError(
            f"'{path}' ends neither in {RTSTRUCT} (RT Structure Set) nor in {DICOM_SEG} (DICOM segmentation); "
            "choose another name"
        )
    if given is not None and has_seg_name(path):
        raise UserInputError(
            f"'{path}' is a DICOM segmentation, which takes nothing from the RT Structure Set '{given}'; leave that "
            f"out, or end the name in {RTSTRUCT} alone"
        )
    if given is not None and not given.is_file():
        raise UserInputError(f"There is no RT Structure Set '{given}'; check the path, or leave it out")
    _import_writer(WITH_SEGMENTATION if has_seg_name(path) else WITH_STRUCTURE_SET)
    if not path.parent.is_dir():
        raise UserInputError(f"The folder '{path.parent}' does not exist; create it, or write '{path.name}' elsewhere")
    if not os.access(path.parent, os.W_OK):
        raise UserInputError(f"The folder '{path.parent}' is write-protected; write '{path.name}' elsewhere")
    if path.resolve() in {file.resolve() for file in (*inputs, *([given] if given else []))}:
        raise UserInputError(f"'{path}' is a file that this is made from; choose another name")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise UserInputError(f"'{path}' is a link or no regular file; choose another name")
    kinds = SEGMENTATION_STORAGE if has_seg_name(path) else (RT_STRUCTURE_SET_STORAGE,)
    if path.is_file() and path.stat().st_size and sop_class(path) not in kinds:
        what = "DICOM segmentation" if has_seg_name(path) else "RT Structure Set"
        raise UserInputError(f"'{path}' exists and is no {what}; choose another name")


def _import_writer(packages: Sequence[str]) -> None:
    """Import what takes seconds the first time, so that the application's own thread gets on meanwhile."""
    if not all(package in sys.modules for package in packages):
        with no_garbage_search():
            for package in packages:
                require(package, extra=EXTRA)


def write_structures(
    path: Path,
    structures: Sequence[Structure],
    volume: SourceVolume,
    series: DicomSeries,
    files: Sequence[Path],
    given: Path | None = None,
) -> int:
    """Write an RT Structure Set or a DICOM segmentation, by the name's ending.

    Args:
        path: Where to write.
        structures: At least one; masks on the series' slices.
        volume: The image as it was read from the series.
        series: Which the object refers to.
        files: Of the series.
        given: A structure set whose other ROIs are kept; see `write_structures_into`.

    Returns:
        How many other ROIs were kept.

    Raises:
        UserInputError: The series has no frame of reference or frames that cannot be referred to; a structure set that
            does not belong to it; or the file cannot be written.
    """
    if not series.frame_of_reference:
        raise no_frame(series.folder, path)
    if has_seg_name(path):
        require_usable_frames(series.folder, files)
        write_new_segmentation(path, structures, volume, series, SEMIAUTOMATIC)
        return 0
    if given is not None:
        return write_structures_into(path, given, structures, volume, series)
    write_new_structure_set(path, structures, volume, series, SEMIAUTOMATIC, EDITED)
    return 0
