"""The grid that a segment is stored on, beside the image's: each of its voxels belongs to one voxel of the image.

That is the one nearest to its centre, for reading and for writing.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from context_propagation.core.image.boxed_mask import EMPTY, BoxedMask
from context_propagation.core.image.boxes import Box, box_of, intersection, whole
from context_propagation.core.image.nearest_pull import (
    TIE_DECIMALS,
    index_of_array,
    is_axis_aligned,
    mapped_box,
    nearest_index,
    pull_nearest,
)

SAME_PLACE_VOXELS = 0.05


@dataclass(frozen=True, eq=False)
class OwnGrid:
    """The part of a segment's grid that lies on an image.

    Attributes:
        shape: Of that part (k, j, i).
        image_shape: Of the image (k, j, i).
        image_from_own_ijk: float64 `[4, 4]`, from indices of that part (i, j, k) to indices of the image (i, j, k).
        spacing_kji_mm: Voxel size of the image.
        start_kji: Where that part starts on the lattice that the segment's file or labelmap counts by.
    """

    shape: tuple[int, int, int]
    image_shape: tuple[int, int, int]
    image_from_own_ijk: np.ndarray
    spacing_kji_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    start_kji: tuple[int, int, int] = (0, 0, 0)

    @classmethod
    def of_image(cls, shape_kji: tuple[int, int, int]) -> OwnGrid:
        """The image's own grid."""
        return cls(shape_kji, shape_kji, np.eye(4))

    @classmethod
    def on_lattice(
        cls,
        image_from_lattice_ijk: np.ndarray,
        image_shape: tuple[int, int, int],
        spacing_kji_mm: tuple[float, float, float],
    ) -> OwnGrid:
        """All voxels of a lattice that belong to an image, and a few more where the two are oblique.

        It is the same whichever voxel the lattice counts from.
        """
        box = _box_on_image(image_from_lattice_ijk, image_shape)
        start = tuple(span[0] for span in box)
        shifted = image_from_lattice_ijk.copy()
        shifted[:3, 3] += image_from_lattice_ijk[:3, :3] @ np.array(start[::-1], float)
        shape = tuple(stop - begin for begin, stop in box)
        return cls((shape[0], shape[1], shape[2]), image_shape, shifted, spacing_kji_mm, (start[0], start[1], start[2]))

    @property
    def own_from_image_ijk(self) -> np.ndarray:
        return np.asarray(np.linalg.inv(self.image_from_own_ijk))

    @property
    def voxel_mm3(self) -> float:
        """The volume of one of its voxels."""
        return float(abs(np.linalg.det(self.image_from_own_ijk[:3, :3])) * np.prod(self.spacing_kji_mm))

    @property
    def is_image_s(self) -> bool:
        """Whether it is the image's own grid."""
        return self.is_same(OwnGrid.of_image(self.image_shape))

    def is_same(self, other: OwnGrid) -> bool:
        """Whether it places each voxel where another one does, to a twentieth of an image voxel."""
        if self.shape != other.shape or self.image_shape != other.image_shape:
            return False
        corners = np.array(list(itertools.product(*[(0, n) for n in self.shape[::-1]], [1]))).T
        apart = (self.image_from_own_ijk - other.image_from_own_ijk) @ corners
        return bool(np.abs(apart).max() <= SAME_PLACE_VOXELS)

    def start_in(self, other: OwnGrid) -> tuple[int, int, int] | None:
        """At which voxel (k, j, i) of another grid this one starts, where both place the same lattice alike.

        What rounds a matrix may add a voxel at the edge of a part that is oblique to the image, or take one away. None
        where a voxel would lie elsewhere, by more than a twentieth of an image voxel.
        """
        if self.image_shape != other.image_shape:
            return None
        i, j, k = (int(n) for n in np.round((other.own_from_image_ijk @ self.image_from_own_ijk)[:3, 3]))
        shifted = other.image_from_own_ijk.copy()
        shifted[:3, 3] += shifted[:3, :3] @ np.array([i, j, k], float)
        return (k, j, i) if self.is_same(OwnGrid(self.shape, self.image_shape, shifted)) else None

    def box_of_lattice(self, lattice_box: Box) -> Box:
        """A box of the lattice in indices of this grid; it may lie outside."""
        return box_of([(a - s, b - s) for (a, b), s in zip(lattice_box, self.start_kji, strict=True)])

    def placed(self, mask: BoxedMask, start_kji: Sequence[int]) -> BoxedMask:
        """A mask of this grid from one that starts at a voxel of the lattice; what lies off the image is left out."""
        return mask.moved(self.shape, [start - own for start, own in zip(start_kji, self.start_kji, strict=True)])

    def homes(self, points_kji: np.ndarray) -> np.ndarray:
        """The image voxel (k, j, i) that each voxel (k, j, i), int `[N, 3]`, belongs to; some may lie off the image."""
        return nearest_index(points_kji, self.image_from_own_ijk)

    def to_image(self, mask: BoxedMask, within: Box | None = None) -> BoxedMask:
        """A mask of this grid on the image: each voxel takes the nearest one, of its own ones where it has any.

        Args:
            mask: On this grid.
            within: The part of the image that is filled; the rest is False.
        """
        box = intersection(self.box_on_image(mask.box), within or whole(self.image_shape))
        if mask.is_empty or box is None:
            return BoxedMask(self.image_shape, EMPTY, np.zeros(0, np.uint8))
        read = intersection(mapped_box(box, self.own_from_image_ijk), mask.box)
        if read is None:
            return BoxedMask(self.image_shape, EMPTY, np.zeros(0, np.uint8))
        index = index_of_array(self.own_from_image_ijk, [start for start, _ in read])
        return BoxedMask.placed(self.image_shape, box, pull_nearest(mask.over(read), index, box, back=True))

    def from_image(self, mask: BoxedMask) -> BoxedMask:
        """A mask of the image on this grid: each voxel takes the value of the image voxel that it belongs to."""
        box = intersection(mapped_box(mask.box, self.own_from_image_ijk), whole(self.shape))
        if mask.is_empty or box is None:
            return BoxedMask(self.shape, EMPTY, np.zeros(0, np.uint8))
        index = index_of_array(self.image_from_own_ijk, [start for start, _ in mask.box])
        return BoxedMask.placed(self.shape, box, pull_nearest(mask.inside, index, box))

    def has_voxels_on(self, axis: int, index: int) -> bool:
        """Whether a voxel of this grid belongs to a slice of the image."""
        spans = [(index, index + 1) if a == axis else span for a, span in enumerate(whole(self.image_shape))]
        return not self.from_image(
            BoxedMask.placed(self.image_shape, box_of(spans), np.ones(_sizes(spans), bool))
        ).is_empty

    def slices_at(self, image_slices: OwnSlices) -> OwnSlices:
        """The slices of this grid at slices of the image, where both lie along the same axes."""
        found = set()
        for axis, index in image_slices.places:
            own = self.own_axis_towards(axis)[0]
            points = np.zeros((self.shape[own], 3), int)
            points[:, own] = np.arange(self.shape[own])
            found |= {(own, int(place)) for place in np.flatnonzero(self.homes(points)[:, axis] == index)}
        return OwnSlices(frozenset(found))

    def image_slices_at(self, slices: OwnSlices) -> OwnSlices:
        """The slices of the image at slices of this grid, where both lie along the same axes."""
        found = set()
        for own, index in slices.places:
            point = np.zeros((1, 3), int)
            point[0, own] = index
            axis = self.axis_towards(own)[0]
            home = int(self.homes(point)[0, axis])
            if is_axis_aligned(_along_axes(self.image_from_own_ijk, whole(self.shape))) and (
                0 <= home < self.image_shape[axis]
            ):
                found.add((axis, home))
        return OwnSlices(frozenset(found))

    def box_on_image(self, box: Box) -> Box:
        """The box of image voxels that a box of this grid may reach."""
        return mapped_box(box, self.image_from_own_ijk)

    def own_axis_towards(self, axis: int) -> tuple[int, float]:
        """The axis of this grid whose slices are closest to the image's along an axis, and the angle in degrees."""
        return min(((own, self._angle(own, axis)) for own in range(3)), key=lambda found: found[1])

    def axis_towards(self, own_axis: int) -> tuple[int, float]:
        """The image axis whose slices are closest to this grid's along an axis, and the angle in degrees."""
        return min(((axis, self._angle(own_axis, axis)) for axis in range(3)), key=lambda found: found[1])

    def _angle(self, own_axis: int, axis: int) -> float:
        """Between slices of this grid and of the image, in degrees: normals are gradients of the slice index."""
        gradient = self.own_from_image_ijk[2 - own_axis, :3] / np.array(self.spacing_kji_mm[::-1])
        along = min(1.0, abs(gradient[2 - axis]) / float(np.linalg.norm(gradient)))
        return float(np.degrees(np.arccos(along)))


@dataclass(frozen=True, eq=False)
class OwnMask:
    """A segment on the grid that it is stored on.

    Attributes:
        grid: The part of it that lies on the image.
        mask: The segment there.
        off_image: How many voxels of it lie elsewhere.
    """

    grid: OwnGrid
    mask: BoxedMask
    off_image: int = 0

    def is_same(self, other: OwnMask) -> bool:
        """Whether every voxel is the same, and lies at the same place."""
        return self is other or (self.grid.is_same(other.grid) and self.mask.is_same(other.mask))

    def on(self, grid: OwnGrid) -> OwnMask | None:
        """The same voxels on a grid that places them alike, and may start elsewhere; None where it does not."""
        start = self.grid.start_in(grid)
        if start is None:
            return None
        k, j, i = (own - s for own, s in zip(self.grid.start_kji, start, strict=True))
        there = replace(grid, start_kji=(k, j, i), spacing_kji_mm=self.grid.spacing_kji_mm)  # a saved grid has none
        return OwnMask(there, self.mask.moved(grid.shape, start), self.off_image)

    def as_beside_image(self, other: OwnMask) -> OwnMask:
        """As it is on the image, and as another one of the grid beside it: what rounding cuts there is no change."""
        points = self.mask.differences(other.mask)
        homes = self.grid.homes(points)
        beside = points[((homes < 0) | (homes >= self.grid.image_shape)).any(axis=1)]
        if not len(beside):
            return self
        voxels = self.mask.mask
        voxels[tuple(beside.T)] ^= True
        return OwnMask(self.grid, BoxedMask.of(voxels), self.off_image)

    @classmethod
    def of_array(
        cls,
        voxels: np.ndarray,
        image_from_array_ijk: np.ndarray,
        image_shape: tuple[int, int, int],
        spacing_kji_mm: tuple[float, float, float],
    ) -> OwnMask:
        """From voxels, bool `[K, J, I]`, and the matrix from their indices (i, j, k) to the image's."""
        grid = OwnGrid.on_lattice(image_from_array_ijk, image_shape, spacing_kji_mm)
        return cls.placed(grid, BoxedMask.of(voxels), (0, 0, 0))

    @classmethod
    def placed(cls, grid: OwnGrid, mask: BoxedMask, start_kji: Sequence[int]) -> OwnMask:
        """See `OwnGrid.placed`; what is left out is counted."""
        on_grid = grid.placed(mask, start_kji)
        lost = 0 if on_grid.bits is mask.bits else mask.count - on_grid.count
        return cls(grid, on_grid, lost)


@dataclass(frozen=True)
class OwnSlices:
    """Slices of a segment's own grid, as (axis, index); all their voxels."""

    places: frozenset[tuple[int, int]] = frozenset()

    def __or__(self, other: OwnSlices) -> OwnSlices:
        return OwnSlices(self.places | other.places)

    def over(self, box: Box) -> np.ndarray:
        """Which voxels of a box lie in one of them: bool, the box's shape."""
        inside = np.zeros(tuple(stop - start for start, stop in box), bool)
        for axis, index in self.places:
            start, stop = box[axis]
            if start <= index < stop:
                np.moveaxis(inside, axis, 0)[index - start] = True
        return inside


NO_SLICES = OwnSlices()


def _box_on_image(image_from_lattice_ijk: np.ndarray, image_shape: Sequence[int]) -> Box:
    """The box of all lattice voxels that belong to an image; where both lie along the same axes, of no others."""
    box = mapped_box(whole(tuple(image_shape)), _rounded(np.linalg.inv(image_from_lattice_ijk)))
    image_from_lattice_ijk = _along_axes(image_from_lattice_ijk, box)
    if not is_axis_aligned(image_from_lattice_ijk):
        return box
    spans = []
    for axis, (start, stop) in enumerate(box):
        column = image_from_lattice_ijk[:3, 2 - axis]
        row = int(np.argmax(np.abs(column)))
        points = np.zeros((stop - start, 3), int)
        points[:, axis] = np.arange(start, stop)
        homes = nearest_index(points, image_from_lattice_ijk)[:, 2 - row]
        on_image = np.flatnonzero((homes >= 0) & (homes < image_shape[2 - row]))
        spans.append((start + int(on_image[0]), start + int(on_image[-1]) + 1) if on_image.size else (start, start))
    return box_of(spans)


def _along_axes(matrix: np.ndarray, box: Box) -> np.ndarray:
    """A matrix without what a rounded file leaves of a turn: less than a hundredth of a voxel over the box."""
    reach = max(abs(end) for span in box for end in span)
    snapped = matrix.copy()
    snapped[:3, :3][np.abs(matrix[:3, :3]) * reach < 0.01] = 0.0
    return snapped


def _sizes(spans: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    return tuple(stop - start for start, stop in spans)


def _rounded(matrix: np.ndarray) -> np.ndarray:
    """What rounds away must not decide where a box begins."""
    return np.asarray(np.round(matrix, TIE_DECIMALS + 3))
