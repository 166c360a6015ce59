"""What is wanted of a segmentation file, and what was read from one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.boxes import Box, box_of
from context_propagation.core.image.drawings import Drawing
from context_propagation.core.image.own_grid import OwnGrid, OwnMask

SEG_NRRD = ".seg.nrrd"


@dataclass(frozen=True)
class Wanted:
    """Which part of a segmentation file is meant.

    Attributes:
        name: The label's name; the segment's or ROI's name in a `.seg.nrrd` or RT Structure Set of several.
        values: The label's values in a labelmap of several labels; a region has several.
        outer: The values of the regions that it lies in, the innermost first: they take what leaves it, and give it
            voxels.
        training: Values that only the training's labelmaps have for it: a labelmap of several labels that holds one is
            refused, as it may be such a labelmap.
    """

    name: str
    values: tuple[int, ...]
    outer: tuple[int, ...] = ()
    training: tuple[int, ...] = ()


@dataclass(frozen=True)
class ReadSegmentation:
    """A segmentation file and what was read from it.

    Attributes:
        path: The file.
        wanted: What was looked for.
        mask: bool `[K, J, I]` on the image's grid.
        labels: Whole numbers `[K, J, I]` on the image's grid, all labels of the file; None where it is a `.seg.nrrd`,
            an RT Structure Set or a plain mask.
        own: The same on the grid that the file has; None where that is the image's, or where the file has none.
        others: The ROIs or segments of a DICOM object that were not looked for, for a message.
        contours_beside: How many contours of an ROI lie beside the image in whole or part.
        mm_beside: How far the outermost of them reaches.
        own_name: The ROI's or segment's own name, which `wanted` may name by its number; empty for other files.
    """

    path: Path
    wanted: Wanted
    mask: np.ndarray
    labels: np.ndarray | None = None
    own: OwnMask | None = None
    others: tuple[str, ...] = ()
    contours_beside: int = 0
    mm_beside: float = 0.0
    own_name: str = ""

    @property
    def name(self) -> str:
        """What the label is called where it is written anew."""
        return self.own_name if self.wanted.name.isdecimal() and self.own_name else self.wanted.name

    @property
    def on_image(self) -> OwnMask:
        """What was looked for, on the image's grid."""
        mask = BoxedMask.of(self.mask)
        return OwnMask(OwnGrid.of_image(mask.shape), mask)

    @property
    def other_labels(self) -> list[int]:
        """The values of the labels that are not written over, on the image's grid."""
        free = (0, *self.wanted.outer)
        return [] if self.labels is None else np.unique(self.labels[~np.isin(self.labels, free) & ~self.mask]).tolist()


@dataclass(frozen=True)
class Propagated:
    """What a propagation came to, and what of it may be written.

    Attributes:
        segmentation: bool `[K, J, I]` of the image, the whole result.
        to_write: bool `[K, J, I]` of the image, the voxels that the segmentation takes.
        drawing: What was drawn.
        by_hand: Every voxel that was drawn, on the segmentation's own grid; never written. Of shape (0, 0, 0) where
            the drawing was found on the image: then `to_write` leaves it out.
    """

    segmentation: np.ndarray
    to_write: np.ndarray
    drawing: Drawing
    by_hand: BoxedMask

    def spared(self, lattice_box: Box, start_kji: tuple[int, int, int]) -> np.ndarray:
        """Which voxels of a box must not be written: bool, the box's shape.

        Args:
            lattice_box: On the lattice of a file or labelmap.
            start_kji: Where the grid starts on that lattice.
        """
        box = box_of([(a - s, b - s) for (a, b), s in zip(lattice_box, start_kji, strict=True)])
        return np.asarray(self.drawing.own_slices.over(box) | self.by_hand.over(box))


def meant_by(name: str, known: Sequence[str]) -> list[int]:
    """Which of a file's segments or ROIs a name means: those of that name, then in other case, then the only one.

    Args:
        name: What is wanted.
        known: The names in the file.

    Returns:
        Their numbers; anything but one is for the caller to refuse.
    """
    found = named_so(name, known)
    return [0] if not found and len(known) == 1 else found


def named_so(name: str, known: Sequence[str]) -> list[int]:
    """Which of the names are this one; where none is, which are in other case."""
    found = [number for number, one in enumerate(known) if one == name]
    return found or [number for number, one in enumerate(known) if one.casefold() == name.casefold()]


def is_seg_nrrd(path: Path) -> bool:
    """Whether the name is that of a Slicer segmentation file."""
    return path.name.lower().endswith(SEG_NRRD)
