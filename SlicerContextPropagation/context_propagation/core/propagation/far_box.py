"""Where an edit may flip far labels: only there the fused features are decoded; elsewhere a voxel keeps what it has."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce

import numpy as np

from context_propagation.core.image.boxes import (
    Box,
    around,
    bounding_box,
    box_of,
    dilate,
    intersection,
    offset,
    slices_of,
    whole,
)
from context_propagation.core.propagation.drawn_slices import NetworkEdit
from context_propagation.core.propagation.feature_cache import FeatureCache
from context_propagation.core.propagation.margins import Margins

FAR_BORDER_MM = 6.0
"""Around prediction and drawing. On phantoms no label flips more than 4 mm away from them."""


def margins_where_labels_flip(
    cache: FeatureCache, edit: NetworkEdit, spacing_mm: Sequence[float], decode: Callable[[int, Box], Margins]
) -> Margins | None:
    """The margins in each window's `far_box`, grown for as long as labels flip at its border.

    Args:
        cache: The image's features.
        edit: All drawn slices of the propagation.
        spacing_mm: The image's voxel size along the network's axes.
        decode: Gives the margins in a box of image voxels of a window, by its number.

    Returns:
        In network axis order; None where nothing is decoded.
    """
    parts = []
    for number in range(len(cache.windows)):
        box, known = far_box(cache, number, edit, spacing_mm), None
        while box is not None and (known is None or box != known.box):
            known = decode(number, box)
            box = grown_box(cache, number, known, spacing_mm)
        parts += [] if known is None else [known]
    return Margins.together(parts)


def far_box(cache: FeatureCache, number: int, edit: NetworkEdit, spacing_mm: Sequence[float]) -> Box | None:
    """The image voxels of a window that are decoded first: around R_0 and the drawing, with a border.

    Args:
        cache: The image's features.
        number: The window's.
        edit: All drawn slices of the propagation.
        spacing_mm: The image's voxel size along the network's axes.

    Returns:
        In network axis order, inside what the window owns; None where there is nothing in it to flip.
    """
    owned = cache.owned_box(number)
    if owned is None:
        return None
    predicted = bounding_box(cache.window_prediction[slices_of(owned)])
    parts = [] if predicted is None else [offset(predicted, owned)]
    drawn = bounding_box(edit.drawn.take(edit.indices, edit.axis))
    if drawn is not None:
        spans = list(drawn)
        spans[edit.axis] = (min(edit.indices), max(edit.indices) + 1)
        parts.append(box_of(spans))
    if not parts:
        return None
    return intersection(dilate(reduce(around, parts), _border(spacing_mm), whole(cache.owner.shape)), owned)


def grown_box(cache: FeatureCache, number: int, margins: Margins, spacing_mm: Sequence[float]) -> Box:
    """The box to decode instead, where labels flip on a face of the decoded one; else the same box.

    Args:
        cache: The image's features.
        number: The window's.
        margins: Of the fused features, in network axis order.
        spacing_mm: The image's voxel size along the network's axes.
    """
    limits = cache.owned_box(number) or margins.box
    flips = ((margins.values > 0) != cache.window_prediction[slices_of(margins.box)]) & ~np.isnan(margins.values)
    spans = []
    for axis, ((start, stop), (low, high), border) in enumerate(
        zip(margins.box, limits, _border(spacing_mm), strict=True)
    ):
        first, last = (bool(flips.take(end, axis).any()) for end in (0, -1))
        spans.append((max(low, start - border) if first else start, min(high, stop + border) if last else stop))
    return box_of(spans)


def _border(spacing_mm: Sequence[float]) -> tuple[int, ...]:
    """In voxels."""
    return tuple(math.ceil(FAR_BORDER_MM / mm) for mm in spacing_mm)
