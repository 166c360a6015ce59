"""An RT Structure Set as an object: what it says of patient, study, series and itself; and its file."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import context_propagation
from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require
from context_propagation.files.decimal_strings import shorten_decimal_strings
from context_propagation.files.dicom_files import EXTRA
from context_propagation.files.dicom_series import DicomSeries
from context_propagation.files.rtstruct_reading import RT_STRUCTURE_SET_STORAGE

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset
    from pydicom.dataelem import RawDataElement
    from pydicom.uid import UID


logger = logging.getLogger(__name__)


MAKER = "slicer-context-propagation"


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


def empty_structure_set(series: DicomSeries) -> Dataset:
    """Everything but ROIs; texts are stored as UTF-8, whatever the series' character set is."""
    source = series.slices[0]
    dataset = new_dataset(SpecificCharacterSet="ISO_IR 192")
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


def refer_to_series(dataset: Dataset, series: DicomSeries) -> None:
    """List the series' slices in the frame of reference, study and series items, adding what is missing."""
    study_uid = str(series.slices[0].StudyInstanceUID)
    frame = _item(dataset, "ReferencedFrameOfReferenceSequence", "FrameOfReferenceUID", series.frame_of_reference)
    study = _item(frame, "RTReferencedStudySequence", "ReferencedSOPInstanceUID", study_uid)
    study.ReferencedSOPClassUID = study.get("ReferencedSOPClassUID", STUDY_SOP_CLASS)
    listed = _item(study, "RTReferencedSeriesSequence", "SeriesInstanceUID", series.uid)
    known = list(listed.get("ContourImageSequence", None) or [])
    uids = {str(one.ReferencedSOPInstanceUID) for one in known}
    objects = {str(header.SOPInstanceUID): header for header in series.slices}  # one for all frames of a file
    missing = [reference_to(header, with_frame=False) for uid, header in objects.items() if uid not in uids]
    listed.ContourImageSequence = [*known, *missing]


def _item(parent: Dataset, sequence: str, keyword: str, value: str) -> Dataset:
    """The item of a sequence that has a value, added where there is none."""
    items = list(parent.get(sequence, None) or [])
    for item in items:
        if str(item.get(keyword, "")) == value:
            return item
    item = new_dataset(**{keyword: value})
    setattr(parent, sequence, [*items, item])
    return item


def reference_to(header: Dataset, with_frame: bool = True) -> Dataset:
    reference = new_dataset(ReferencedSOPClassUID=header.SOPClassUID, ReferencedSOPInstanceUID=header.SOPInstanceUID)
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


def save_structure_set(path: Path, dataset: Dataset, label: str) -> None:
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
        pydicom.dcmwrite(path, dataset, **_as_a_whole_file(dataset, syntax))
    except OSError as error:
        raise UserInputError(f"Output '{path.name}' cannot be written; check that its folder has room") from error


def _as_a_whole_file(dataset: Dataset, syntax: UID) -> dict[str, bool]:
    """How pydicom is told to write a file with preamble: from 3 on, and in 2, which Slicer 5.10 has."""
    if int(require("pydicom", extra=EXTRA).__version__.split(".")[0]) >= 3:
        return {"enforce_file_format": True}
    dataset.is_little_endian, dataset.is_implicit_VR = True, syntax.is_implicit_VR
    return {"write_like_original": False}


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


def new_dataset(**values: object) -> Dataset:
    """A dataset with attributes by keyword."""
    dataset = require("pydicom", extra=EXTRA).Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset
