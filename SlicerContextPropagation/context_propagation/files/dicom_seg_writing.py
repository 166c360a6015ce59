"""DICOM segmentation objects written: a new one on a series, or a given one with one segment changed."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import context_propagation
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.optional_dependency import require
from context_propagation.files.dicom_files import EXTRA, damage_named, read_dicom
from context_propagation.files.dicom_seg import DicomSegmentation
from context_propagation.files.dicom_series import DicomSeries, framed_folder, series_for, slice_files
from context_propagation.files.highdicom_tables import read_tables
from context_propagation.files.structures import Structure

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription
    from pydicom import Dataset

MAKER = "slicer-context-propagation"


SERIES_NUMBER_AFTER = 900
"""Added to the image's series number."""


def check_seg_output(path: Path, images: Sequence[Path]) -> None:
    """Refuse, before anything is computed, a DICOM segmentation that cannot be written.

    Raises:
        UserInputError: No channel is a DICOM folder with a frame of reference, its one multi-frame file does not say
            orientation and pixel sizes once for all frames, or `path` is one of its files.
        MissingDependencyError: The extra is not installed.
    """
    require("highdicom", extra=EXTRA)
    folder = framed_folder(path, images)
    files = slice_files(folder)
    require_usable_frames(folder, files)
    if path.resolve() in {file.resolve() for file in files}:
        raise UserInputError(f"Output '{path}' is a slice of the image; choose another name")


def require_usable_frames(folder: Path, files: Sequence[Path]) -> None:
    """Raises:
    UserInputError: The series is one multi-frame file that does not say orientation and pixel sizes once for all.
    """
    if len(files) == 1 and not _refers_to_frames(read_dicom(files[0], with_voxels=False)):
        raise UserInputError(
            f"DICOM folder '{folder}' holds one file whose orientation and pixel sizes are not said once for all its "
            "frames, which a DICOM segmentation refers to; write .dcm, .seg.nrrd or .nii.gz"
        )


def write_new_segmentation(
    path: Path, structures: Sequence[Structure], volume: SourceVolume, series: DicomSeries, algorithm: str
) -> None:
    """Write an object on the slices of a series, with a segment for each structure; they may overlap.

    Args:
        path: Where to write.
        structures: At least one.
        volume: The image.
        series: Its slices, which the object refers to.
        algorithm: "AUTOMATIC" or "SEMIAUTOMATIC".

    Raises:
        UserInputError: The series lacks what such an object takes from it, or the file cannot be written.
    """
    described = [_described(n + 1, structure, algorithm) for n, structure in enumerate(structures)]
    _write(path, np.stack([structure.mask for structure in structures]), volume.ijk_to_lps, described, series)


def _described(number: int, structure: Structure, algorithm: str) -> SegmentDescription:
    seg, color = require("highdicom.seg", extra=EXTRA), require("highdicom.color", extra=EXTRA)
    coded = require("highdicom.sr", extra=EXTRA).CodedConcept
    category, kind = (coded(*code) for code in structure.property_codes)
    return seg.SegmentDescription(
        *(number, structure.name[:64], category, kind, algorithm),
        algorithm_identification=_algorithm(),
        display_color=color.CIELabColor.from_rgb(*structure.color),
    )


def write_changed_segmentation(
    path: Path,
    given: DicomSegmentation,
    number: int,
    change: tuple[np.ndarray, Sequence[int]],
    volume: SourceVolume,
    images: Sequence[Path],
) -> None:
    """Write a given object with one segment changed; the others keep their voxels, names, colours and codes.

    Args:
        path: Where to write; not the given one.
        given: The object.
        number: Which segment changes, counted from 0.
        change: The segment as it shall be, bool `[K, J, I]` on the object's grid, which may have grown, and at which
            index (k, j, i) of the object's grid that starts.
        volume: The image.
        images: Its files.

    Raises:
        UserInputError: As `write_new_segmentation`.
    """
    mask, start_kji = change
    masks = np.zeros((len(given.masks), *mask.shape), bool)
    place = tuple(slice(-start, -start + n) for start, n in zip(start_kji, given.masks.shape[1:], strict=True))
    masks[(slice(None), *place)] = given.masks
    masks[number] = mask
    matrix = given.ijk_to_lps.copy()
    matrix[:3, 3] += matrix[:3, :3] @ np.array(start_kji[::-1], float)
    descriptions = [copy.deepcopy(given.dataset.get_segment_description(one)) for one in given.numbers]
    for n, description in enumerate(descriptions):
        description.SegmentNumber = n + 1
    changed = descriptions[number]
    changed.SegmentAlgorithmType, changed.SegmentAlgorithmName = "SEMIAUTOMATIC", MAKER
    changed.SegmentationAlgorithmIdentificationSequence = _algorithm()
    _write(path, masks, matrix, descriptions, series_for(path, images, volume))


def _write(
    path: Path,
    masks: np.ndarray,
    ijk_to_lps: np.ndarray,
    descriptions: Sequence[SegmentDescription],
    series: DicomSeries,
) -> None:
    hd, seg = require("highdicom", extra=EXTRA), require("highdicom.seg", extra=EXTRA)
    read_tables()
    with damage_named(f"DICOM folder '{series.folder}'"):
        sources = [_with_missing(header) for header in _sources(series)]
        voxels = hd.Volume(
            np.moveaxis(masks.view(np.uint8), 0, -1),
            ijk_to_lps[:, [2, 1, 0, 3]],
            "PATIENT",
            frame_of_reference_uid=sources[0].FrameOfReferenceUID,
            channels={"SegmentNumber": [description.segment_number for description in descriptions]},
        )
        made: Any = seg.Segmentation(
            *(sources, voxels, "BINARY", descriptions, hd.UID()),
            series_number=SERIES_NUMBER_AFTER + int(sources[0].get("SeriesNumber", None) or 0),
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer=MAKER,
            manufacturer_model_name=MAKER,
            software_versions=context_propagation.__version__,
            device_serial_number="0",
        )
        (measures,) = made.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
        if "SliceThickness" not in measures:  # taken from a multi-frame image that does not say it; readers ask for it
            measures.SliceThickness = measures.SpacingBetweenSlices
    try:
        made.save_as(path)
    except OSError as error:
        raise UserInputError(f"Output '{path.name}' cannot be written; check that its folder has room") from error


def _refers_to_frames(header: Dataset) -> bool:
    """Whether highdicom takes a file: one of several frames must share orientation and pixel sizes."""
    if int(header.get("NumberOfFrames", None) or 1) == 1:
        return True
    shared = (header.get("SharedFunctionalGroupsSequence", None) or [{}])[0]
    return all(keyword in shared for keyword in ("PlaneOrientationSequence", "PixelMeasuresSequence"))


def _sources(series: DicomSeries) -> list[Dataset]:
    """The headers of a series' files: one for each slice, or one for all of them."""
    if "ReferencedFrameNumber" not in series.slices[0]:
        return list(series.slices)
    header = copy.copy(series.slices[0])
    del header.ReferencedFrameNumber
    return [header]


def _with_missing(header: Dataset) -> Dataset:
    """A slice's header with the attributes empty that every DICOM object has and some exports leave out."""
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime",
                    "StudyID", "AccessionNumber", "ReferringPhysicianName"):  # fmt: skip
        if keyword not in header:
            setattr(header, keyword, "")
    return header


def _algorithm() -> Any:
    hd = require("highdicom", extra=EXTRA)
    family = require("highdicom.sr", extra=EXTRA).CodedConcept("123110", "DCM", "Artificial Intelligence")
    return hd.AlgorithmIdentificationSequence(name=MAKER, version=context_propagation.__version__, family=family)
