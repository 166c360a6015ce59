"""RT Structure Sets written: a new one of a series, or a given one with new contours on the slices that changed."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import context_propagation
from context_propagation.core.errors import UserInputError
from context_propagation.core.image.even_slices import EvenSlices
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.optional_dependency import require
from context_propagation.files.contour_polygons import traced_polygons
from context_propagation.files.decimal_strings import shorten_decimal_strings
from context_propagation.files.dicom_files import EXTRA, damage_named
from context_propagation.files.dicom_series import (
    DicomSeries,
    framed_folder,
    read_acquired_series,
    read_series,
)
from context_propagation.files.rtstruct_contours import (
    PLAIN,
    XOR,
    PlanarContour,
    contour_items,
    filled,
    leaves,
    planar_contours,
)
from context_propagation.files.rtstruct_reading import (
    RT_STRUCTURE_SET_STORAGE,
    find_roi,
    open_structure_set,
)

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset
    from pydicom.dataelem import RawDataElement


logger = logging.getLogger(__name__)


MAKER = "slicer-context-propagation"


COLOR = (230, 60, 60)
"""Red, green, blue of an ROI that has none."""


AUTOMATIC, SEMIAUTOMATIC = "AUTOMATIC", "SEMIAUTOMATIC"


STUDY_SOP_CLASS = "1.2.840.10008.3.1.2.3.1"
"""Detached Study Management: retired, and what others write for the study that a structure set refers to."""


LONGEST_EXPLICIT = 65534
"""Bytes that a value may have where its type is written out with a length of 16 bits."""


STUDY_AND_PATIENT = (
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
)
"""Type 1 and 2 attributes that belong to the study and the patient, and so are those of the series."""


REVIEW_AND_SIGNATURE = (
    "ReviewDate",
    "ReviewTime",
    "ReviewerName",
    "DigitalSignaturesSequence",
    "MACParametersSequence",
)
"""What was said of the contours before they changed."""


def write_new_structure_set(
    path: Path, mask: np.ndarray, name: str, volume: SourceVolume, images: Sequence[Path], algorithm: str
) -> None:
    """Write a structure set of one ROI.

    Args:
        path: Where to write.
        mask: bool `[K, J, I]`.
        name: Of the ROI.
        volume: The image.
        images: Its files; the first DICOM folder with a frame of reference is the series that the contours belong to.
        algorithm: "AUTOMATIC" or "SEMIAUTOMATIC".

    Raises:
        UserInputError: The series has no frame of reference, or the file cannot be written.
    """
    _write_new(path, mask, name, volume, read_series(framed_folder(path, images), volume), algorithm)


def write_on_acquired_slices(
    path: Path, mask: np.ndarray, name: str, volume: SourceVolume, even: EvenSlices, folder: Path, algorithm: str
) -> None:
    """Write a structure set of one ROI on the slices of a series of which an even image was made.

    Args:
        path: Where to write.
        mask: bool `[K, J, I]` of the even image; each acquired slice takes the even slice that it is the source of.
        name: Of the ROI.
        volume: The even image.
        even: How it was made.
        folder: The series.
        algorithm: "AUTOMATIC" or "SEMIAUTOMATIC".

    Raises:
        UserInputError: The series has no frame of reference, or the file cannot be written.
    """
    series = read_acquired_series(framed_folder(path, [folder]), volume, even)
    _write_new(path, even.back(mask), name, volume, series, algorithm)


def _write_new(
    path: Path, mask: np.ndarray, name: str, volume: SourceVolume, series: DicomSeries, algorithm: str
) -> None:
    """Write a structure set of one ROI, a mask on the slices of the series."""
    with damage_named(f"DICOM folder '{series.folder}'"):
        dataset = _empty_structure_set(series)
        item = _add_roi(dataset, name, series, algorithm)
        _set_contours(
            item, [], _new_contours(((k, (mask[k], (0, 0))) for k in range(len(mask))), volume, series, PLAIN)
        )
        _refer_to_series(dataset, series)
        _save(path, dataset, "predicted" if algorithm == AUTOMATIC else "propagated")


def write_changed_roi(
    path: Path,
    given: Path,
    name: str,
    change: tuple[np.ndarray, np.ndarray],
    volume: SourceVolume,
    images: Sequence[Path],
) -> None:
    """Write a given structure set with one ROI changed.

    The other ROIs, and the contours of the slices that did not change, keep their values digit by digit.

    Args:
        path: Where to write; not `given`.
        given: The structure set.
        name: Of the ROI, as for `read_roi`.
        change: bool `[K, J, I]` each: the ROI as it was read, and as it shall be.
        volume: The image.
        images: Its files.

    Raises:
        UserInputError: As `read_roi`, or the file cannot be written.
    """
    before, after = change
    with damage_named(f"RT Structure Set '{given}'"):
        structure_set = open_structure_set(given, volume, images)
        dataset, roi = structure_set.dataset, find_roi(structure_set, name)
        item, *further = _contour_items(dataset, roi)
        drawn = planar_contours(structure_set, roi, volume)
        kind = XOR if any(one.item.ContourGeometricType == XOR for one in drawn) else PLAIN
        changed = np.flatnonzero((before ^ after).any(axis=(1, 2))).tolist()
        kept = [one.item for one in drawn if one.k not in changed]
        for other in further:  # an ROI whose contours were split over several items
            other.pop("ContourSequence", None)
        masks = (_with_rest([one for one in drawn if one.k == k], after[k]) for k in changed)
        pieces = zip(changed, masks, strict=True)
        _set_contours(item, kept, _new_contours(pieces, volume, structure_set.series, kind))
        roi.ROIGenerationAlgorithm = SEMIAUTOMATIC
        _refer_to_series(dataset, structure_set.series)
        dataset.PredecessorStructureSetSequence = [_reference_to(dataset)]
        _save(path, dataset, "propagated")


def _set_contours(item: Dataset, kept: Sequence[Dataset], drawn: Iterable[Dataset]) -> None:
    """Give an ROI its contours; new ones are numbered where the kept ones are."""
    drawn = list(drawn)
    numbers = [int(one.ContourNumber) for one in kept if one.get("ContourNumber") is not None]
    for number, contour in enumerate(drawn if numbers else (), start=max(numbers, default=0) + 1):
        contour.ContourNumber = number
    if kept or drawn:
        item.ContourSequence = [*kept, *drawn]
    elif "ContourSequence" in item:
        del item.ContourSequence


def _contour_items(dataset: Dataset, roi: Dataset) -> list[Dataset]:
    """The ROI's items in the ROI Contour Sequence, of which one is added where it has none yet."""
    items = contour_items(dataset, roi)
    if not items:
        items = [_new(ReferencedROINumber=roi.ROINumber, ROIDisplayColor=list(COLOR))]
        dataset.ROIContourSequence = [*dataset.get("ROIContourSequence", []), *items]
    return items


def _with_rest(drawn: Sequence[PlanarContour], after: np.ndarray) -> _Piece:
    """A slice's new voxels, and with them what the contours so far enclose beside the image."""
    if not any(leaves(contour, after.shape) for contour in drawn):
        return after, (0, 0)
    points = np.concatenate([contour.points_ji for contour in drawn])
    first = np.minimum(np.floor(points.min(0)), 0).astype(int)
    last = np.maximum(np.ceil(points.max(0)) + 1, after.shape).astype(int)
    mask = filled(drawn, (int(last[0] - first[0]), int(last[1] - first[1])), first.tolist()).mask
    mask[-first[0] : after.shape[0] - first[0], -first[1] : after.shape[1] - first[1]] = after
    return mask, (int(first[0]), int(first[1]))


_Piece = tuple[np.ndarray, tuple[int, int]]
"""A mask `[J, I]` and the indices (j, i) at which it starts."""


def _new_contours(
    pieces: Iterable[tuple[int, _Piece]], volume: SourceVolume, series: DicomSeries, kind: str
) -> Iterator[Dataset]:
    for k, (mask, start_ji) in pieces:
        for points_ji in traced_polygons(mask, keyholes=kind == PLAIN):
            j, i = (points_ji + start_ji).T
            points_lps = (volume.ijk_to_lps @ [i, j, np.full_like(i, series.places[k]), np.ones_like(i)])[:3].T
            yield _new(
                ContourImageSequence=[_reference_to(series.slices[k])],
                ContourGeometricType=kind,
                NumberOfContourPoints=len(points_lps),
                ContourData=[_decimal_string(value) for value in points_lps.ravel().tolist()],
            )


def _decimal_string(value_mm: float) -> str:
    """A coordinate to a millionth of a millimetre, in the 16 characters that DICOM allows."""
    fixed = f"{value_mm:.6f}".rstrip("0").rstrip(".")
    return fixed if len(fixed) <= 16 else str(require("pydicom.valuerep", extra=EXTRA).format_number_as_ds(value_mm))


def _empty_structure_set(series: DicomSeries) -> Dataset:
    """Everything but ROIs; texts are stored as UTF-8, whatever the series' character set is."""
    source = series.slices[0]
    dataset = _new(SpecificCharacterSet="ISO_IR 192")
    for keyword in STUDY_AND_PATIENT:
        value = source.get(keyword, "")
        setattr(dataset, keyword, "" if value is None else str(value))
    dataset.SOPClassUID = RT_STRUCTURE_SET_STORAGE
    dataset.Modality = "RTSTRUCT"
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    dataset.OperatorsName = ""
    dataset.FrameOfReferenceUID = series.frame_of_reference
    dataset.PositionReferenceIndicator = ""
    return dataset


def _add_roi(dataset: Dataset, name: str, series: DicomSeries, algorithm: str) -> Dataset:
    """Add an ROI without contours; its item in the ROI Contour Sequence."""
    frame = series.frame_of_reference
    roi = _new(ROINumber=1, ReferencedFrameOfReferenceUID=frame, ROIName=name, ROIGenerationAlgorithm=algorithm)
    kind = next((target for target in ("GTV", "CTV", "PTV") if name.upper().startswith(target)), "")
    observation = _new(ObservationNumber=1, ReferencedROINumber=1, RTROIInterpretedType=kind, ROIInterpreter="")
    dataset.StructureSetROISequence = [roi]
    dataset.RTROIObservationsSequence = [observation]
    return _contour_items(dataset, roi)[0]


def _refer_to_series(dataset: Dataset, series: DicomSeries) -> None:
    """List the series' slices in the frame of reference, study and series items, adding what is missing."""
    study_uid = str(series.slices[0].StudyInstanceUID)
    frame = _item(dataset, "ReferencedFrameOfReferenceSequence", "FrameOfReferenceUID", series.frame_of_reference)
    study = _item(frame, "RTReferencedStudySequence", "ReferencedSOPInstanceUID", study_uid)
    study.ReferencedSOPClassUID = study.get("ReferencedSOPClassUID", STUDY_SOP_CLASS)
    listed = _item(study, "RTReferencedSeriesSequence", "SeriesInstanceUID", series.uid)
    known = list(listed.get("ContourImageSequence", None) or [])
    uids = {str(one.ReferencedSOPInstanceUID) for one in known}
    objects = {str(header.SOPInstanceUID): header for header in series.slices}  # one for all frames of a file
    missing = [_reference_to(header, with_frame=False) for uid, header in objects.items() if uid not in uids]
    listed.ContourImageSequence = [*known, *missing]


def _item(parent: Dataset, sequence: str, keyword: str, value: str) -> Dataset:
    """The item of a sequence that has a value, added where there is none."""
    items = list(parent.get(sequence, None) or [])
    for item in items:
        if str(item.get(keyword, "")) == value:
            return item
    item = _new(**{keyword: value})
    setattr(parent, sequence, [*items, item])
    return item


def _reference_to(header: Dataset, with_frame: bool = True) -> Dataset:
    reference = _new(ReferencedSOPClassUID=header.SOPClassUID, ReferencedSOPInstanceUID=header.SOPInstanceUID)
    if with_frame and "ReferencedFrameNumber" in header:
        reference.ReferencedFrameNumber = header.ReferencedFrameNumber
    return reference


def _mark_as_new(dataset: Dataset, label: str) -> None:
    """An object of its own: identifiers, times, maker; not approved by anybody."""
    now, uid = datetime.now(), require("pydicom.uid", extra=EXTRA)
    dataset.SOPInstanceUID = uid.generate_uid(prefix=None)
    dataset.SeriesInstanceUID = uid.generate_uid(prefix=None)
    for kind in ("InstanceCreation", "Series", "StructureSet"):
        setattr(dataset, f"{kind}Date", now.strftime("%Y%m%d"))
        setattr(dataset, f"{kind}Time", now.strftime("%H%M%S"))
    dataset.StructureSetLabel = label
    dataset.SeriesDescription = f"{MAKER}: {label}"
    dataset.Manufacturer = dataset.ManufacturerModelName = MAKER
    dataset.SoftwareVersions = context_propagation.__version__
    dataset.ApprovalStatus = "UNAPPROVED"
    for keyword in REVIEW_AND_SIGNATURE:
        if keyword in dataset:
            delattr(dataset, keyword)


def _save(path: Path, dataset: Dataset, label: str) -> None:
    """Write as a new object, in the transfer syntax that the dataset was read in where contours fit in."""
    pydicom = require("pydicom", extra=EXTRA)
    _mark_as_new(dataset, label)
    mended = shorten_decimal_strings(dataset)
    if mended:
        logger.warning(
            "%d numbers of more than 16 characters, which DICOM does not allow, are shortened to 16 in '%s'",
            *(mended, path.name),
        )
    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", pydicom.uid.ImplicitVRLittleEndian)
    if not syntax.is_implicit_VR and _longest_contour_bytes(dataset) > LONGEST_EXPLICIT:
        syntax = pydicom.uid.ImplicitVRLittleEndian
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    try:
        pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    except OSError as error:
        raise UserInputError(f"Output '{path.name}' cannot be written; check that its folder has room") from error


def _longest_contour_bytes(dataset: Dataset) -> int:
    elements = [
        contour.get_item("ContourData")
        for item in dataset.ROIContourSequence
        for contour in item.get("ContourSequence", None) or []
    ]
    return max((_bytes_of(element) for element in elements), default=0)


def _bytes_of(element: RawDataElement | DataElement) -> int:
    """Of a value that was not parsed yet, or of its numbers with backslashes between."""
    return element.length if element.is_raw else sum(len(str(number)) + 1 for number in element.value)


def _new(**values: object) -> Dataset:
    """A dataset with attributes by keyword."""
    dataset = require("pydicom", extra=EXTRA).Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset
