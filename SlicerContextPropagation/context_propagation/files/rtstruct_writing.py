"""RT Structure Sets written: a new one of a series, or a given one with new contours on the slices that changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.even_slices import EvenSlices
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.optional_dependency import require
from context_propagation.files.contour_polygons import traced_polygons
from context_propagation.files.dicom_files import EXTRA, damage_named
from context_propagation.files.dicom_series import DicomSeries, framed_folder, read_acquired_series
from context_propagation.files.rtstruct_contours import (
    PLAIN,
    XOR,
    PlanarContour,
    StructureSet,
    contour_items,
    contours_of,
    filled,
    leaves,
    mask_of,
    planar_contours,
    roi_name,
)
from context_propagation.files.rtstruct_object import (
    empty_structure_set,
    new_dataset,
    refer_to_series,
    reference_to,
    save_structure_set,
)
from context_propagation.files.rtstruct_reading import (
    check_frame,
    find_roi,
    open_structure_set,
    series_of_images,
)
from context_propagation.files.segmentation import named_so
from context_propagation.files.structures import COLOR, Rgb, Structure

if TYPE_CHECKING:
    from pydicom import DataElement, Dataset


AUTOMATIC, SEMIAUTOMATIC = "AUTOMATIC", "SEMIAUTOMATIC"


PREDICTED, PROPAGATED, EDITED = "predicted", "propagated", "edited"
"""Labels of what is written."""


def write_new_structure_set(
    path: Path,
    structures: Sequence[Structure],
    volume: SourceVolume,
    series: DicomSeries,
    algorithm: str,
    label: str,
) -> None:
    """Write a structure set with an ROI for each structure; they may overlap.

    Args:
        path: Where to write.
        structures: At least one.
        volume: The image.
        series: Its slices, which the contours belong to.
        algorithm: "AUTOMATIC" or "SEMIAUTOMATIC".
        label: Of the structure set, at most 16 characters.

    Raises:
        UserInputError: The file cannot be written.
    """
    with damage_named(f"DICOM folder '{series.folder}'"):
        dataset = empty_structure_set(series)
        for structure in structures:
            _add_roi(dataset, structure, volume, series, algorithm)
        refer_to_series(dataset, series)
        save_structure_set(path, dataset, label)


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
    structures = [Structure.of(name, even.back(mask))]
    write_new_structure_set(path, structures, volume, series, algorithm, PROPAGATED)


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
    with damage_named(f"RT Structure Set '{given}'"):
        structure_set = open_structure_set(given, series_of_images(given, images, volume))
        roi = find_roi(structure_set, name)
        _change(structure_set, roi, planar_contours(structure_set, roi, volume), change, volume)
        _save_successor(path, structure_set, PROPAGATED)


def write_structures_into(
    path: Path, given: Path, structures: Sequence[Structure], volume: SourceVolume, series: DicomSeries
) -> int:
    """Write a given structure set with structures in it.

    A structure takes the place of the ROI of its name, which keeps its number, name, colour and type, and its contours
    on slices where the voxels are the same. One without such an ROI is added.

    Args:
        path: Where to write; not `given`.
        given: The structure set.
        structures: At least one.
        volume: The image.
        series: Its slices.

    Returns:
        How many other ROIs were kept as they are.

    Raises:
        UserInputError: The file is no complete structure set of this frame of reference, has several ROIs of a
            structure's name, or contours that cannot be placed; or the file cannot be written.
    """
    with damage_named(f"RT Structure Set '{given}'"):
        structure_set = open_structure_set(given, [series])
        dataset = structure_set.dataset
        before = len(dataset.StructureSetROISequence)
        found = [_roi_of(structure_set, structure) for structure in structures]
        for roi, structure in zip(found, structures, strict=True):
            if roi is None:
                _add_roi(dataset, structure, volume, series, SEMIAUTOMATIC)
                continue
            drawn = planar_contours(structure_set, roi, volume)
            change = mask_of(drawn, volume, given, roi_name(dataset, roi)), structure.mask
            _change(structure_set, roi, drawn, change, volume)
        _save_successor(path, structure_set, EDITED)
        return before - sum(roi is not None for roi in found)


def _roi_of(structure_set: StructureSet, structure: Structure) -> Dataset | None:
    """The ROI that a structure takes the place of: of its name, and of several of the number that it came from.

    Raises:
        UserInputError: Several are meant, or the ROI belongs to another frame of reference.
    """
    dataset = structure_set.dataset
    rois = list(dataset.StructureSetROISequence)
    meant = [rois[n] for n in named_so(structure.name, [roi_name(dataset, roi) for roi in rois])]
    if len(meant) > 1:
        meant = [roi for roi in meant if int(roi.ROINumber) == structure.number] or meant
    if len(meant) > 1:
        meant = [roi for roi in meant if contours_of(dataset, roi)] or meant[:1]
    if len(meant) > 1:
        raise UserInputError(
            f"RT Structure Set '{structure_set.path}' has {len(meant)} ROIs named '{structure.name}'; rename the "
            "segment, which adds an ROI, or leave the structure set out"
        )
    for roi in meant:
        check_frame(structure_set, roi)
    return meant[0] if meant else None


def _change(
    structure_set: StructureSet,
    roi: Dataset,
    drawn: Sequence[PlanarContour],
    change: tuple[np.ndarray, np.ndarray],
    volume: SourceVolume,
) -> None:
    """Give an ROI new contours on the slices where the voxels before and after differ."""
    before, after = change
    changed = np.flatnonzero((before ^ after).any(axis=(1, 2))).tolist()
    item, *further = _contour_items(structure_set.dataset, roi, COLOR)
    kind = XOR if any(one.item.ContourGeometricType == XOR for one in drawn) else PLAIN
    kept = [one.item for one in drawn if one.k not in changed]
    for other in further:  # an ROI whose contours were split over several items
        other.pop("ContourSequence", None)
    masks = (_with_rest([one for one in drawn if one.k == k], after[k]) for k in changed)
    pieces = zip(changed, masks, strict=True)
    _set_contours(item, kept, _new_contours(pieces, volume, structure_set.series, kind))
    roi.ROIGenerationAlgorithm = SEMIAUTOMATIC


def _save_successor(path: Path, structure_set: StructureSet, label: str) -> None:
    """Write a structure set that was changed, as one that follows what was given."""
    dataset = structure_set.dataset
    refer_to_series(dataset, structure_set.series)
    dataset.PredecessorStructureSetSequence = [reference_to(dataset)]
    save_structure_set(path, dataset, label)


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


def _contour_items(dataset: Dataset, roi: Dataset, color: Rgb) -> list[Dataset]:
    """The ROI's items in the ROI Contour Sequence, of which one is added where it has none yet."""
    items = contour_items(dataset, roi)
    if not items:
        items = [new_dataset(ReferencedROINumber=roi.ROINumber, ROIDisplayColor=list(color))]
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
            contour = new_dataset(
                ContourImageSequence=[reference_to(series.slices[k])],
                ContourGeometricType=kind,
                NumberOfContourPoints=len(points_lps),
            )
            texts = [_decimal_string(value) for value in points_lps.ravel().tolist()]
            contour.add(_as_they_are("ContourData", texts))
            yield contour


def _as_they_are(keyword: str, texts: list[str]) -> DataElement:
    """Decimal strings of our own, which pydicom need not parse: that takes longer than all else."""
    return require("pydicom", extra=EXTRA).DataElement(keyword, "DS", texts, already_converted=True)


def _decimal_string(value_mm: float) -> str:
    """A coordinate to a millionth of a millimetre, in the 16 characters that DICOM allows."""
    fixed = f"{value_mm:.6f}".rstrip("0").rstrip(".")
    return fixed if len(fixed) <= 16 else str(require("pydicom.valuerep", extra=EXTRA).format_number_as_ds(value_mm))


def _add_roi(dataset: Dataset, structure: Structure, volume: SourceVolume, series: DicomSeries, algorithm: str) -> None:
    """Add an ROI with its contours, under the next free number."""
    rois = list(dataset.get("StructureSetROISequence", None) or [])
    seen = list(dataset.get("RTROIObservationsSequence", None) or [])
    number = 1 + max((int(roi.ROINumber) for roi in rois), default=0)
    roi = new_dataset(
        ROINumber=number,
        ReferencedFrameOfReferenceUID=series.frame_of_reference,
        ROIName=structure.name,
        ROIGenerationAlgorithm=algorithm,
    )
    observation = new_dataset(
        ObservationNumber=1 + max((int(one.ObservationNumber) for one in seen), default=0),
        ReferencedROINumber=number,
        RTROIInterpretedType=structure.interpreted_type,
        ROIInterpreter="",
    )
    dataset.StructureSetROISequence = [*rois, roi]
    dataset.RTROIObservationsSequence = [*seen, observation]
    (item,) = _contour_items(dataset, roi, structure.color)
    pieces = ((k, (slice_mask, (0, 0))) for k, slice_mask in enumerate(structure.mask))
    _set_contours(item, [], _new_contours(pieces, volume, series, PLAIN))
