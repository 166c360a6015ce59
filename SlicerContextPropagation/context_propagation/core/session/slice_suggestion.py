"""Which slice to redraw next: the one on which the network is least decided, away from the slices drawn."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from context_propagation.core.image.boxes import around, box_shape, inside_of, slices_of
from context_propagation.core.image.slices import near_indices
from context_propagation.core.propagation.composition import EditRecord
from context_propagation.core.propagation.margins import Margins, mean_margins


def slice_uncertainty_mm2(
    margins: Margins | None,
    records: Sequence[EditRecord],
    axis: int,
    shape_kji: tuple[int, int, int],
    spacing_kji_mm: Sequence[float],
) -> np.ndarray:
    """How undecided the network is on each slice.

    A voxel counts its pixel area times 1 - |margin|: all of it where target and the rest are as likely as each other,
    none where one of them is sure. A slice with a large, blurred contour has much of it, an end slice little. Slices
    that are drawn, and their near slices, have none.

    Args:
        margins: From the untouched features, in the volume's own axes; None where no window decodes anything.
        records: The edits so far; where a fusion network spoke, its mean margin takes the place of the untouched one.
        axis: Array axis that the slices are perpendicular to.
        shape_kji: Of the image.
        spacing_kji_mm: Voxel size along k, j, i.

    Returns:
        float64, one value per slice along `axis`, mm².
    """
    spoken = [record.far for record in records if record.far is not None]
    known = [margins] if margins is not None else []
    known += [mean_margins(spoken)] if spoken else []
    per_slice = np.zeros(shape_kji[axis])
    if known:
        box = reduce(around, (one.box for one in known))
        uncertainty = np.zeros(box_shape(box), np.float32)
        for one in known:
            part = uncertainty[slices_of(inside_of(one.box, box))]
            np.copyto(part, 1.0 - np.abs(one.values.astype(np.float32)), where=~np.isnan(one.values))
        first, second = (mm for a, mm in enumerate(spacing_kji_mm) if a != axis)
        others = tuple(a for a in range(3) if a != axis)
        per_slice[slice(*box[axis])] = uncertainty.sum(others, dtype=np.float64) * first * second
    for record in records:
        if record.axis == axis:
            drawn = [edit.index for edit in record.edits]
            per_slice[near_indices(drawn, record.neighbours, len(per_slice))] = 0.0
    return per_slice


def suggested_slice(uncertainty_mm2: np.ndarray) -> int | None:
    """The most uncertain slice, the lower of equal ones; None where there is none."""
    return int(np.argmax(uncertainty_mm2)) if uncertainty_mm2.size and uncertainty_mm2.max() > 0 else None
