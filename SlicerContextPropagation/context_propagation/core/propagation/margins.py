"""How sure a decode is of the target, in a box of the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from context_propagation.core.image.axis_map import AxisMap
from context_propagation.core.image.boxes import Box, around, box_shape, inside_of, slices_of


@dataclass(frozen=True)
class Margins:
    """The target's probability less the largest other one; see `SegmentationModel.target_margin`.

    Attributes:
        box: Where the margins lie in the image; nothing is known elsewhere.
        values: float16, the box's shape, -1 to 1; NaN where nothing is known.
    """

    box: Box
    values: np.ndarray

    @classmethod
    def together(cls, parts: Sequence[Margins]) -> Margins | None:
        """Several that know different voxels, as one; None for none."""
        if len(parts) < 2:
            return parts[0] if parts else None
        box = reduce(around, (part.box for part in parts))
        values = np.full(box_shape(box), np.nan, np.float16)
        for part in parts:
            np.copyto(values[slices_of(inside_of(part.box, box))], part.values, where=~np.isnan(part.values))
        return cls(box, values)

    def undone(self, axes: AxisMap, shape: Sequence[int]) -> Margins:
        """In the volume's own axes; `shape` is the image's in the network's axes."""
        return Margins(axes.undo_box(self.box, shape), axes.undo(self.values))


def mean_margins(spoken: Sequence[Margins]) -> Margins:
    """The mean over those that know a voxel, float32; NaN where none does.

    Args:
        spoken: At least one.
    """
    box = reduce(around, (one.box for one in spoken))
    if len(spoken) == 1:
        return Margins(box, spoken[0].values.astype(np.float32))
    total, count = np.zeros(box_shape(box), np.float32), np.zeros(box_shape(box), np.float32)
    for one in spoken:
        inside = slices_of(inside_of(one.box, box))
        known = ~np.isnan(one.values)
        total[inside] += np.where(known, one.values, 0)
        count[inside] += known
    return Margins(box, np.divide(total, count, out=np.full(total.shape, np.nan, np.float32), where=count > 0))
