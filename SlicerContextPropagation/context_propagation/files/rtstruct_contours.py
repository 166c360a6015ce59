"""The contours of an ROI: on which slice each lies, what they enclose, and what is said of those beside the image.

Source: DICOM PS3.3, C.8.8.6 (ROI Contour).
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
from context_propagation.files.contour_polygons import FilledSlice, filled_nested, filled_polygons
from context_propagation.files.dicom_files import EXTRA
from context_propagation.files.dicom_series import DicomSeries

if TYPE_CHECKING:
    from pydicom import Dataset

logger = logging.getLogger(__name__)


CLOSED_TYPES = PLAIN, XOR = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


OFFSET = "ContourOffsetVector"
"""Retired: by how much all points of a contour are to be moved."""


NEAREST_SLICES = 0.5
"""How far from a slice a contour may lie, in slices."""


PARALLEL_SLICES = 0.1
"""By how much a contour's points may differ along the slice normal, in slices; and contours that share a slice."""


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


@dataclass(frozen=True)
class PlanarContour:
    """One closed contour.

    Attributes:
        item: The item of the Contour Sequence.
        k: The slice on which it lies; None beyond the image's slices.
        offset: How far from that slice, or from the nearest one, it was drawn, in slices.
        points_ji: float `[N, 2]`, voxel indices.
    """

    item: Dataset
    k: int | None
    offset: float
    points_ji: np.ndarray


def contour_items(dataset: Dataset, roi: Dataset) -> list[Dataset]:
    """The items of the ROI Contour Sequence that hold an ROI's colour and contours: usually one, or none."""
    return [one for one in dataset.get("ROIContourSequence", []) if one.ReferencedROINumber == roi.ROINumber]


def contours_of(dataset: Dataset, roi: Dataset) -> list[Dataset]:
    """All contours of an ROI."""
    return [contour for item in contour_items(dataset, roi) for contour in item.get("ContourSequence", None) or []]


def planar_contours(structure_set: StructureSet, roi: Dataset, volume: SourceVolume) -> list[PlanarContour]:
    """All contours of an ROI, each on its slice; within `damage_named`.

    Raises:
        UserInputError: A contour is open or not parallel to the slices, or contours of different planes share a slice.
    """
    what = f"ROI '{roi_name(structure_set.dataset, roi)}' of '{structure_set.path}'"
    found = [_planar_contour(contour, volume, what) for contour in contours_of(structure_set.dataset, roi)]
    _check_planes(found, volume, what)
    return found


def _planar_contour(item: Dataset, volume: SourceVolume, what: str) -> PlanarContour:
    if item.ContourGeometricType not in CLOSED_TYPES:
        raise UserInputError(f"{what} holds a contour of type {item.ContourGeometricType}; give closed planar contours")
    if any(float(along) for along in item.get(OFFSET, None) or []):
        raise UserInputError(
            f"{what} holds a contour that is to be moved ({OFFSET}); export it with the points in place"
        )
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
    beyond = abs(middle - nearest) > NEAREST_SLICES
    return PlanarContour(item, None if beyond else nearest, middle - nearest, np.column_stack([j, i]))


def _check_planes(contours: Sequence[PlanarContour], volume: SourceVolume, what: str) -> None:
    """Refuse planes that fall together."""
    for k in sorted({contour.k for contour in contours if contour.k is not None}):
        offsets = [contour.offset for contour in contours if contour.k == k]
        if np.ptp(offsets) > PARALLEL_SLICES:
            raise UserInputError(
                f"{what} has contours on {len(set(np.round(offsets, 2)))} planes that fall on slice {k}; "
                "give the series that they were drawn on"
            )


def warn_of_contours(
    structure_set: StructureSet, roi: Dataset, name: str, contours: Sequence[PlanarContour], volume: SourceVolume
) -> None:
    """Tell of an ROI of another name, and of contours between slices, beside the image, or of another series."""
    path, own_name = structure_set.path, roi_name(structure_set.dataset, roi)
    if own_name.casefold() != name.casefold() and str(roi.ROINumber) != name.strip():
        logger.warning("'%s' holds the ROI '%s' only; it is taken as %s", path, own_name, name)
    off = max((abs(contour.offset) for contour in contours if contour.k is not None), default=0)
    if off > PARALLEL_SLICES:
        line = "ROI '%s' of '%s' has contours up to %.2g mm off the slices; the nearest slices take them"
        logger.warning(line, own_name, path, off * volume.spacing_kji_mm[0])
    beyond, beside = beside_image(contours, volume)
    if beyond or beside:
        logger.warning(
            "ROI '%s' of '%s' lies partly beside the image, by up to %.2f mm: %d of its %d contours beyond the slices, "
            "%d reaching over the edge of theirs; what lies on the image is read, and a structure set that is written "
            "keeps the rest",
            *(own_name, path, mm_beside_image(contours, volume), beyond, len(contours), beside),
        )
    _warn_of_other_series(structure_set, contours)


def _warn_of_other_series(structure_set: StructureSet, contours: Sequence[PlanarContour]) -> None:
    """Series of one frame of reference may be the phases of a breath: the file says on which one it was drawn."""
    series = structure_set.series
    known = {str(header.SOPInstanceUID) for header in series.slices}
    drawn_on = {
        str(image.ReferencedSOPInstanceUID)
        for contour in contours
        for image in contour.item.get("ContourImageSequence", None) or []
    }
    other_series = referenced_series(structure_set.dataset) - {series.uid}
    of_other = not drawn_on & known if drawn_on else other_series and series.uid not in referenced_series(
        structure_set.dataset
    )  # fmt: skip
    if of_other:
        logger.warning(
            "RT Structure Set '%s' was drawn on another series than '%s' (%s), which shares its frame of reference, as "
            "the phases of a breath do; check that the contours fit",
            *(structure_set.path, series.folder, ", ".join(sorted(other_series)) or "its slices are not in the folder"),
        )


def beside_image(contours: Sequence[PlanarContour], volume: SourceVolume) -> tuple[int, int]:
    """How many contours lie beyond the image's slices, and how many reach over the edge of theirs."""
    beyond = sum(contour.k is None for contour in contours)
    return beyond, sum(contour.k is not None and leaves(contour, volume.shape_kji[1:]) for contour in contours)


def mm_beside_image(contours: Sequence[PlanarContour], volume: SourceVolume) -> float:
    """How far the outermost point of all contours lies from the image, whose outer voxels' halves belong to it."""
    slice_mm, *spacing_ji = volume.spacing_kji_mm
    ends = np.array(volume.shape_kji[1:]) - 0.5
    farthest = 0.0
    for contour in contours:
        over_edge = np.maximum(-0.5 - contour.points_ji, contour.points_ji - ends) * spacing_ji
        farthest = max(farthest, (abs(contour.offset) - 0.5) * slice_mm if contour.k is None else 0.0, over_edge.max())
    return float(farthest)


def leaves(contour: PlanarContour, shape_ji: Sequence[int]) -> bool:
    """Whether a contour reaches over the edge of the image's slices, by more than the outer voxels' halves."""
    return bool((contour.points_ji < -0.5 - 1e-3).any() or (contour.points_ji > np.array(shape_ji) - 0.5 + 1e-3).any())


def filled(
    contours: Sequence[PlanarContour], shape_ji: tuple[int, int], start_ji: Sequence[int] = (0, 0)
) -> FilledSlice:
    """The voxels inside the contours of one slice, in a window of it that starts at `start_ji`."""
    polygons = [contour.points_ji - start_ji for contour in contours]
    if any(contour.item.ContourGeometricType == XOR for contour in contours):
        return FilledSlice(filled_polygons(polygons, shape_ji), 0, 0)
    return filled_nested(polygons, shape_ji)


def mask_of(contours: Sequence[PlanarContour], volume: SourceVolume, path: Path, name: str) -> np.ndarray:
    """The voxels `[K, J, I]` that contours enclose; tells of contours that overlap or repeat.

    Raises:
        UserInputError: All of them lie beside the image.
    """
    mask = np.zeros(volume.shape_kji, bool)
    overlapping: list[int] = []
    repeated: list[int] = []
    for k in sorted({contour.k for contour in contours if contour.k is not None}):
        found = filled([contour for contour in contours if contour.k == k], volume.shape_kji[1:])
        mask[k] = found.mask
        overlapping += [k] if found.overlapping else []
        repeated += [k] if found.repeated else []
    for slices, what in ((overlapping, "overlap in part; they are united"), (repeated, "repeat; they count once")):
        if slices:
            listed = ", ".join(map(str, slices[:6])) + (", ..." if len(slices) > 6 else "")
            logger.warning("ROI '%s' of '%s' has contours on slices %s that %s", name, path, listed, what)
    if contours and all(one.k is None for one in contours):
        off_mm = min(abs(one.offset) for one in contours) * volume.spacing_kji_mm[0]
        raise UserInputError(
            f"ROI '{name}' of '{path}' has no contour on the image: the nearest is {off_mm:.3g} mm off the nearest "
            f"slice plane, and slices are {volume.spacing_kji_mm[0]:.3g} mm apart; give the series that it was drawn on"
        )
    if contours and not mask.any() and all(one.k is None or leaves(one, volume.shape_kji[1:]) for one in contours):
        raise UserInputError(f"RT Structure Set '{path}' does not overlap the image; give the one of this image")
    return mask


def referenced_series(dataset: Dataset) -> set[str]:
    return {
        str(series.SeriesInstanceUID)
        for frame in dataset.get("ReferencedFrameOfReferenceSequence", [])
        for study in frame.get("RTReferencedStudySequence", [])
        for series in study.get("RTReferencedSeriesSequence", [])
    }


def roi_name(dataset: Dataset, roi: Dataset) -> str:
    """An ROI's name, whose bytes stay as they are in the dataset: they may not fit the file's character set."""
    element = roi.get_item("ROIName")
    if element is None:
        return ""
    if not element.is_raw:
        return str(element.value or "").strip()
    charset = require("pydicom.charset", extra=EXTRA)
    encodings = charset.convert_encodings(dataset.get("SpecificCharacterSet", None) or "ISO_IR 6")
    return str(charset.decode_bytes(element.value or b"", encodings, set())).strip(" \0")
