"""DICOM segmentation objects: one segment read as a labelmap on the grid that the object has.

Source: DICOM PS3.3, A.51 and C.8.20 (Segmentation).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from context_propagation.core.errors import UserInputError, counted
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.optional_dependency import require
from context_propagation.files.dicom_files import EXTRA, damage_named, read_dicom, sop_class
from context_propagation.files.dicom_series import DICOM_SEG, dicom_folders, slice_files
from context_propagation.files.image_axes import image_on
from context_propagation.files.labelmap_files import Labelmap
from context_propagation.files.segmentation import named_so

if TYPE_CHECKING:
    from highdicom.seg import Segmentation

logger = logging.getLogger(__name__)


SEGMENTATION_STORAGE = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Segmentation, and Label Map Segmentation."""


INSIDE = 0.5
"""The share or probability from which on a voxel of a fractional segmentation belongs to its segment."""


@dataclass(frozen=True)
class DicomSegmentation:
    """An object with all its voxels.

    Attributes:
        path: The file.
        dataset: As highdicom reads it.
        masks: bool `[S, K, J, I]`, one for each segment; they may overlap.
        ijk_to_lps: float64 `[4, 4]` of their grid.
        names: The segments' labels.
        numbers: The segments' numbers.
    """

    path: Path
    dataset: Segmentation
    masks: np.ndarray
    ijk_to_lps: np.ndarray
    names: tuple[str, ...]
    numbers: tuple[int, ...]

    def find(self, name: str) -> int:
        """Which segment is meant: by name, then in other case, then by number, then the only one.

        Raises:
            UserInputError: None or several are meant.
        """
        found = named_so(name, self.names)
        found = found or [n for n, number in enumerate(self.numbers) if str(number) == name.strip()]
        found = found or ([0] if len(self.names) == 1 else [])
        if len(found) != 1:
            known = ", ".join(f"'{one}' ({number})" for one, number in zip(self.names, self.numbers, strict=True))
            raise UserInputError(
                f"DICOM segmentation '{self.path}' has {len(found)} segments named '{name}'; its segments are {known}: "
                "name the one that is meant with --segment, by its name or its number"
            )
        if self.names[found[0]].casefold() != name.casefold() and str(self.numbers[found[0]]) != name.strip():
            only = self.names[found[0]]
            logger.warning("'%s' holds the segment '%s' only; it is taken as %s", self.path, only, name)
        return found[0]

    def labelmap(self, number: int) -> Labelmap:
        """One segment as 1 in 0."""
        mask = self.masks[number]
        return Labelmap(self.path, image_on(mask.astype(np.uint8), self.ijk_to_lps), (1,) if mask.any() else ())

    def others(self, number: int) -> tuple[str, ...]:
        """The other segments that are not empty, for a message."""
        voxel_mm3 = float(abs(np.linalg.det(self.ijk_to_lps[:3, :3])))
        counts = [(name, int(self.masks[n].sum())) for n, name in enumerate(self.names) if n != number]
        sizes = [(name, counted(count, "voxel"), count * voxel_mm3) for name, count in counts if count]
        return tuple(f"the segment '{name}' ({voxels}, {mm3:.5g} mm3)" for name, voxels, mm3 in sizes)


def has_seg_name(path: Path) -> bool:
    """Whether an output of this name is a DICOM segmentation."""
    return path.name.lower().endswith(DICOM_SEG)


def is_dicom_seg(path: Path) -> bool:
    """Whether an input is a DICOM segmentation: by its name, or by what the object says that it is."""
    return has_seg_name(path) or (path.is_file() and sop_class(path) in SEGMENTATION_STORAGE)


def read_segmentation(path: Path, volume: SourceVolume, images: Sequence[Path]) -> DicomSegmentation:
    """Read an object with all its segments.

    Args:
        path: The file.
        volume: The image.
        images: Its files; DICOM folders among them must share the object's frame of reference.

    Raises:
        UserInputError: The file is damaged or no segmentation, its frames are no even stack, or it belongs to another
            frame of reference.
    """
    seg = require("highdicom.seg", extra=EXTRA)
    what = f"DICOM segmentation '{path}'"
    with damage_named(what), _stack_named(what):
        dataset = read_dicom(path, with_voxels=False)
        if str(dataset.SOPClassUID) not in SEGMENTATION_STORAGE:
            raise UserInputError(f"'{path}' is not a DICOM segmentation but '{dataset.SOPClassUID.name}'; give that")
        _check_frame(path, str(dataset.get("FrameOfReferenceUID", "") or ""), images)
        found = seg.segread(path)
        numbers = tuple(found.segment_numbers)
        read: Any = found.get_volume(segment_numbers=numbers, combine_segments=False)
        if np.dot(read.affine[:3, 0], volume.ijk_to_lps[:3, 2]) < 0:  # slices in the image's order
            read = read.flip_spatial(0)
        if found.segmentation_type.value == "FRACTIONAL":
            logger.warning("%s is fractional; voxels of %g or more belong to its segments", what, INSIDE)
        masks = np.moveaxis(read.array, -1, 0) >= INSIDE
        names = tuple(str(found.get_segment_description(number).segment_label) for number in numbers)
        return DicomSegmentation(path, found, masks, read.affine[:, [2, 1, 0, 3]], names, numbers)


@contextmanager
def _stack_named(what: str) -> Iterator[None]:
    """Frames that are no stack are told of in errors of Python's own."""
    try:
        yield
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:120]
        raise UserInputError(f"{what} is no even stack of frames ({reason}); export it again") from error


def _check_frame(path: Path, frame: str, images: Sequence[Path]) -> None:
    """Refuse an object that was drawn on another series, where the image says which one it is."""
    headers = [read_dicom(slice_files(folder)[0], with_voxels=False) for folder in dicom_folders(images)]
    known = {str(header.get("FrameOfReferenceUID", "") or "") for header in headers} - {""}
    if known and frame not in known:
        raise UserInputError(
            f"DICOM segmentation '{path}' belongs to another series: its frame of reference is {frame or 'missing'}, "
            f"the image's {', '.join(sorted(known))}; give the series that it was made on"
        )
