"""Polygons around the voxels of a slice, and the voxels inside a polygon; indices, centres at whole numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from context_propagation.core.optional_dependency import require

EXTRA = "dicom"


INSIDE = 1


DECIMALS = 6
"""Of voxel indices: what was on a voxel's centre before a change of frame is on it again after it."""


def filled_polygons(polygons_ji: Sequence[np.ndarray], shape_ji: tuple[int, int]) -> np.ndarray:
    """The voxels whose centre lies inside an odd number of polygons, or on any of them.

    Each polygon encloses by the even-odd rule, so that a keyhole, whose channel is run through twice, leaves its hole
    empty. A voxel on an edge belongs to both sides: where two polygons touch there is no gap.

    Args:
        polygons_ji: float `[N, 2]` each; the last point is joined to the first. Fewer than three enclose nothing.
        shape_ji: Size of the slice.

    Returns:
        bool `[J, I]`.
    """
    inside, on_edge = np.zeros(shape_ji, bool), np.zeros(shape_ji, bool)
    for filled in _all_filled(polygons_ji, shape_ji):
        inside[filled.box] ^= filled.inside
        on_edge[filled.box] |= filled.on_edge
    return inside | on_edge


@dataclass(frozen=True)
class FilledSlice:
    """The voxels that several polygons enclose.

    Attributes:
        mask: bool `[J, I]`.
        overlapping: Polygons that overlap another one in part; together they enclose what each of them does.
        repeated: Polygons that enclose the same as another one; they count once.
    """

    mask: np.ndarray
    overlapping: int
    repeated: int


def filled_nested(polygons_ji: Sequence[np.ndarray], shape_ji: tuple[int, int]) -> FilledSlice:
    """The voxels that polygons enclose of which one within another is a hole, one within a hole an island, and so on.

    Args:
        polygons_ji: As for `filled_polygons`.
        shape_ji: Size of the slice.
    """
    found = sorted(_all_filled(polygons_ji, shape_ji), key=lambda one: -int(one.inside.sum()))
    on_edge = np.zeros(shape_ji, bool)
    nodes: list[_Nested] = []
    overlapping = repeated = 0
    for filled in found:
        on_edge[filled.box] |= filled.on_edge
        if not filled.inside.any():
            continue
        node = _Nested(filled, [])
        relations = {id(other): _relation(filled, other.filled) for other in nodes}
        if SAME in relations.values():
            repeated += 1
            continue
        overlapping += PARTLY in relations.values()
        parents = [other for other in nodes if relations[id(other)] == WITHIN]
        if parents:
            parents[-1].holes.append(node)  # the smallest one around it
            node.is_root = False
        nodes.append(node)
    inside = np.zeros(shape_ji, bool)
    for node in nodes:
        if node.is_root:
            inside |= node.filled_in(shape_ji)
    return FilledSlice(inside | on_edge, overlapping, repeated)


APART, WITHIN, SAME, PARTLY = "apart", "within", "same", "partly"


SAME_SHARE = 0.25
"""Polygons that differ by less, in voxels for each voxel along the border, are one that was stored twice."""


@dataclass(frozen=True)
class _Filled:
    """The voxels of a slice that one polygon encloses, in a box around it."""

    box: tuple[slice, slice]
    inside: np.ndarray
    on_edge: np.ndarray


@dataclass
class _Nested:
    """A polygon and those that lie in it."""

    filled: _Filled
    holes: list[_Nested]
    is_root: bool = True

    def filled_in(self, shape_ji: tuple[int, int]) -> np.ndarray:
        mask = np.zeros(shape_ji, bool)
        mask[self.filled.box] = self.filled.inside
        for hole in self.holes:
            mask &= ~hole.filled_in(shape_ji)
        return mask


def _relation(one: _Filled, other: _Filled) -> str:
    """How a polygon lies to another one that is not smaller."""
    both = _common(one, other, edges=False)
    if not both:
        return APART
    outside = int(one.inside.sum()) - _common(one, other, edges=True)
    beyond = int(other.inside.sum()) - _common(other, one, edges=True)
    if outside + beyond <= SAME_SHARE * _border(other.inside):
        return SAME
    return PARTLY if outside else WITHIN


def _border(mask: np.ndarray) -> int:
    """How many voxels have a neighbour outside."""
    padded = np.pad(mask, 1)
    middle = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return int((mask & ~middle).sum())


def _common(one: _Filled, other: _Filled, edges: bool) -> int:
    """How many of the voxels inside `one` lie inside `other`, or on its edge where `edges` says so."""
    spans = [(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one.box, other.box, strict=True)]
    if any(start >= stop for start, stop in spans):
        return 0
    mine, theirs = (
        tuple(slice(start - own.start, stop - own.start) for (start, stop), own in zip(spans, filled.box, strict=True))
        for filled in (one, other)
    )
    enclosed = other.inside[theirs] | other.on_edge[theirs] if edges else other.inside[theirs]
    return int((one.inside[mine] & enclosed).sum())


def _all_filled(polygons_ji: Sequence[np.ndarray], shape_ji: tuple[int, int]) -> Iterator[_Filled]:
    """Those of at least three points that reach the slice."""
    for polygon in polygons_ji:
        if len(polygon) < 3:
            continue
        points = np.round(polygon, DECIMALS)
        first = np.clip(np.floor(points.min(0)), 0, shape_ji)
        last = np.clip(np.ceil(points.max(0)) + 1, 0, shape_ji)
        rows, columns = (slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        if min(shape) > 0:
            found = _found_in(points - first, shape)
            yield _Filled((rows, columns), found == INSIDE, found > INSIDE)


def _found_in(points_ji: np.ndarray, shape_ji: tuple[int, ...]) -> np.ndarray:
    """0 outside, 1 inside, above on a corner or an edge."""
    measure = require("skimage.measure", extra=EXTRA)
    return np.asarray(measure.grid_points_in_poly(shape_ji, points_ji, binarize=False))


def traced_polygons(mask: np.ndarray, keyholes: bool = True) -> list[np.ndarray]:
    """Polygons that run halfway between the centres of neighbouring voxels inside and outside.

    They lie at least 0.35 voxels from every centre, so that `filled_polygons` gives the mask back exactly. Voxels that
    touch by a corner only get polygons of their own.

    Args:
        mask: bool `[J, I]`.
        keyholes: Whether a hole is joined to its outer polygon by a channel; otherwise it is a polygon of its own, and
            the polygons are to be combined by exclusive or.

    Returns:
        float `[N, 2]` (j, i) each, the first point not repeated; without points on straight lines.
    """
    measure = require("skimage.measure", extra=EXTRA)
    polygons: list[np.ndarray] = []
    for region in measure.regionprops(measure.label(mask, connectivity=1)):
        corner = np.subtract(region.bbox[:2], 1)
        loops = [loop[:-1] + corner for loop in measure.find_contours(np.pad(region.image, 1).astype(float), 0.5)]
        outer, *holes = sorted(loops, key=lambda loop: -float(np.prod(np.ptp(loop, axis=0))))
        polygons += [_with_keyholes(outer, holes)] if keyholes else [outer, *holes]
    return [_without_straight_points(polygon) for polygon in polygons]


def _with_keyholes(outer: np.ndarray, holes: Sequence[np.ndarray]) -> np.ndarray:
    """One polygon that runs to each hole and back along the shortest channel, the nearest hole first."""
    channels = [_channel(outer, hole) for hole in holes]
    while channels:
        shortest = channels.pop(int(np.argmin([channel.length for channel in channels])))
        at = int(np.flatnonzero((outer == shortest.start).all(axis=1))[0])
        hole = np.roll(shortest.hole, -shortest.end, axis=0)
        outer = np.concatenate([outer[: at + 1], hole, hole[:1], outer[at:]])
        others = [_channel(shortest.hole, channel.hole) for channel in channels]
        channels = [min(pair, key=lambda one: one.length) for pair in zip(channels, others, strict=True)]
    return outer


@dataclass(frozen=True)
class _Channel:
    """The shortest way from a polygon's point to a hole's point, which is `hole[end]`."""

    start: np.ndarray
    hole: np.ndarray
    end: int
    length: float


def _channel(polygon: np.ndarray, hole: np.ndarray) -> _Channel:
    spatial = require("scipy.spatial", extra=EXTRA)
    lengths, ends = spatial.cKDTree(hole).query(polygon)
    nearest = int(np.argmin(lengths))
    return _Channel(polygon[nearest], hole, int(ends[nearest]), float(lengths[nearest]))


def _without_straight_points(polygon: np.ndarray) -> np.ndarray:
    """Leave out the points at which the polygon goes straight on; where it turns back, they stay."""
    before = polygon - np.roll(polygon, 1, axis=0)
    after = np.roll(polygon, -1, axis=0) - polygon
    turn = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    return polygon[(turn != 0) | ((before * after).sum(axis=1) < 0)]
