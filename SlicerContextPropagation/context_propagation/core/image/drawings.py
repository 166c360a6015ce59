"""What was drawn in a segment since it was last known, found on the segment's own grid.

A drawing lies on slices: those of the segment's grid, or the image's where it was drawn across a grid that is oblique.
Each drawn voxel counts for the image slice that it belongs to; the whole drawn slice stays as it was drawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxed_mask import BoxedMask
from context_propagation.core.image.boxes import Box, around, box_of, inside_of, intersection, slices_of, whole
from context_propagation.core.image.nearest_pull import mapped_points, nearest_index
from context_propagation.core.image.own_grid import NO_SLICES, OwnGrid, OwnSlices
from context_propagation.core.image.slices import (
    AMBIGUITY_RATIO,
    NOTHING_REDRAWN,
    SliceEdit,
    ambiguous_plane,
    require_inside,
    slice_place,
)

PARALLEL_DEGREES = 1.0
"""Up to here a grid's slices are the image's, or thinner or thicker ones at the same place."""


LARGEST_ANGLE_DEGREES = 15.0
"""Between the slices that were drawn on and the image's."""


@dataclass(frozen=True)
class Drawing:
    """Redrawn slices of one plane.

    Attributes:
        edits: What was drawn, on slices of the image; by index.
        redrawn: For each of them, the voxels of the image in which the drawing differs from before, bool.
        own_slices: The slices of the segment's grid that were drawn on: no voxel of them may be written. Beside those
            of the plane, also those of other planes that wait. None where whole slices of the image were drawn.
        waiting: Slices of the image (axis, index) on other planes that hold drawn voxels.
    """

    edits: tuple[SliceEdit, ...]
    redrawn: tuple[np.ndarray, ...]
    own_slices: OwnSlices = NO_SLICES
    waiting: frozenset[tuple[int, int]] = frozenset()

    @property
    def axis(self) -> int:
        """Array axis of the image that the slices are perpendicular to."""
        return self.edits[0].axis

    def to_write(self, changed: np.ndarray, box: Box, protected: np.ndarray) -> tuple[np.ndarray, Box]:
        """Which voxels of the image the segment takes from a result, bool `[K, J, I]`, and a box around them.

        On a drawn slice of the image those that the drawing changed: thinner slices of the segment in it that were not
        drawn themselves follow. Where the slice of the image itself was drawn, none.

        Args:
            changed: bool `[K, J, I]`, what propagation changed.
            box: Around it.
            protected: bool `[K, J, I]`, what is never written.
        """
        to_write = np.zeros(changed.shape, bool)
        to_write[slices_of(box)] = changed[slices_of(box)]
        for edit, redrawn in zip(self.edits, self.redrawn, strict=True):
            follow = redrawn & ~protected[edit.place] & bool(self.own_slices.places)
            to_write[edit.place] = follow
            if follow.any():
                spans = list(whole(changed.shape))
                spans[edit.axis] = (edit.index, edit.index + 1)
                box = around(box, box_of(spans))
        return to_write, box

    def waiting_voxels(self, shape_kji: tuple[int, int, int]) -> np.ndarray | None:
        """All voxels of the image's slices that wait, bool `[K, J, I]`; None where there are none."""
        return mask_of_places(shape_kji, self.waiting)


def mask_of_places(shape_kji: tuple[int, int, int], places: Iterable[tuple[int, int]]) -> np.ndarray | None:
    """All voxels of some slices (axis, index) of the image, bool `[K, J, I]`; None where there are none."""
    mask = None
    for axis, index in places:
        mask = np.zeros(shape_kji, bool) if mask is None else mask
        mask[slice_place(axis, index)] = True
    return mask


def changes_on_slices(
    grid: OwnGrid, before: BoxedMask, after: BoxedMask, axis: int, indices: Sequence[int]
) -> BoxedMask:
    """`before` with those changes alone that count for some slices of the image."""
    points, homes = _changes(grid, before, after)
    points = points[np.isin(homes[:, axis], indices)]
    voxels = before.mask
    voxels[tuple(points.T)] ^= True
    return BoxedMask.of(voxels)


def find_drawing(grid: OwnGrid, before: BoxedMask, after: BoxedMask, axis: int | None = None) -> Drawing:
    """Find the slices in which two masks differ.

    Args:
        grid: On which both are.
        before: The segment as it was last known.
        after: As it is.
        axis: Array axis of the image that the redrawn slices are perpendicular to; without it, the one that stands out.

    Raises:
        UserInputError: The masks do not differ on the image, it is unclear which plane is meant, or the slices that
            were drawn on are too oblique to the image's.
    """
    points, homes = _changes(grid, before, after)
    axis, own_axis = _drawn_plane(grid, points, homes, axis)
    indices = np.unique(homes[:, axis]).tolist()
    if own_axis is None:
        own_indices: list[int] = []
        own_slices, waiting = NO_SLICES, _other_slices(homes, axis)
    else:
        own_indices = np.unique(points[:, own_axis]).tolist()
        others = _other_slices(points, own_axis)
        own_slices = OwnSlices(others | {(own_axis, index) for index in own_indices})
        waiting = _belonging_to(grid, points, homes, others) - {(axis, index) for index in indices}
    edits, redrawn = [], []
    for index in indices:
        drawn, known = (_slice_on_image(grid, mask, axis, index, own_axis, own_indices) for mask in (after, before))
        edits.append(SliceEdit(axis, index, drawn))
        redrawn.append(drawn ^ known)
    return Drawing(tuple(edits), tuple(redrawn), own_slices, waiting)


def slices_as_they_are(grid: OwnGrid, mask: BoxedMask, axis: int, indices: Sequence[int]) -> Drawing:
    """Slices of the image as a mask has them, as a drawing that changes nothing.

    Args:
        grid: On which the mask is.
        mask: The segment.
        axis: Array axis of the image that the slices are perpendicular to.
        indices: Theirs.

    Raises:
        UserInputError: A slice lies outside the image.
    """
    require_inside(grid.image_shape, axis, indices)
    edits = tuple(SliceEdit(axis, index, _slice_on_image(grid, mask, axis, index, None, [])) for index in indices)
    return Drawing(edits, tuple(np.zeros_like(edit.mask) for edit in edits))


def _changes(grid: OwnGrid, before: BoxedMask, after: BoxedMask) -> tuple[np.ndarray, np.ndarray]:
    """The voxels that differ, and the image voxels that they belong to: (k, j, i), int `[N, 3]` each."""
    points = before.differences(after)
    homes = grid.homes(points)
    on_image = ((homes >= 0) & (homes < grid.image_shape)).all(axis=1)
    if not on_image.any():
        raise UserInputError(NOTHING_REDRAWN)
    return points[on_image], homes[on_image]


def _drawn_plane(grid: OwnGrid, points: np.ndarray, homes: np.ndarray, axis: int | None) -> tuple[int, int | None]:
    """The image's axis, and the axis of the segment's own slices that were drawn on; None where the image's were."""
    own_counts, image_counts = _touched(points), _touched(homes)
    own_axis = _standing_out(own_counts)
    image_axis = _standing_out(image_counts) if axis is None else axis
    if image_axis is not None and (axis is not None or grid.own_axis_towards(image_axis)[1] <= PARALLEL_DEGREES):
        own_axis = grid.own_axis_towards(image_axis)[0]
    if own_axis is None:
        if image_axis is None:
            raise ambiguous_plane(image_counts)
        return image_axis, None
    closest, angle = grid.axis_towards(own_axis)
    if angle <= PARALLEL_DEGREES or image_axis is None:
        _require_near(angle, closest)
        return closest, own_axis
    own_count, image_count = own_counts[own_axis], image_counts[image_axis]
    if angle > LARGEST_ANGLE_DEGREES:
        if image_count > AMBIGUITY_RATIO * own_count:
            _require_near(angle, closest)
        return image_axis, None
    return (closest, own_axis) if own_count <= image_count else (image_axis, None)


def _require_near(angle: float, axis: int) -> None:
    if angle > LARGEST_ANGLE_DEGREES:
        name = ("k", "j", "i")[axis]
        raise UserInputError(
            f"The redrawn slices are oblique to the image: {angle:.0f} degrees to its slices along {name}, and "
            f"{LARGEST_ANGLE_DEGREES:.0f} at most can be used; draw on slices of the image"
        )


def _touched(points: np.ndarray) -> list[int]:
    """How many slices along each axis hold a point."""
    return [len(np.unique(points[:, axis])) for axis in range(3)]


def _standing_out(counts: Sequence[int]) -> int | None:
    """The axis along which fewest slices are touched, where that is clear."""
    first, second = np.argsort(counts, kind="stable")[:2]
    return int(first) if counts[second] > AMBIGUITY_RATIO * counts[first] else None


def _other_slices(points: np.ndarray, axis: int) -> frozenset[tuple[int, int]]:
    """The slices (axis, index) of other planes that were drawn on, beside those of `axis`.

    Voxels are explained by as few slices as do: again and again by the one with most voxels left. What is explained by
    slices of another plane is a drawing on these where that plane stands out among them; else it is a spot in 3D.
    """
    explained: dict[int, list[np.ndarray]] = {other: [] for other in range(3)}
    left = points
    while len(left):
        of, index = _fullest_slice(left, axis)
        on_it = left[:, of] == index
        explained[of].append(left[on_it])
        left = left[~on_it]
    found = set()
    for other, parts in explained.items():
        if other != axis and parts and _standing_out(_touched(np.concatenate(parts))) == other:
            found |= {(other, int(part[0, other])) for part in parts}
    return frozenset(found)


def _fullest_slice(points: np.ndarray, axis: int) -> tuple[int, int]:
    """The slice (axis, index) that holds most points; of several, one along `axis`."""
    fullest = []
    for candidate in (axis, *(other for other in range(3) if other != axis)):
        counts = np.bincount(points[:, candidate])
        fullest.append((int(counts.max()), candidate, int(counts.argmax())))
    return max(fullest, key=lambda one: one[0])[1:]


def _belonging_to(
    grid: OwnGrid, points: np.ndarray, homes: np.ndarray, slices: frozenset[tuple[int, int]]
) -> frozenset[tuple[int, int]]:
    """The image's slices that the drawn voxels on some slices of the segment's grid belong to."""
    found = set()
    for own_axis, own_index in slices:
        axis = grid.axis_towards(own_axis)[0]
        found |= {(axis, int(index)) for index in np.unique(homes[points[:, own_axis] == own_index, axis])}
    return frozenset(found)


def _slice_on_image(
    grid: OwnGrid, mask: BoxedMask, axis: int, index: int, own_axis: int | None, own_indices: Sequence[int]
) -> np.ndarray:
    """One slice of the image, bool, read from the drawn slices of the segment's grid where these belong to it."""
    spans = list(whole(grid.image_shape))
    spans[axis] = (index, index + 1)
    slab = box_of(spans)
    if grid.is_image_s:
        return np.asarray(mask.over(slab).take(0, axis))
    plain = grid.to_image(mask, slab).over(slab)
    box = None if mask.is_empty else intersection(_grown(grid.box_on_image(mask.box)), slab)
    if own_axis is not None and box is not None:
        read, values = _drawn_values(grid, mask, axis, own_axis, np.array(own_indices), box)
        place = slices_of(inside_of(box, slab))
        plain[place] = np.where(read, values, plain[place])
    return np.asarray(plain.take(0, axis))


def _grown(box: Box) -> Box:
    """As a drawn slice may lie as far from an image voxel that it belongs to."""
    return box_of([(start - 2, stop + 2) for start, stop in box])


def _drawn_values(
    grid: OwnGrid, mask: BoxedMask, axis: int, own_axis: int, own_indices: np.ndarray, box: Box
) -> tuple[np.ndarray, np.ndarray]:
    """Which image voxels of a box lie on a drawn slice, and what that slice shows there: bool, the box's shape each."""
    shape = tuple(stop - start for start, stop in box)
    points = np.indices(shape).reshape(3, -1).T + [start for start, _ in box]
    own = nearest_index(points, grid.own_from_image_ijk, back=True)
    along = mapped_points(points, grid.own_from_image_ijk)[:, own_axis]
    own[:, own_axis] = own_indices[np.abs(along[:, None] - own_indices).argmin(axis=1)]
    read = grid.homes(own)[:, axis] == points[:, axis]
    starts, inside = [start for start, _ in mask.box], mask.inside
    places = own - starts
    known = ((places >= 0) & (places < inside.shape)).all(axis=1)
    values = np.zeros(len(points), bool)
    values[known] = inside[tuple(places[known].T)]
    return read.reshape(shape), values.reshape(shape)
