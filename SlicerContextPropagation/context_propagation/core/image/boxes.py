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


def contains(outer: Box, inner: Box) -> bool:
    """Whether a box lies inside another."""
    return all(a <= c and d <= b for (a, b), (c, d) in zip(outer, inner, strict=True))


def dilate(box: Box, border: tuple[int, ...], limits: Box) -> Box:
    """Grow a box by a border per axis, within limits."""
    grown = [(s - m, e + m) for (s, e), m in zip(box, border, strict=True)]
    return box_of([(max(s, low), min(e, high)) for (s, e), (low, high) in zip(grown, limits, strict=True)])


def bounding_box(mask: np.ndarray) -> Box | None:
    """The box around the True voxels `[K, J, I]`, or None."""
    spans: list[Span] = []
    rest = mask
    for axis in range(3):  # each axis looks only at what the earlier ones left
        touched = np.flatnonzero(rest.any(axis=tuple(a for a in range(3) if a != axis)))
        if touched.size == 0:
            return None
        spans.append((int(touched[0]), int(touched[-1]) + 1))
        rest = rest[(slice(None),) * axis + (slice(*spans[-1]),)]
    return box_of(spans)
