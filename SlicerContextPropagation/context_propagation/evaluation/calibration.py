"""A control without learning: the untouched margin moved as the drawn slice says, on all far slices."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import SimpleITK as sitk

from context_propagation.core.image.boxes import Box, bounding_box, dilate, slices_of, whole
from context_propagation.core.image.contour_offset import TIE_MM
from context_propagation.core.image.slices import SliceEdit, near_indices, places_in
from context_propagation.core.measures.regression import slice_dsc
from context_propagation.core.propagation.stray_voxels import without_strays
from context_propagation.core.session.preview import Preview

LOGITS = np.linspace(-4.0, 4.0, 17)
"""Thresholds of the target's log odds that are tried; 0 is the network's own."""


OFFSETS_MM = np.linspace(-6.0, 6.0, 13)
"""By how much the contour is moved outwards; 0 leaves it."""

PENALTY = 0.01
"""DSC that the farthest threshold costs, and the farthest offset: what the drawn slice hardly tells apart stays."""


def calibrated(preview: Preview) -> np.ndarray:
    """What an edit gives where far slices are the untouched margin beyond a threshold, moved outwards by an offset.

    Both are those that fit the drawn slice best, by DSC less a small penalty. Near slices are the update's. As
    everywhere, only voxels change that the network decodes otherwise than before.

    Args:
        preview: Of one drawn slice, without a fusion network.

    Returns:
        bool `[K, J, I]`.
    """
    (edit,), result = preview.edits, preview.segmentation
    cache, spacing = preview.propagation.cache, preview.propagation.spacing_kji_mm
    margins = cache.window_margins
    if margins is None:
        return result
    margins = margins.undone(cache.prepared.axes, cache.owner.shape)
    start, stop = margins.box[edit.axis]
    if not start <= edit.index < stop:
        return result
    found = best_fit(margins.values.astype(np.float32), edit, margins.box, spacing)
    part = result[slices_of(margins.box)]
    flipped = (found != preview.masks.window_prediction[slices_of(margins.box)]) & ~np.isnan(margins.values)
    image, near = whole(result.shape), np.zeros(result.shape, bool)
    indices = near_indices([edit.index], preview.propagation.neighbours, result.shape[edit.axis])
    for place in places_in(image, edit.axis, indices):
        near[place] = True
    flipped &= ~near[slices_of(margins.box)]
    part[flipped] = found[flipped]
    before = preview.masks.segmentation
    pasted = before.copy()
    pasted[edit.place] = edit.mask
    free = np.ones(result.shape, bool)
    free[edit.place] = False
    return pasted ^ without_strays(before, pasted, pasted ^ result, free, near, edit.axis, image, result.shape)


def best_fit(margins: np.ndarray, edit: SliceEdit, box: Box, spacing_kji_mm: Sequence[float]) -> np.ndarray:
    """The mask in a box, of all thresholds and offsets, that fits a drawn slice best.

    Args:
        margins: The box's shape, -1 to 1; NaN is background.
        edit: The drawn slice.
        box: Of the image, (k, j, i); it holds the drawn slice's index.
        spacing_kji_mm: Voxel size.
    """
    plane = [a for a in range(3) if a != edit.axis]
    drawn = edit.mask[tuple(slice(*box[a]) for a in plane)]
    index = edit.index - box[edit.axis][0]
    score, best = -np.inf, margins > 0
    for logit in LOGITS:
        mask = margins > np.tanh(logit / 2)  # of two labels, the margin is 2 p - 1
        depth = _depth_mm(mask, spacing_kji_mm)
        for offset in OFFSETS_MM:
            moved = depth >= -offset - TIE_MM
            (dsc,) = slice_dsc(moved.take([index], edit.axis), np.expand_dims(drawn, edit.axis), edit.axis)
            value = dsc - PENALTY * (abs(logit) / LOGITS[-1] + abs(offset) / OFFSETS_MM[-1])
            if value > score:
                score, best = value, moved
    return best


def _depth_mm(mask: np.ndarray, spacing_kji_mm: Sequence[float]) -> np.ndarray:
    """Signed distance to a mask's surface, positive inside; far outside where it is farther than any offset."""
    depth = np.where(mask, np.inf, -np.inf)
    inside = bounding_box(mask)
    if inside is None or mask.all():
        return depth
    border = tuple(math.ceil(OFFSETS_MM[-1] / mm) + 1 for mm in spacing_kji_mm)
    box = slices_of(dilate(inside, border, whole(mask.shape)))
    image = sitk.GetImageFromArray(mask[box].astype(np.uint8))
    image.SetSpacing([float(size) for size in spacing_kji_mm[::-1]])
    found = sitk.SignedMaurerDistanceMap(image, insideIsPositive=True, squaredDistance=False, useImageSpacing=True)
    depth[box] = sitk.GetArrayFromImage(found)
    return depth
