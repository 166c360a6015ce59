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

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.optional_dependency import require
from context_propagation.files.contour_polygons import filled_polygons
from context_propagation.files.dicom_files import EXTRA, damage_named, has_dicom_content, read_dicom
from context_propagation.files.dicom_series import DicomSeries, dicom_folders, read_series, slice_files
from context_propagation.files.segmentation import meant_by

if TYPE_CHECKING:
    from pydicom import Dataset


logger = logging.getLogger(__name__)


RTSTRUCT = ".dcm"


RT_STRUCTURE_SET_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"


REQUIRED = ("StructureSetROISequence", "ROIContourSequence", "RTROIObservationsSequence")
"""What every structure set has, in the order of the file: where the last is there, no contour was cut off."""


CLOSED_TYPES = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


NEAREST_SLICES = 0.5
"""How far from a slice a contour may lie, in slices."""


PARALLEL_SLICES = 0.1
"""By how much a contour's points may differ along the slice normal, in slices; and contours that share a slice."""


@dataclass(frozen=True)
class ReadRoi:
    """An ROI of a structure set.

    Attributes:
        mask: bool `[K, J, I]` on the image's grid.
        other_names: The names of the other ROIs.
    """

    mask: np.ndarray
    other_names: tuple[str, ...]


@dataclass(frozen=True)
class PlanarContour:
    """One closed contour.

    Attributes:
        item: The item of the Contour Sequence.
        k: The slice on which it lies.
        offset: How far from that slice it was drawn, in slices.
        points_ji: float `[N, 2]`, voxel indices.
    """

    item: Dataset
    k: int
    offset: float
    points_ji: np.ndarray


@dataclass(frozen=True)
class StructureSet:
    """A structure set and the series that it is about.

    Attributes:
        path: The file.
        dataset: All of it.
        series: The image's series, in the same frame of reference.
    """

    path: Path
    dataset: Dataset
    series: DicomSeries


def has_rtstruct_name(path: Path) -> bool:
    """Whether an output of this name is an RT Structure Set."""
    return path.name.lower().endswith(RTSTRUCT)


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
    framed_folder(path, images)
    for folder in _folders_for(path, images):
        if path.resolve() in {file.resolve() for file in slice_files(folder)}:
            raise UserInputError(f"Output '{path}' is a slice of the image; choose another name")


def framed_folder(path: Path, images: Sequence[Path]) -> Path:
    """The first DICOM folder of an image that a new structure set can be tied to.

    Raises:
        UserInputError: No channel is a DICOM folder, or none has a frame of reference.
    """
    require("skimage.measure", extra=EXTRA)
    folders = _folders_for(path, images)
    for folder in folders:
        with damage_named(f"DICOM folder '{folder}'"):
            if read_dicom(slice_files(folder)[0], with_voxels=False).get("FrameOfReferenceUID"):
                return folder
    raise UserInputError(
        f"DICOM folder '{folders[0]}' has no frame of reference, so that contours could not be tied to it; "
        "export the series again, or write .seg.nrrd or .nii.gz"
    )


def read_roi(path: Path, name: str, volume: SourceVolume, images: Sequence[Path]) -> ReadRoi:
    """Read one ROI of a structure set.

    A voxel belongs to the ROI where its centre lies inside the contours; contours of one slice are combined by
    exclusive or, so that an inner one is a hole.

    Args:
        path: An RT Structure Set.
        name: The ROI's name; otherwise the only one of that name in other case, or the only ROI.
        volume: The image.
        images: Its files; one is the DICOM folder that the contours belong to.

    Raises:
        UserInputError: The file is no complete RT Structure Set, lacks the ROI, belongs to another frame of reference,
            or has contours off the slices, on no slice plane, open, or beside the image.
    """
    with damage_named(f"RT Structure Set '{path}'"):
        structure_set = open_structure_set(path, volume, images)
        roi = find_roi(structure_set, name)
        contours = planar_contours(structure_set, roi, volume)
        _warn(structure_set, roi, name, contours, volume)
        others = tuple(_name(other) for other in structure_set.dataset.StructureSetROISequence if other is not roi)
        return ReadRoi(_mask(contours, volume, path), others)


def open_structure_set(path: Path, volume: SourceVolume, images: Sequence[Path]) -> StructureSet:
    """Read the file, and the series that it belongs to; within `damage_named`.

    Raises:
        UserInputError: No RT Structure Set, no DICOM folder, or another frame of reference.
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
    found = [read_series(folder, volume) for folder in _folders_for(path, images)]
    fitting = [series for series in found if series.frame_of_reference and series.frame_of_reference in frames]
    if not fitting:
        raise _wrong_frame(path, frames, found)
    referenced = _referenced_series(dataset)
    return StructureSet(path, dataset, next((one for one in fitting if one.uid in referenced), fitting[0]))


def find_roi(structure_set: StructureSet, name: str) -> Dataset:
    """The item of the Structure Set ROI Sequence: the one of that name, then in other case, then the only one.

    Raises:
        UserInputError: None or several are meant, or the ROI belongs to another frame of reference.
    """
    rois = list(structure_set.dataset.StructureSetROISequence)
    meant = [rois[number] for number in meant_by(name, [_name(roi) for roi in rois])]
    if len(meant) != 1:
        listed = ", ".join(f"'{_name(roi)}'" for roi in rois) or "none"
        raise UserInputError(
            f"RT Structure Set '{structure_set.path}' has {len(meant)} ROIs named '{name}'; its ROIs are {listed}: "
            "name the one that is meant with --segment"
        )
    frame = str(meant[0].get("ReferencedFrameOfReferenceUID", "") or "")
    if frame not in ("", structure_set.series.frame_of_reference):
        raise _wrong_frame(structure_set.path, {frame}, [structure_set.series])
    return meant[0]


def contour_item(dataset: Dataset, roi: Dataset) -> Dataset | None:
    """The item of the ROI Contour Sequence that holds an ROI's colour and contours; None where it has none."""
    items = [one for one in dataset.get("ROIContourSequence", []) if one.ReferencedROINumber == roi.ROINumber]
    return items[0] if items else None


def planar_contours(structure_set: StructureSet, roi: Dataset, volume: SourceVolume) -> list[PlanarContour]:
    """All contours of an ROI, each on its slice; within `damage_named`.

    Raises:
        UserInputError: A contour is open, not parallel to the slices, beyond them, or contours of different planes
            share a slice.
    """
    item = contour_item(structure_set.dataset, roi)
    contours = [] if item is None else list(item.get("ContourSequence", None) or [])
    what = f"ROI '{_name(roi)}' of '{structure_set.path}'"
    found = [_planar_contour(contour, volume, what) for contour in contours]
    _check_planes(found, volume, what)
    return found


def _planar_contour(item: Dataset, volume: SourceVolume, what: str) -> PlanarContour:
    if item.ContourGeometricType not in CLOSED_TYPES:
        raise UserInputError(f"{what} holds a contour of type {item.ContourGeometricType}; give closed planar contours")
    points_lps = np.array(item.ContourData, float).reshape(-1, 3)
    if not len(points_lps) or not np.isfinite(points_lps).all():
        raise UserInputError(f"{what} holds a contour without points, or with values that are not coordinates")
    to_index = np.linalg.inv(volume.ijk_to_lps)
    i, j, k = to_index[:3, :3] @ points_lps.T + to_index[:3, 3:]
    middle, slice_mm = float(k.mean()), volume.spacing_kji_mm[0]
    nearest = int(np.clip(round(middle), 0, volume.shape_kji[0] - 1))
    if np.ptp(k) > PARALLEL_SLICES:
        raise UserInputError(
            f"{what} has a contour that is not parallel to the slices (its points differ by {np.ptp(k) * slice_mm:.3g} "
            "mm along their normal); export contours drawn on this series"
        )
    if abs(middle - nearest) > NEAREST_SLICES:
        raise UserInputError(
            f"{what} has a contour that is {abs(middle - nearest) * slice_mm:.3g} mm off the nearest slice plane, "
            f"and slices are {slice_mm:.3g} mm apart; export contours drawn on this series"
        )
    return PlanarContour(item, nearest, middle - nearest, np.column_stack([j, i]))


def _check_planes(contours: Sequence[PlanarContour], volume: SourceVolume, what: str) -> None:
    """Refuse planes that fall together."""
    for k in sorted({contour.k for contour in contours}):
        offsets = [contour.offset for contour in contours if contour.k == k]
        if np.ptp(offsets) > PARALLEL_SLICES:
            raise UserInputError(
                f"{what} has contours on {len(set(np.round(offsets, 2)))} planes that fall on slice {k}; "
                "give the series that they were drawn on"
            )


def _warn(
    structure_set: StructureSet, roi: Dataset, name: str, contours: Sequence[PlanarContour], volume: SourceVolume
) -> None:
    """Tell of an ROI of another name, and of contours between slices."""
    path, own_name = structure_set.path, _name(roi)
    if own_name.casefold() != name.casefold():
        logger.warning("'%s' holds the ROI '%s' only; it is taken as %s", path, own_name, name)
    off = max((abs(contour.offset) for contour in contours), default=0)
    if off > PARALLEL_SLICES:
        line = "ROI '%s' of '%s' has contours up to %.2g mm off the slices; the nearest slices take them"
        logger.warning(line, own_name, path, off * volume.spacing_kji_mm[0])


def _mask(contours: Sequence[PlanarContour], volume: SourceVolume, path: Path) -> np.ndarray:
    mask = np.zeros(volume.shape_kji, bool)
    shape_ji = volume.shape_kji[1:]
    for k in {contour.k for contour in contours}:
        mask[k] = filled_polygons([contour.points_ji for contour in contours if contour.k == k], shape_ji)
    beside = [one for one in contours if (one.points_ji < -1).any() or (one.points_ji > shape_ji).any()]
    if beside and not mask.any():
        raise UserInputError(f"RT Structure Set '{path}' does not overlap the image; give the one of this image")
    return mask


def _folders_for(path: Path, images: Sequence[Path]) -> list[Path]:
    folders = dicom_folders(images)
    if not folders:
        raise UserInputError(
            f"'{path}' is an RT Structure Set, whose contours lie on the slices of a DICOM series: give that series' "
            "folder as --image, or use .seg.nrrd or .nii.gz"
        )
    return folders


def _wrong_frame(path: Path, frames: set[str], found: Sequence[DicomSeries]) -> UserInputError:
    listed = ", ".join(sorted(frames - {""})) or "none"
    series = " and ".join(f"that of '{one.folder}' is {one.frame_of_reference or 'missing'}" for one in found)
    return UserInputError(
        f"RT Structure Set '{path}' belongs to another series: its frame of reference is {listed}, {series}; "
        "give the series that it was drawn on"
    )


def _referenced_series(dataset: Dataset) -> set[str]:
    return {
        str(series.SeriesInstanceUID)
        for frame in dataset.get("ReferencedFrameOfReferenceSequence", [])
        for study in frame.get("RTReferencedStudySequence", [])
        for series in study.get("RTReferencedSeriesSequence", [])
    }


def _name(roi: Dataset) -> str:
    return str(roi.get("ROIName", "")).strip()
