"""Which slice to redraw next: the one on which the network is least decided, away from the slices drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from context_propagation.core.image.boxes import slices_of
from context_propagation.core.image.slices import near_indices
from context_propagation.core.propagation.composition import EditRecord, FarMargins, mean_far_margins


def slice_uncertainty_mm2(
    margins: np.ndarray, records: Sequence[EditRecord], axis: int, spacing_kji_mm: Sequence[float]
) -> np.ndarray:
    """How undecided the network is on each slice.

    A voxel counts its pixel area times 1 - |margin|: all of it where target and the rest are as likely as each other,
    none where one of them is sure. A slice with a large, blurred contour has much of it, an end slice little. Slices
    that are drawn, and their near slices, have none.

    Args:
        margins: float `[K, J, I]`, -1 to 1, from the untouched features; NaN where no window decodes. See
            `SegmentationModel.target_margin`.
        records: The edits so far; where a fusion network spoke, its mean margin takes the place of the untouched one.
        axis: Array axis that the slices are perpendicular to.
        spacing_kji_mm: Voxel size along k, j, i.

    Returns:
        float64, one value per slice along `axis`, mm².
    """
    uncertainty = 1.0 - np.abs(margins.astype(np.float32))
    spoken: list[FarMargins] = [record.far for record in records if record.far is not None]
    if spoken:
        box, mean = mean_far_margins(spoken)
        part = uncertainty[slices_of(box)]
        part[...] = np.where(np.isnan(mean), part, 1.0 - np.abs(mean))
    first, second = (mm for a, mm in enumerate(spacing_kji_mm) if a != axis)
    others = tuple(a for a in range(3) if a != axis)
    per_slice = np.asarray(np.nansum(uncertainty, axis=others, dtype=np.float64)) * first * second
    for record in records:
        if record.axis == axis:
            drawn = [edit.index for edit in record.edits]
            per_slice[near_indices(drawn, record.neighbours, len(per_slice))] = 0.0
    return per_slice


def suggested_slice(uncertainty_mm2: np.ndarray) -> int | None:
    """The most uncertain slice, the lower of equal ones; None where there is none."""
    return int(np.argmax(uncertainty_mm2)) if uncertainty_mm2.size and uncertainty_mm2.max() > 0 else None
