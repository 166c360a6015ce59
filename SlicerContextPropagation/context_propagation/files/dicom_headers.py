"""The headers of the slices in a DICOM folder: one file for each slice, or one for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk

from context_propagation.core.errors import UserInputError
from context_propagation.files.dicom_files import damage_named, read_dicom

if TYPE_CHECKING:
    from pydicom import Dataset

POSITION, ORIENTATION, SPACING = "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"


PLACE = {POSITION: ("0020|0032", 3), ORIENTATION: ("0020|0037", 6), SPACING: ("0028|0030", 2)}
"""The attributes that place a slice: tag, and how many numbers."""


SHARED = {"FrameOfReferenceUID": "0020|0052", "PatientID": "0010|0020", "PatientName": "0010|0010"}
"""What all slices of a series have in common."""


PHASE = {
    "TemporalPositionIdentifier": "0020|0100",
    "AcquisitionNumber": "0020|0012",
    "TriggerTime": "0018|1060",
    "EchoTime": "0018|0081",
    "AcquisitionTime": "0008|0032",
    "ContentTime": "0008|0033",
    "ImageType": "0008|0008",
}
"""By what images of one position may differ."""


IMAGE_TYPE, FRAMES = "0008|0008", "0028|0008"


@dataclass(frozen=True)
class SliceHeader:
    """Where a slice lies, by its own header.

    Attributes:
        name: For messages: the file's name, and the frame where it holds several.
        frame: Its number in the file, from 0.
        corner_lps_mm: `[3]`, the centre of its first voxel.
        axes_mm: `[3, 2]`, from one voxel to the next along i and along j.
        shape_ji: Rows and columns.
        shared: Values of `SHARED`.
        phase: Values of `PHASE`.
    """

    name: str
    frame: int
    corner_lps_mm: np.ndarray
    axes_mm: np.ndarray
    shape_ji: tuple[int, int]
    shared: dict[str, str]
    phase: dict[str, str]


def series_files(folder: Path) -> tuple[str, ...]:
    """The files of the one series in a folder; other DICOM objects, and localizers among the slices, are left out.

    Raises:
        UserInputError: The folder holds no series, or several.
    """
    return slices_and_localizers(folder)[0]


def slices_and_localizers(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The files of the one series in a folder, and those of them whose image type says that they are localizers.

    Where all are localizers, they are taken as slices.

    Raises:
        UserInputError: The folder holds no series, or several.
    """
    files = _all_files(folder)
    found = [file for file in files if "LOCALIZER" in value_of(header_of(file), IMAGE_TYPE).upper().split("\\")]
    if len(found) == len(files):
        return files, ()
    return tuple(file for file in files if file not in found), tuple(found)


def _all_files(folder: Path) -> tuple[str, ...]:
    if not any(folder.iterdir()):
        raise UserInputError(f"DICOM folder '{folder}' is empty; check the path")
    try:
        series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    except RuntimeError as error:
        raise UserInputError(f"DICOM folder '{folder}' holds a damaged file; export the series again") from error
    if not series:
        raise UserInputError(f"Folder '{folder}' holds no DICOM series; give NIfTI, NRRD, MHA or a DICOM folder")
    files = {uid: sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), uid) for uid in series}
    if len(series) > 1:
        names = "; ".join(f"{_description(names[0])} ({len(names)} slices, {uid})" for uid, names in files.items())
        raise UserInputError(
            f"DICOM folder '{folder}' holds {len(series)} series: {names}; put the wanted one in its own folder"
        )
    return tuple(files[series[0]])


def header_of(file: str) -> sitk.ImageFileReader:
    """A reader that has read a file's header.

    Raises:
        UserInputError: GDCM cannot read it.
    """
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(file)
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise UserInputError(f"DICOM file '{file}' cannot be read; export the series again") from error
    return reader


def frames_of(file: str) -> int:
    """How many slices a file holds."""
    text = value_of(header_of(file), FRAMES)
    return int(text) if text.isdigit() else 1


def slice_headers(files: Sequence[str]) -> list[SliceHeader]:
    """The headers of files of one slice each.

    Raises:
        UserInputError: A slice does not say where it lies.
    """
    return [_slice_header(file) for file in files]


def _slice_header(file: str) -> SliceHeader:
    reader = header_of(file)
    given = {keyword: value_of(reader, tag).split("\\") for keyword, (tag, _) in PLACE.items()}
    columns, rows, *further = reader.GetSize()
    if further and further[0] > 1:
        raise UserInputError(
            f"DICOM file '{file}' has {further[0]} frames and lies among other files; "
            "put the one that is meant in a folder of its own"
        )
    shared, phase = ({name: value_of(reader, tag) for name, tag in tags.items()} for tags in (SHARED, PHASE))
    return _header(f"'{Path(file).name}'", 0, given, (rows, columns), shared, phase)


def frame_headers(file: str) -> list[SliceHeader]:
    """The headers of the frames of one file, in their order there; voxels are not read.

    Raises:
        UserInputError: A frame does not say where it lies.
    """
    path = Path(file)
    with damage_named(f"DICOM file '{path}'"):
        dataset = read_dicom(path, with_voxels=False)
        shape = int(dataset.Rows), int(dataset.Columns)
        shared = {name: str(dataset.get(name, "")) for name in SHARED}
        return [
            _header(f"frame {n + 1} of '{path.name}'", n, _place_of_frame(dataset, n), shape, shared, {})
            for n in range(int(dataset.NumberOfFrames))
        ]


def _place_of_frame(dataset: Dataset, number: int) -> dict[str, Sequence[object]]:
    groups = groups_of(dataset, number)
    sequences = {POSITION: "PlanePositionSequence", ORIENTATION: "PlaneOrientationSequence",
                 SPACING: "PixelMeasuresSequence"}  # fmt: skip
    place: dict[str, Sequence[object]] = {}
    for keyword, sequence in sequences.items():
        items = [item for group in groups for item in group.get(sequence, [])]
        place[keyword] = next((list(item[keyword].value) for item in items if item.get(keyword) is not None), [])
    if not groups and "GridFrameOffsetVector" in dataset:  # of a dose
        place = {keyword: list(dataset.get(keyword, None) or []) for keyword in place}
        rows = np.array(place[ORIENTATION], float).reshape(2, 3)
        offset = float(dataset.GridFrameOffsetVector[number]) - float(dataset.GridFrameOffsetVector[0])
        place[POSITION] = (np.array(place[POSITION], float) + offset * np.cross(*rows)).tolist()
    return place


def groups_of(dataset: Dataset, number: int) -> list[Dataset]:
    """What a multi-frame image says of a frame alone, then what it says of all."""
    own = list(dataset.get("PerFrameFunctionalGroupsSequence", None) or [])
    shared = list(dataset.get("SharedFunctionalGroupsSequence", None) or [])
    return own[number : number + 1] + shared


def _header(
    name: str,
    frame: int,
    given: dict[str, Sequence[object]],
    shape_ji: tuple[int, int],
    shared: dict[str, str],
    phase: dict[str, str],
) -> SliceHeader:
    place = {keyword: _numbers(name, keyword, values) for keyword, values in given.items()}
    row_mm, column_mm = place[SPACING]
    directions = place[ORIENTATION].reshape(2, 3)
    if not (min(row_mm, column_mm) > 0 and (np.linalg.norm(directions, axis=1) > 0).all()):
        raise UserInputError(
            f"DICOM slice {name} has no usable pixel spacing or orientation ({row_mm:g} x {column_mm:g} mm, "
            f"{directions.tolist()}); export the series again"
        )
    axes = np.column_stack([directions[0] * column_mm, directions[1] * row_mm])
    return SliceHeader(name, frame, place[POSITION], axes, shape_ji, shared, phase)


def _numbers(name: str, keyword: str, values: Sequence[object]) -> np.ndarray:
    if not [value for value in values if str(value).strip()]:
        raise UserInputError(
            f"DICOM slice {name} has no {keyword}, so that its place is unknown; export the series again"
        )
    try:
        numbers = np.array([float(str(value)) for value in values])
    except ValueError:
        numbers = np.array([np.nan])
    if len(numbers) != PLACE[keyword][1] or not np.isfinite(numbers).all():
        text = "\\".join(str(value) for value in values)[:80]
        raise UserInputError(
            f"DICOM slice {name} has the {keyword} '{text}', which is not {PLACE[keyword][1]} numbers; "
            "export the series again"
        )
    return numbers


def value_of(reader: sitk.ImageFileReader, tag: str) -> str:
    """What a header says under a tag such as "0028|0008"; empty where it says nothing."""
    return str(reader.GetMetaData(tag)).strip(" \0") if reader.HasMetaDataKey(tag) else ""


def _description(file: str) -> str:
    description = value_of(header_of(file), "0008|103e")
    return f"'{description}'" if description else "without description"
