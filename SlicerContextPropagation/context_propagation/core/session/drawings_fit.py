"""How contours fit slices that were drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from context_propagation.core.image.boxes import bounding_box, dilate, slices_of, whole
from context_propagation.core.image.contour_offset import best_offset_mm, contour_depth_mm, fit
from context_propagation.core.image.slices import SliceEdit
from context_propagation.core.session.session_settings import MOST_OFFSET_MM


def better_fit(drawings: Sequence[SliceEdit], one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of two segmentations, bool `[K, J, I]`, the one that fits drawn slices better; the first where both do."""
    drawn = np.concatenate([edit.mask.ravel() for edit in drawings])
    first, second = (
        fit(np.concatenate([mask[edit.place].ravel() for edit in drawings]), drawn) for mask in (one, other)
    )
    return one if first >= second else other


def offset_of_drawings_mm(
    drawings: Sequence[SliceEdit], contours: np.ndarray, spacing_kji_mm: tuple[float, float, float]
) -> float:
    """By how much contours must move outwards to fit drawn slices best.

    Args:
        drawings: Of one axis; at least one.
        contours: bool `[K, J, I]`.
        spacing_kji_mm: Voxel size.
    """
    axis = drawings[0].axis
    slices = np.stack([contours.take(edit.index, axis) for edit in drawings], axis)
    drawn = np.stack([edit.mask for edit in drawings], axis)
    around = bounding_box(slices | drawn)
    if around is None:
        return 0.0
    reach = tuple(math.ceil(MOST_OFFSET_MM / mm) + 1 for mm in spacing_kji_mm)
    place = slices_of(dilate(around, reach, whole(drawn.shape)))
    return best_offset_mm(contour_depth_mm(slices[place], axis, spacing_kji_mm), drawn[place])
