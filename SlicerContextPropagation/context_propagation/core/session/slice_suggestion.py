"""Which slices to redraw next: those on which the network is least decided, away from the slices drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from context_propagation.core.image.slices import near_indices
from context_propagation.core.propagation.edit_record import EditRecord, FarRule
from context_propagation.core.propagation.margins import Margins
from context_propagation.core.session.decisive_margins import decisive_margins


def slice_uncertainty_mm2(
    margins: Margins | None,
    records: Sequence[EditRecord],
    axis: int,
    shape_kji: tuple[int, int, int],
    spacing_kji_mm: Sequence[float],
    far_rule: FarRule = "average",
) -> np.ndarray:
    """How undecided the network is on each slice.

    A voxel counts its pixel area times 1 - |margin|: all of it where target and the rest are as likely as each other,
    none where one of them is sure. A slice with a large, blurred contour has much of it, an end slice little. Slices
    that are drawn, and their near slices, have none.

    Args:
        margins: From the untouched features, in the volume's own axes; None where no window decodes anything.
        records: The edits so far; see `decisive_margins`.
        axis: Array axis that the slices are perpendicular to.
        shape_kji: Of the image.
        spacing_kji_mm: Voxel size along k, j, i.
        far_rule: See `compose`.

    Returns:
        float64, one value per slice along `axis`, mm².
    """
    per_slice, decisive = np.zeros(shape_kji[axis]), decisive_margins(margins, records, shape_kji, far_rule)
    if decisive is not None:
        uncertainty = np.nan_to_num(1.0 - np.abs(decisive.values), copy=False, nan=0.0)
        first, second = (mm for a, mm in enumerate(spacing_kji_mm) if a != axis)
        others = tuple(a for a in range(3) if a != axis)
        per_slice[slice(*decisive.box[axis])] = uncertainty.sum(others, dtype=np.float64) * first * second
    return per_slice


def suggested_slices(uncertainty_mm2: np.ndarray, neighbours: int) -> list[int]:
    """The slices to redraw, in order: each is the most uncertain one that is not near to one before it.

    A slice that is near to a redrawn one is decided with it. Of equal ones the lower comes first.

    Args:
        uncertainty_mm2: One value per slice.
        neighbours: How many slices on each side of a redrawn one are near.
    """
    left, found = uncertainty_mm2.astype(np.float64), []
    while left.size and left.max() > 0:
        found.append(int(np.argmax(left)))
        left[near_indices(found[-1:], neighbours, len(left))] = 0.0
    return found


def suggested_slice(uncertainty_mm2: np.ndarray) -> int | None:
    """The most uncertain slice, the lower of equal ones; None where there is none."""
    return int(np.argmax(uncertainty_mm2)) if uncertainty_mm2.size and uncertainty_mm2.max() > 0 else None
