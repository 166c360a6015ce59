"""Boxes of array indices: half-open spans along three axes."""

from __future__ import annotations

import numpy as np

Span = tuple[int, int]


Box = tuple[Span, Span, Span]
"""Three `(start, stop)` pairs."""


def box_of(spans: list[Span]) -> Box:
    """Three spans as a box."""
    first, second, third = spans
    return first, second, third


def whole(shape: tuple[int, ...]) -> Box:
    """The box of a whole array."""
    return box_of([(0, int(n)) for n in shape])


def slices_of(box: Box) -> tuple[slice, slice, slice]:
    """Index expressions of a box."""
    return slice(*box[0]), slice(*box[1]), slice(*box[2])


def box_shape(box: Box) -> tuple[int, int, int]:
    """Its shape."""
    first, second, third = (stop - start for start, stop in box)
    return first, second, third


def intersection(a: Box, b: Box) -> Box | None:
    """The common box, or None."""
    spans = [(max(p[0], q[0]), min(p[1], q[1])) for p, q in zip(a, b, strict=True)]
    return None if any(start >= stop for start, stop in spans) else box_of(spans)


def around(a: Box, b: Box) -> Box:
    """The box around both; an empty one does not count."""
    if 0 in box_shape(a) or 0 in box_shape(b):
        return b if 0 in box_shape(a) else a
    return box_of([(min(p[0], q[0]), max(p[1], q[1])) for p, q in zip(a, b, strict=True)])


def offset(box: Box, outer: Box) -> Box:
    """A box given inside another one, in the outer one's indices."""
    return box_of([(start + base, stop + base) for (start, stop), (base, _) in zip(box, outer, strict=True)])


def inside_of(box: Box, outer: Box) -> Box:
    """A box in the indices of another one that it lies in: the reverse of `offset`."""
    return box_of([(start - base, stop - base) for (start, stop), (base, _) in zip(box, outer, strict=True)])


def contains(outer: Box, inner: Box) -> bool:
    """Whether a box lies inside another."""
    return all(a <= c and d <= b for (a, b), (c, d) in zip(outer, inner, strict=True))


def dilate(box: Box, border: tuple[int, ...], limits: Box) -> Box:
    """Grow a box by a border per axis, within limits."""
    grown = [(s - m, e + m) for (s, e), m in zip(box, border, strict=True)]
    return box_of([(max(s, low), min(e, high)) for (s, e), (low, high) in zip(grown, limits, strict=True)])


def bounding_box(mask: np.ndarray) -> Box | None:
    """The box around the True voxels `[K, J, I]`, or None.

    The first axis is looked at from its ends, and the others at once, as a large mask is read as seldom as possible.
    """
    start = _first(mask)
    if start == len(mask):
        return None
    stop = len(mask) - _first(mask[::-1])
    seen = np.logical_or.reduce(mask[start:stop], axis=0)
    return (start, stop), _span(seen.any(axis=1)), _span(seen.any(axis=0))


def light_copy(mask: np.ndarray) -> np.ndarray:
    """A copy of a bool mask `[K, J, I]`, made in half the time where most slices of the first axis are empty."""
    copy = np.zeros(mask.shape, bool)
    for index, plane in enumerate(mask):
        if plane.any():
            copy[index] = plane
    return copy


def _first(mask: np.ndarray) -> int:
    """The first slice of the first axis that has a True voxel; the number of slices where none has."""
    return next((index for index, plane in enumerate(mask) if plane.any()), len(mask))


def _span(line: np.ndarray) -> Span:
    """From the first to after the last True one; there is one."""
    places = np.flatnonzero(line)
    return int(places[0]), int(places[-1]) + 1


def pieces_of(box: Box, voxels: int) -> list[Box]:
    """A box cut along its first axis into pieces of not much more than so many voxels."""
    (start, stop), second, third = box
    plane = (second[1] - second[0]) * (third[1] - third[0])
    step = max(1, voxels // max(1, plane))
    spans: list[Span] = [(first, min(stop, first + step)) for first in range(start, stop, step)]
    return [box_of([span, second, third]) for span in spans]
