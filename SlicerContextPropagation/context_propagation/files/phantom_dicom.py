"""A phantom as DICOM: a CT series, a PET series in SUV where there is one, and the GTV as an RT Structure Set."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.optional_dependency import require
from context_propagation.core.phantom.phantom import Phantom

if TYPE_CHECKING:
    from pydicom import Dataset


EXTRA = "dicom"


DATE, TIME = "20000101", "120000"


PET_STEP = 0.001
"""SUV of one grey value."""


def write_phantom_dicom(phantom: Phantom, name: str, folder: Path) -> None:
    """Write `CT/`, `PET/` where there is one, and `RTSTRUCT.dcm` into an existing folder.

    Args:
        phantom: The case.
        name: Patient's name and ID; all identifiers but the structure set's follow from it and the voxels.
        folder: Of the case.
    """
    from context_propagation.files.dicom_series import read_series
    from context_propagation.files.rtstruct_writing import AUTOMATIC, PREDICTED, write_new_structure_set
    from context_propagation.files.structures import Structure

    study = _Study(phantom, name)
    study.write_series(folder / "CT", phantom.ct, "CT", {"RescaleType": "HU", "RescaleSlope": 1}, signed=True)
    if phantom.pet is not None:
        about = {"Units": "GML", "SUVType": "BW", "RescaleSlope": PET_STEP, "ImageIndex": 1}
        study.write_series(folder / "PET", np.rint(phantom.pet / PET_STEP), "PT", about, signed=False)
    volume = SourceVolume.from_sitk([phantom.image(phantom.ct)])
    series, target = read_series(folder / "CT", volume), Structure.of("GTV", phantom.gtv)
    write_new_structure_set(folder / "RTSTRUCT.dcm", [target], volume, series, AUTOMATIC, PREDICTED)


class _Study:
    """What the series of one patient share."""

    def __init__(self, phantom: Phantom, name: str) -> None:
        self.name = name
        self.spacing = phantom.spacing_ijk_mm
        self.origin = phantom.image(phantom.gtv).GetOrigin()
        self.seed = f"{name} {phantom.spacing_ijk_mm} {hashlib.sha256(phantom.ct.tobytes()).hexdigest()}"

    def uid(self, what: str) -> str:
        """The same for the same phantom."""
        return str(require("pydicom.uid", EXTRA).generate_uid(entropy_srcs=[self.seed, what]))

    def write_series(
        self, folder: Path, voxels: np.ndarray, modality: str, about: dict[str, Any], signed: bool
    ) -> None:
        """One file for each slice."""
        uids = require("pydicom.uid", EXTRA)
        folder.mkdir()
        storage = uids.CTImageStorage if modality == "CT" else uids.PositronEmissionTomographyImageStorage
        for k, image in enumerate(voxels):
            dataset = self._slice(k, image.astype("<i2" if signed else "<u2"), modality, int(signed))
            for keyword, value in {**about, "SOPClassUID": storage}.items():
                setattr(dataset, keyword, value)
            if "ImageIndex" in about:
                dataset.ImageIndex = k + 1
            dataset.file_meta = require("pydicom.dataset", EXTRA).FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = uids.ExplicitVRLittleEndian
            dataset.save_as(folder / f"{k + 1:03d}.dcm", enforce_file_format=True)

    def _slice(self, k: int, image: np.ndarray, modality: str, sign: int) -> Dataset:
        """The patient, the study, and where the slice lies."""
        i_mm, j_mm, k_mm = self.spacing
        values = {
            "PatientName": self.name, "PatientID": self.name, "PatientBirthDate": "", "PatientSex": "O",
            "PatientPosition": "HFS", "PositionReferenceIndicator": "", "StudyID": "1", "AccessionNumber": "",
            "ReferringPhysicianName": "", "Manufacturer": "SlicerContextPropagation phantom",
            "StudyDate": DATE, "StudyTime": TIME, "SeriesDate": DATE, "SeriesTime": TIME,
            "StudyInstanceUID": self.uid("study"), "FrameOfReferenceUID": self.uid("frame"),
            "SeriesInstanceUID": self.uid(modality), "SOPInstanceUID": self.uid(f"{modality} {k}"),
            "Modality": modality, "SeriesDescription": f"phantom {modality}", "SeriesNumber": 1 + (modality != "CT"),
            "InstanceNumber": k + 1, "ImageType": ["DERIVED", "SECONDARY", "AXIAL"],
            "ImagePositionPatient": [self.origin[0], self.origin[1], self.origin[2] + k * k_mm],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [j_mm, i_mm], "SliceThickness": k_mm,
            "Rows": image.shape[0], "Columns": image.shape[1], "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
            "PixelRepresentation": sign, "RescaleIntercept": 0, "PixelData": image.tobytes(),
        }  # fmt: skip
        dataset: Dataset = require("pydicom", EXTRA).Dataset()
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        return dataset
