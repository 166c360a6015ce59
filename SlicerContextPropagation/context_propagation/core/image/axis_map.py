"""The one map from a volume's array to the axes that a network sees: which axis goes where, and which run backwards.

Whatever the network computes is in its own axes; masks cross once on the way in and once on the way out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import TypeVar

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import Box, Span, box_of
from context_propagation.core.image.source_volume import SourceVolume, closest_axes, direction_cosines

T = TypeVar("T")

ANATOMICAL_AXES = {"L": 0, "R": 0, "P": 1, "A": 1, "S": 2, "I": 2}
"""The row of LPS coordinates that a letter runs along."""


@dataclass(frozen=True)
class AxisMap:
    """A permutation and flips of array axes.

    Attributes:
        order: New axis a shows old axis `order[a]`.
        flipped: For each new axis, whether it runs backwards.
    """

    order: tuple[int, int, int] = (0, 1, 2)
    flipped: tuple[bool, bool, bool] = (False, False, False)

    def apply(self, array: np.ndarray) -> np.ndarray:
        """Move the last three axes of an array `[..., K, J, I]`; the result is a contiguous copy, or shares memory."""
        lead = array.ndim - 3
        moved = array.transpose(*range(lead), *(lead + axis for axis in self.order))
        return np.ascontiguousarray(moved[self._flip])

    def undo(self, array: np.ndarray) -> np.ndarray:
        """The inverse of `apply`."""
        return np.ascontiguousarray(self.undone(array))

    def undone(self, array: np.ndarray) -> np.ndarray:
        """As `undo`, but always in the memory of the array: what is written into one is in the other."""
        lead = array.ndim - 3
        unflipped = array[self._flip]
        return unflipped.transpose(*range(lead), *(lead + a for a in np.argsort(self.order)))

    def then(self, other: AxisMap) -> AxisMap:
        """This map followed by another."""
        flipped = [self.flipped[axis] != flip for axis, flip in zip(other.order, other.flipped, strict=True)]
        return AxisMap(other.per_axis(self.order), (flipped[0], flipped[1], flipped[2]))

    def per_axis(self, values: Sequence[T]) -> tuple[T, T, T]:
        """What belongs to old axes k, j, i, such as a shape or a voxel size, in the new order."""
        first, second, third = (values[axis] for axis in self.order)
        return first, second, third

    def apply_box(self, box: Box, shape: Sequence[int]) -> Box:
        """A box of an old array, which has this shape, in the new one."""
        spans, sizes = self.per_axis(box), self.per_axis(shape)
        return box_of([_turned(*each) for each in zip(spans, sizes, self.flipped, strict=True)])

    def undo_box(self, box: Box, shape: Sequence[int]) -> Box:
        """A box of a new array, which has this shape, in the old one."""
        unflipped = [_turned(*each) for each in zip(box, shape, self.flipped, strict=True)]
        return box_of([unflipped[new] for new in np.argsort(self.order)])

    def slices(self, axis: int, indices: Sequence[int], count: int) -> tuple[int, list[int]]:
        """Slices of the old array as the new axis and the indices along it.

        Args:
            axis: Old axis that the slices are perpendicular to.
            indices: Their indices.
            count: How many slices there are along it.
        """
        new = self.order.index(axis)
        return new, [count - 1 - index if self.flipped[new] else index for index in indices]

    @property
    def _flip(self) -> tuple[EllipsisType | slice, ...]:
        return (..., *(slice(None, None, -1 if flip else None) for flip in self.flipped))


def _turned(span: Span, size: int, backwards: bool) -> Span:
    start, stop = span
    return (size - stop, size - start) if backwards else span


def axes_towards(volume: SourceVolume, orientation: str | None) -> AxisMap:
    """The map after which i, j, k of a volume's arrays run towards the letters of `orientation`.

    Args:
        volume: Any direction cosines; each array axis counts as the anatomical axis it is closest to.
        orientation: Three letters, e.g. "LPS" or "RAS": where i, j and k increase to. None leaves arrays as they are.

    Raises:
        UserInputError: `orientation` does not name each of R/L, A/P, S/I once.
    """
    if orientation is None:
        return AxisMap()
    letters = orientation.upper()
    if len(letters) != 3 or sorted(ANATOMICAL_AXES.get(letter, -1) for letter in letters) != [0, 1, 2]:
        raise UserInputError(f"Unknown orientation '{orientation}'; give three letters such as LPS or RAS")
    direction_kji = direction_cosines(volume.ijk_to_lps)[:, ::-1]
    axes_of = closest_axes(direction_kji)
    order, flipped = [], []
    for letter in letters[::-1]:
        anatomical = ANATOMICAL_AXES[letter]
        axis = axes_of[anatomical]
        order.append(axis)
        flipped.append(bool((direction_kji[anatomical, axis] > 0) != (letter in "LPS")))
    return AxisMap((order[0], order[1], order[2]), (flipped[0], flipped[1], flipped[2]))


def turned_volume(volume: SourceVolume, axes: AxisMap) -> SourceVolume:
    """The volume with its arrays mapped, at the same place in the patient."""
    to_old = np.zeros((4, 4))
    to_old[3, 3] = 1
    for new_axis in range(3):
        old_axis = axes.order[new_axis]
        row, column = 2 - old_axis, 2 - new_axis
        to_old[row, column] = -1 if axes.flipped[new_axis] else 1
        if axes.flipped[new_axis]:
            to_old[row, 3] = volume.shape_kji[old_axis] - 1
    return SourceVolume(axes.apply(volume.channels), volume.ijk_to_lps @ to_old)
