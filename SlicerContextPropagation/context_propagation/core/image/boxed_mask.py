"""A mask kept as the bits of the box around it: small in memory, and as text in a scene."""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import (
    Box,
    around,
    bounding_box,
    box_of,
    box_shape,
    inside_of,
    intersection,
    offset,
    slices_of,
    whole,
)

EMPTY: Box = ((0, 0), (0, 0), (0, 0))


NO_VOXELS = np.zeros(0, np.int64)
"""Flat indices of none."""


@dataclass(frozen=True)
class BoxedMask:
    """A bool mask `[K, J, I]`.

    Attributes:
        shape: Of the whole mask.
        box: Around its True voxels; empty where it has none.
        bits: uint8, the box's voxels packed in C order.
    """

    shape: tuple[int, int, int]
    box: Box
    bits: np.ndarray

    @classmethod
    def of(cls, mask: np.ndarray) -> BoxedMask:
        """Pack a bool mask `[K, J, I]`."""
        k, j, i = mask.shape
        return cls.placed((k, j, i), ((0, k), (0, j), (0, i)), mask)

    @classmethod
    def placed(cls, shape: tuple[int, int, int], box: Box, voxels: np.ndarray) -> BoxedMask:
        """Pack a mask that is False outside a box.

        Args:
            shape: Of the whole mask.
            box: Inside it.
            voxels: bool, the box's shape.
        """
        tight = bounding_box(voxels)
        if tight is None:
            return cls(shape, EMPTY, np.packbits(voxels[:0]))
        return cls(shape, offset(tight, box), np.packbits(voxels[slices_of(tight)]))

    @classmethod
    def of_points(cls, shape: tuple[int, int, int], points_kji: np.ndarray) -> BoxedMask:
        """The mask of some voxels (k, j, i), int `[N, 3]`."""
        if not len(points_kji):
            return cls(shape, EMPTY, np.zeros(0, np.uint8))
        starts = points_kji.min(axis=0)
        stops = points_kji.max(axis=0) + 1
        voxels = np.zeros(stops - starts, bool)
        voxels[tuple((points_kji - starts).T)] = True
        return cls(shape, box_of(list(zip(starts.tolist(), stops.tolist(), strict=True))), np.packbits(voxels))

    @property
    def mask(self) -> np.ndarray:
        """The mask again, bool `[K, J, I]`; only memory inside the box is touched."""
        mask = np.zeros(self.shape, bool)
        mask[slices_of(self.box)] = self.inside
        return mask

    @property
    def inside(self) -> np.ndarray:
        """The voxels of its box, bool."""
        return self._planes(0, box_shape(self.box)[0])

    @property
    def is_empty(self) -> bool:
        """Whether no voxel is True."""
        return self.box == EMPTY

    @property
    def count(self) -> int:
        """How many voxels are True."""
        return int(np.count_nonzero(np.unpackbits(self.bits)))

    def moved(self, shape: tuple[int, int, int], by_kji: Sequence[int]) -> BoxedMask:
        """The same voxels at other indices, in a mask of another shape; those outside it are left out."""
        box = box_of([(start + by, stop + by) for (start, stop), by in zip(self.box, by_kji, strict=True)])
        common = intersection(box, whole(shape))
        if common is None:
            return BoxedMask(shape, EMPTY, np.zeros(0, np.uint8))
        if common == box:
            return BoxedMask(shape, box, self.bits)
        return BoxedMask.placed(shape, common, self.inside[slices_of(inside_of(common, box))])

    def over(self, box: Box) -> np.ndarray:
        """The voxels of a box inside `shape`, bool."""
        if box == self.box:
            return self.inside
        voxels = np.zeros(box_shape(box), bool)
        common = intersection(box, self.box)
        if common is not None:
            planes, *rest = inside_of(common, self.box)
            taken = self._planes(*planes)[:, slice(*rest[0]), slice(*rest[1])]
            voxels[slices_of(inside_of(common, box))] = taken
        return voxels

    def at(self, flat: np.ndarray) -> np.ndarray:
        """The voxels at flat indices (C order over `[K, J, I]`), bool."""
        points = np.stack(np.unravel_index(flat, self.shape), axis=-1).reshape(-1, 3)
        starts, stops = np.array(self.box).T
        values = ((points >= starts) & (points < stops)).all(axis=1)
        bit = np.ravel_multi_index(tuple((points[values] - starts).T), box_shape(self.box))
        values[values] = self.bits[bit // 8] >> (7 - bit % 8) & 1
        return np.asarray(values)

    def differs_within(self, other: BoxedMask) -> Box | None:
        """A box with all voxels in which two masks of one shape differ; not the smallest one. None for equal masks."""
        if self.box != other.box:
            return around(self.box, other.box)
        bytes_ = np.flatnonzero(self.bits != other.bits)
        if not bytes_.size:
            return None
        (start, stop), rows, columns = self.box
        plane = (rows[1] - rows[0]) * (columns[1] - columns[0])
        first, last = 8 * int(bytes_[0]) // plane, (8 * int(bytes_[-1]) + 7) // plane
        return (start + first, min(start + last + 1, stop)), rows, columns

    def differences(self, other: BoxedMask) -> np.ndarray:
        """The voxels (k, j, i) in which two masks of one shape differ, int `[N, 3]`, in C order."""
        box = self.differs_within(other)
        if box is None:
            return np.zeros((0, 3), int)
        (start, stop), rows, columns = box
        found = []
        for k in range(start, stop):  # slice by slice, as few of them differ as a rule
            plane = (k, k + 1), rows, columns
            differs = self.over(plane) ^ other.over(plane)
            if differs.any():
                found.append(np.argwhere(differs) + np.array([k, rows[0], columns[0]]))
        return np.concatenate(found) if found else np.zeros((0, 3), int)

    def _planes(self, start: int, stop: int) -> np.ndarray:
        """Some slices of the box along its first axis, bool."""
        _, rows, columns = box_shape(self.box)
        before, after = start * rows * columns, stop * rows * columns
        bits = np.unpackbits(self.bits[before // 8 : (after + 7) // 8]).view(bool)
        return bits[before % 8 :][: after - before].reshape(stop - start, rows, columns)

    def is_same(self, other: BoxedMask) -> bool:
        """Whether every voxel is the same; both are of one shape."""
        return self is other or (self.box == other.box and np.array_equal(self.bits, other.bits))

    def plain(self) -> dict[str, Any]:
        """As plain JSON: shape, box, and the bits compressed and in base 64."""
        return {"shape": list(self.shape), "box": [list(span) for span in self.box], "bits": self._text}

    @cached_property
    def _text(self) -> str:
        """The bits as text, made once: a record is written again after each propagation."""
        return base64.b64encode(zlib.compress(self.bits.tobytes(), 3)).decode("ascii")

    @classmethod
    def from_plain(cls, content: Any, shape: tuple[int, int, int]) -> BoxedMask:
        """Read what `plain` gave, or what somebody else put in its place.

        Args:
            content: The JSON.
            shape: The shape that it must have: no more memory than that is used.

        Raises:
            UserInputError: It is no mask of this shape.
        """
        try:
            if list(content["shape"]) != list(shape):
                raise UserInputError(f"A saved mask does not have this image's {_times(shape)} voxels; the data differ")
            box = box_of([(int(start), int(stop)) for start, stop in content["box"]])
            if any(not 0 <= start <= stop <= size for (start, stop), size in zip(box, shape, strict=True)):
                raise UserInputError(f"A saved mask lies outside the image's {_times(shape)} voxels; it is damaged")
            size = (math.prod(box_shape(box)) + 7) // 8
            data = zlib.decompressobj().decompress(base64.b64decode(content["bits"], validate=True), size + 1)
            if len(data) != size:
                raise UserInputError("A saved mask is damaged; its session cannot be restored")
            return cls.placed(shape, box, cls(shape, box, np.frombuffer(data, np.uint8)).inside)
        except (KeyError, TypeError, binascii.Error, zlib.error, ValueError) as error:
            if isinstance(error, UserInputError):
                raise
            raise UserInputError("A saved mask is damaged; its session cannot be restored") from error


def _times(shape: tuple[int, int, int]) -> str:
    """A shape `[K, J, I]` as people write it."""
    return " x ".join(map(str, reversed(shape)))
