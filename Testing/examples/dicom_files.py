"""Small CT series and RT Structure Sets, written with pydicom alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RTStructureSetStorage
from pydicom.uid import generate_uid as new_uid


@dataclass(frozen=True)
class Geometry:
    """Where the voxels of a series lie.

    `rows` and `columns` are directions (LPS) along which i and j grow; the slices are written from the last one to the
    first where `downwards` holds.
    """

    spacing_ji: tuple[float, float] = (1.0, 1.0)
    step_mm: float = 2.5
    origin: tuple[float, float, float] = (-31.3, 12.7, -40.0)
    rows: tuple[float, float, float] = (1.0, 0.0, 0.0)
    columns: tuple[float, float, float] = (0.0, 1.0, 0.0)
    downwards: bool = False

    def lps(self, kji: np.ndarray) -> np.ndarray:
        """Patient coordinates `[N, 3]` of indices `[N, 3]`, by the equation of PS3.3 C.7.6.2.1.1."""
        k, j, i = np.asarray(kji, float).T[:, :, None]
        along_rows, along_columns = np.array(self.rows), np.array(self.columns)
        normal = np.cross(along_rows, along_columns)
        steps = i * self.spacing_ji[1] * along_rows + j * self.spacing_ji[0] * along_columns + k * self.step_mm * normal
        return np.array(self.origin) + steps


def oblique() -> Geometry:
    """Rotated about all axes, anisotropic."""
    a, b, c = 0.3, -0.5, 0.2
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    turn = x @ y @ z
    return Geometry((0.7, 1.3), 3.0, rows=tuple(turn[:, 0].tolist()), columns=tuple(turn[:, 1].tolist()))


GEOMETRIES = {
    "axial": Geometry(),
    "anisotropic": Geometry(spacing_ji=(0.8, 1.7)),
    "thick slices from the top": Geometry(step_mm=5.0, downwards=True),
    "thin slices, feet up": Geometry(step_mm=0.6, columns=(0.0, -1.0, 0.0)),
    "sagittal": Geometry(rows=(0.0, 1.0, 0.0), columns=(0.0, 0.0, -1.0)),
    "oblique": oblique(),
}


@dataclass(frozen=True)
class Series:
    """A written series; `slices` are its headers by k."""

    folder: Path
    geometry: Geometry
    slices: tuple[Dataset, ...]


def write_ct_series(folder: Path, voxels: np.ndarray, geometry: Geometry = Geometry(), **changes: object) -> Series:
    """Write whole numbers `[K, J, I]` as a CT; `changes` are attributes of every slice, None removes one."""
    folder.mkdir(exist_ok=True)
    shared = {
        "SOPClassUID": CTImageStorage,
        "StudyInstanceUID": new_uid(),
        "SeriesInstanceUID": new_uid(),
        "FrameOfReferenceUID": new_uid(),
        "SpecificCharacterSet": "ISO_IR 100",
        "PatientName": "Müller^Å",
        "PatientID": "case 1",
        "PatientBirthDate": "19600102",
        "PatientSex": "O",
        "StudyDate": "20200304",
        "StudyTime": "101112",
        "StudyID": "S1",
        "AccessionNumber": "A7",
        "ReferringPhysicianName": "",
        "Modality": "CT",
        **changes,
    }
    slices = []
    for k, image in enumerate(voxels):
        dataset = Dataset()
        for keyword, value in shared.items():
            if value is not None:
                setattr(dataset, keyword, value)
        dataset.SOPInstanceUID = new_uid()
        dataset.ImagePositionPatient = geometry.lps([[k, 0, 0]])[0].round(9).tolist()
        dataset.ImageOrientationPatient = [round(float(x), 12) for x in (*geometry.rows, *geometry.columns)]
        dataset.PixelSpacing = list(geometry.spacing_ji)
        dataset.SliceThickness = geometry.step_mm
        dataset.InstanceNumber = len(voxels) - k if geometry.downwards else k + 1
        dataset.Rows, dataset.Columns = image.shape
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated = dataset.BitsStored = 16
        dataset.HighBit, dataset.PixelRepresentation = 15, 1
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
        dataset.PixelData = image.astype("<i2").tobytes()
        save(folder / f"{dataset.InstanceNumber:03d}.dcm", dataset, ExplicitVRLittleEndian)
        slices.append(dataset)
    return Series(folder, geometry, tuple(slices))


@dataclass(frozen=True)
class Roi:
    """An ROI; `contours` are `(k, [(j, i), ...])` in voxel indices."""

    name: str
    contours: Sequence[tuple[float, Sequence[tuple[float, float]]]] = ()
    color: tuple[int, int, int] = (0, 255, 0)
    kind: str = "CLOSED_PLANAR"
    attributes: dict[str, object] = field(default_factory=dict)


def write_structure_set(
    path: Path, series: Series, rois: Sequence[Roi], *, references: bool = True, syntax: str = ExplicitVRLittleEndian
) -> Path:
    """Write an approved structure set as a planning system would, ROI numbers with gaps."""
    source = series.slices[0]
    frame = source.get("FrameOfReferenceUID", new_uid())
    dataset = made(
        SOPClassUID=RTStructureSetStorage,
        SOPInstanceUID=new_uid(),
        StudyInstanceUID=source.StudyInstanceUID,
        SeriesInstanceUID=new_uid(),
        SpecificCharacterSet="ISO_IR 100",
        Modality="RTSTRUCT",
        Manufacturer="Planner",
        PatientName=source.PatientName,
        PatientID=source.PatientID,
        StructureSetLabel="PLAN",
        StructureSetDate="20200305",
        StructureSetTime="080000",
        ApprovalStatus="APPROVED",
        ReviewDate="20200306",
        ReviewTime="090000",
        ReviewerName="Somebody",
        ReferencedFrameOfReferenceSequence=[made(FrameOfReferenceUID=frame)],
        StructureSetROISequence=[],
        ROIContourSequence=[],
        RTROIObservationsSequence=[],
    )
    for number, roi in zip(range(3, 1000, 4), rois, strict=False):
        dataset.StructureSetROISequence.append(
            made(
                ROINumber=number, ReferencedFrameOfReferenceUID=frame, ROIName=roi.name, ROIGenerationAlgorithm="MANUAL"
            )
        )
        contours = [_contour(series, k, points, roi.kind, references) for k, points in roi.contours]
        dataset.ROIContourSequence.append(
            made(
                ReferencedROINumber=number, ROIDisplayColor=list(roi.color), ContourSequence=contours, **roi.attributes
            )
        )
        dataset.RTROIObservationsSequence.append(
            made(ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType="GTV", ROIInterpreter="X^Y")
        )
    save(path, dataset, syntax)
    return path


def _contour(series: Series, k: float, points: Sequence[tuple[float, float]], kind: str, references: bool) -> Dataset:
    points_lps = series.geometry.lps([(k, j, i) for j, i in points])
    contour = made(
        ContourGeometricType=kind,
        NumberOfContourPoints=len(points),
        ContourData=[f"{value:+.5f}" for value in points_lps.ravel()],
    )
    if references:
        header = series.slices[round(k)]
        contour.ContourImageSequence = [
            made(ReferencedSOPClassUID=header.SOPClassUID, ReferencedSOPInstanceUID=header.SOPInstanceUID)
        ]
    return contour


def made(**values: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def save(path: Path, dataset: Dataset, syntax: str = ImplicitVRLittleEndian) -> None:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, enforce_file_format=True)
