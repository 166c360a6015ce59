"""RT Structure Sets: one ROI read as a mask on the image's grid, and written back as contours on its slices.

Source: DICOM PS3.3, C.8.8.5 (Structure Set), C.8.8.6 (ROI Contour), C.8.8.8 (RT ROI Observations).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from context_propagation.core.errors import UserInputError, counted
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.optional_dependency import require
from context_propagation.files.dicom_files import EXTRA, damage_named, has_dicom_content, read_dicom
from context_propagation.files.dicom_series import (
    DICOM_SEG,
    DicomSeries,
    folders_for,
    framed_folder,
    read_series,
    slice_files,
)
from context_propagation.files.rtstruct_contours import (
    StructureSet,
    beside_image,
    contours_of,
    mask_of,
    mm_beside_image,
    planar_contours,
    referenced_series,
    roi_name,
    warn_of_contours,
)
from context_propagation.files.segmentation import named_so

if TYPE_CHECKING:
    from pydicom import Dataset


logger = logging.getLogger(__name__)


RTSTRUCT = ".dcm"


RT_STRUCTURE_SET_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"


REQUIRED = ("StructureSetROISequence", "ROIContourSequence", "RTROIObservationsSequence")
"""What every structure set has, in the order of the file: where the last is there, no contour was cut off."""


@dataclass(frozen=True)
class ReadRoi:
    """An ROI of a structure set.

    Attributes:
        mask: bool `[K, J, I]` on the image's grid.
        name: Its own name.
        others: The other ROIs that have contours, for a message.
        contours_beside: How many of its contours lie beside the image in whole or part, where they are not read.
        mm_beside: How far the outermost of them reaches.
    """

    mask: np.ndarray
    name: str
    others: tuple[str, ...]
    contours_beside: int
    mm_beside: float


def has_rtstruct_name(path: Path) -> bool:
    """Whether an output of this name is an RT Structure Set."""
    return path.name.lower().endswith(RTSTRUCT) and not path.name.lower().endswith(DICOM_SEG)


def is_dicom_file(path: Path) -> bool:
    """Whether an input is to be read as an RT Structure Set: by its name, or by its first bytes."""
    if has_rtstruct_name(path) or not path.is_file():
        return has_rtstruct_name(path)
    return has_dicom_content(path)


def check_rtstruct_output(path: Path, images: Sequence[Path]) -> None:
    """Refuse, before anything is computed, an RT Structure Set that cannot be written.

    Args:
        path: Where it shall go.
        images: What `--image` names.

    Raises:
        UserInputError: No channel is a DICOM folder, none has a frame of reference, or `path` is a slice of one.
        MissingDependencyError: The extra is not installed.
    """
    require("skimage.measure", extra=EXTRA)
    framed_folder(path, images)
    for folder in folders_for(path, images):
        if path.resolve() in {file.resolve() for file in slice_files(folder)}:
            raise UserInputError(f"Output '{path}' is a slice of the image; choose another name")


def read_roi(path: Path, name: str, volume: SourceVolume, images: Sequence[Path]) -> ReadRoi:
    """Read one ROI of a structure set.

    A voxel belongs to the ROI where its centre lies inside the contours. On one slice, one within another is a hole,
    and those that overlap in part are united; CLOSEDPLANAR_XOR contours are combined by exclusive or.

    Args:
        path: An RT Structure Set.
        name: The ROI's name; otherwise the only one of that name in other case, that of this number, or the only ROI.
        volume: The image.
        images: Its files; one is the DICOM folder that the contours belong to.

    Raises:
        UserInputError: The file is no complete RT Structure Set, lacks the ROI, belongs to another frame of reference,
            or has contours on no slice plane, open, or all of them beside the image.
    """
    with damage_named(f"RT Structure Set '{path}'"):
        structure_set = open_structure_set(path, series_of_images(path, images, volume))
        roi = find_roi(structure_set, name)
        contours = planar_contours(structure_set, roi, volume)
        own_name = roi_name(structure_set.dataset, roi)
        warn_of_contours(structure_set, roi, name, contours, volume)
        beside = sum(beside_image(contours, volume))
        mask, others = mask_of(contours, volume, path, own_name), _others(structure_set.dataset, roi)
        return ReadRoi(mask, own_name, others, beside, mm_beside_image(contours, volume))


def _others(dataset: Dataset, roi: Dataset) -> tuple[str, ...]:
    others = [one for one in dataset.StructureSetROISequence if one.ROINumber != roi.ROINumber]
    found = [(roi_name(dataset, one), len(contours_of(dataset, one))) for one in others]
    return tuple(f"the ROI '{name}' ({counted(contours, 'contour')})" for name, contours in found if contours)


def series_of_images(path: Path, images: Sequence[Path], volume: SourceVolume) -> list[DicomSeries]:
    """The series of the DICOM folders among an image's channels.

    Raises:
        UserInputError: No channel is one, or as `read_series`.
    """
    return [read_series(folder, volume) for folder in folders_for(path, images)]


def open_structure_set(path: Path, found: Sequence[DicomSeries]) -> StructureSet:
    """Read the file, and find out which of the image's series it belongs to; within `damage_named`.

    Raises:
        UserInputError: No RT Structure Set, or another frame of reference.
    """
    dataset = read_dicom(path)
    if dataset.SOPClassUID != RT_STRUCTURE_SET_STORAGE:
        raise UserInputError(
            f"'{path}' is not an RT Structure Set but '{dataset.SOPClassUID.name}'; export the contours"
        )
    missing = [keyword for keyword in REQUIRED if keyword not in dataset]
    if missing:
        raise UserInputError(f"RT Structure Set '{path}' is truncated: it has no {missing[0]}; export it again")
    frames = {str(roi.get("ReferencedFrameOfReferenceUID", "") or "") for roi in dataset.StructureSetROISequence}
    frames |= {str(item.FrameOfReferenceUID) for item in dataset.get("ReferencedFrameOfReferenceSequence", [])}
    fitting = [series for series in found if series.frame_of_reference and series.frame_of_reference in frames]
    if not fitting:
        raise _wrong_frame(path, frames, found)
    referenced = referenced_series(dataset)
    return StructureSet(path, dataset, next((one for one in fitting if one.uid in referenced), fitting[0]))


def find_roi(structure_set: StructureSet, name: str) -> Dataset:
    """The item of the Structure Set ROI Sequence: by name, then in other case, then by number, then the only one.

    Of several with that name, the one with contours is taken where the others have none.

    Raises:
        UserInputError: None or several are meant, or the ROI belongs to another frame of reference.
    """
    dataset = structure_set.dataset
    rois = list(dataset.StructureSetROISequence)
    names = [roi_name(dataset, roi) for roi in rois]
    meant = [rois[number] for number in named_so(name, names)]
    meant = meant or [roi for roi in rois if str(roi.ROINumber) == name.strip()]
    meant = meant or (rois if len(rois) == 1 else [])
    meant = [roi for n, roi in enumerate(meant) if roi.ROINumber not in [other.ROINumber for other in meant[:n]]]
    if len(meant) > 1:
        meant = [roi for roi in meant if contours_of(dataset, roi)] or meant[:1]
    if len(meant) != 1:
        listed = ", ".join(f"'{one}'" for one in names) or "none"
        numbers = ", ".join(str(roi.ROINumber) for roi in rois)
        raise UserInputError(
            f"RT Structure Set '{structure_set.path}' has {len(meant)} ROIs named '{name}'; its ROIs are {listed} "
            f"(numbers {numbers}): name the one that is meant with --segment, by its name or its number"
        )
    check_frame(structure_set, meant[0])
    return meant[0]


def check_frame(structure_set: StructureSet, roi: Dataset) -> None:
    """Raises:
    UserInputError: The ROI belongs to another frame of reference than the series.
    """
    frame = str(roi.get("ReferencedFrameOfReferenceUID", "") or "")
    if frame not in ("", structure_set.series.frame_of_reference):
        raise _wrong_frame(structure_set.path, {frame}, [structure_set.series])


def _wrong_frame(path: Path, frames: set[str], found: Sequence[DicomSeries]) -> UserInputError:
    listed = ", ".join(sorted(frames - {""})) or "none"
    series = " and ".join(f"that of '{one.folder}' is {one.frame_of_reference or 'missing'}" for one in found)
    return UserInputError(
        f"RT Structure Set '{path}' belongs to another series: its frame of reference is {listed}, {series}; "
        "give the series that it was drawn on"
    )
