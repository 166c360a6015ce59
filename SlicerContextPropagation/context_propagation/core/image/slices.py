"""Which slices a clinician redrew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import Box, bounding_box, box_of, light_copy

NOTHING_REDRAWN = "The segmentation is unchanged; redraw at least one slice"


AMBIGUITY_RATIO = 1.5
"""An edit is refused where the second axis touches no more than this many times the slices of the first."""


@dataclass(frozen=True)
class SliceEdit:
    """One redrawn slice.

    Attributes:
        axis: Array axis that the slice is perpendicular to: 0 (k), 1 (j) or 2 (i).
        index: Index of the slice along that axis.
        mask: bool, the volume's shape without `axis`; the contour exactly as drawn.
    """

    axis: int
    index: int
    mask: np.ndarray

    @property
    def place(self) -> tuple[slice | int, ...]:
        """Where it lies: `volume_mask[edit.place]` is the slice of a mask `[K, J, I]`."""
        return slice_place(self.axis, self.index)

    def draw_into(self, part: np.ndarray, box: Box) -> None:
        """Write it into the part of a mask `[K, J, I]` that lies in a box."""
        plane = tuple(slice(*span) for axis, span in enumerate(box) if axis != self.axis)
        for place in places_in(box, self.axis, [self.index]):
            part[place] = self.mask[plane]

    def differs_within(self, mask: np.ndarray) -> Box | None:
        """The box around the voxels in which a mask `[K, J, I]` is not as drawn; None where it is."""
        box = bounding_box(np.expand_dims(mask[self.place] != self.mask, self.axis))
        if box is None:
            return None
        spans = list(box)
        spans[self.axis] = (self.index, self.index + 1)
        return box_of(spans)


def slice_place(axis: int, index: int) -> tuple[slice | int, ...]:
    """The index expression of one slice of an array `[K, J, I]`."""
    place: list[slice | int] = [slice(None)] * 3
    place[axis] = index
    return tuple(place)


def places_in(box: Box, axis: int, indices: Iterable[int]) -> list[tuple[slice | int, ...]]:
    """The index expressions, in an array of the box, of those of an image's slices that meet it."""
    start, stop = box[axis]
    return [slice_place(axis, index - start) for index in indices if start <= index < stop]


def edits_on_slices(edited: np.ndarray, axis: int, indices: Sequence[int]) -> list[SliceEdit]:
    """Take slices out of an edited mask.

    Args:
        edited: bool `[K, J, I]`.
        axis: Array axis that the slices are perpendicular to.
        indices: Slice indices along `axis`.

    Raises:
        UserInputError: An index is outside the volume.
    """
    require_inside(edited.shape, axis, indices)
    return [SliceEdit(axis, int(index), edited.take(index, axis).astype(bool)) for index in sorted(set(indices))]


def require_inside(shape_kji: Sequence[int], axis: int, indices: Iterable[int]) -> None:
    """Raises:
    UserInputError: A slice lies outside the image.
    """
    for index in indices:
        if not 0 <= index < shape_kji[axis]:
            raise UserInputError(
                f"Slice {index} is outside the image; slices along this axis run from 0 to {shape_kji[axis] - 1}"
            )


def find_edited_slices(before: np.ndarray, after: np.ndarray, axis: int | None = None) -> list[SliceEdit]:
    """Find the slices in which two masks differ.

    Args:
        before: bool `[K, J, I]`.
        after: bool `[K, J, I]`.
        axis: Array axis that the edited slices are perpendicular to; without it, the axis on which the difference
            touches fewest slices.

    Raises:
        UserInputError: The masks do not differ, or it is unclear which axis is meant (edits on several planes at once).
    """
    return edits_on_slices(after, *_edited_slices(before.astype(bool) ^ after.astype(bool), axis))


def _edited_slices(difference: np.ndarray, axis: int | None) -> tuple[int, list[int]]:
    """The axis, given or the one that stands out, and the slices along it in which there is a difference.

    Raises:
        UserInputError: As `find_edited_slices`.
    """
    if not difference.any():
        raise UserInputError(NOTHING_REDRAWN)
    axis = _edited_axis(difference) if axis is None else axis
    others = tuple(a for a in range(3) if a != axis)
    return axis, np.flatnonzero(difference.any(axis=others)).tolist()


def _edited_axis(difference: np.ndarray) -> int:
    touched = [int(difference.any(axis=tuple(b for b in range(3) if b != a)).sum()) for a in range(3)]
    first, second = np.argsort(touched, kind="stable")[:2]
    if touched[second] <= AMBIGUITY_RATIO * touched[first]:
        raise ambiguous_plane(touched)
    return int(first)


def ambiguous_plane(touched: Sequence[int]) -> UserInputError:
    """The error that no plane stands out; `touched` are the slices with changes along each axis."""
    return UserInputError(
        f"It is unclear which slices were redrawn: the changes touch {touched[0]}, {touched[1]} and "
        f"{touched[2]} slices in three directions; redraw slices of one plane at a time, or choose the plane"
    )


def slices_to_keep(
    drawings: Iterable[SliceEdit], segment: np.ndarray, redrawn: Sequence[SliceEdit] = ()
) -> tuple[SliceEdit, ...]:
    """The slices of a segment that still are as a clinician drew them.

    An empty segment has none.

    Args:
        drawings: Slices drawn and propagated, in their order; a later one counts where two cross.
        segment: bool `[K, J, I]`, as it is now.
        redrawn: Slices of one plane that were redrawn since, as they are now.

    Returns:
        By axis and index.
    """
    in_order = [*drawings, *redrawn]
    if not in_order or not segment.any():
        return ()
    expected = light_copy(segment)
    for edit in in_order:
        expected[edit.place] = edit.mask
    places = sorted({(edit.axis, edit.index) for edit in in_order})
    kept = [SliceEdit(axis, index, segment.take(index, axis)) for axis, index in places]
    return tuple(edit for edit in kept if np.array_equal(edit.mask, expected.take(edit.index, edit.axis)))


def mask_of_slices(shape_kji: tuple[int, int, int], slices: Iterable[SliceEdit]) -> np.ndarray:
    """All voxels of some slices: bool `[K, J, I]`."""
    mask = np.zeros(shape_kji, bool)
    for kept in slices:
        mask[kept.place] = True
    return mask


NEAR_SLICES_ONLY = "near slices only"
"""Without a network for far slices."""


WHOLE_VOLUME = "whole volume (trained for this model)"
"""With a fusion network."""


WHOLE_VOLUME_GENERAL = "whole volume (general)"
"""With the general far network, which serves any model."""


def near_indices(indices: Iterable[int], neighbours: int, slices: int) -> list[int]:
    """N(s): edited slices and their neighbours, among `slices` slices."""
    reach = range(-neighbours, neighbours + 1)
    return sorted({index + step for index in indices for step in reach if 0 <= index + step < slices})
