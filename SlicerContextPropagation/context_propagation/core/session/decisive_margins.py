"""The margins that decide on the target after some edits: of the untouched features, or of what spoke since."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np

from context_propagation.core.image.boxes import around, box_shape, inside_of, slices_of
from context_propagation.core.image.slices import places_in
from context_propagation.core.propagation.edit_record import EditRecord, FarRule
from context_propagation.core.propagation.margins import Margins, mean_margins


def decisive_margins(
    margins: Margins | None, records: Sequence[EditRecord], shape_kji: tuple[int, int, int], far_rule: FarRule
) -> Margins | None:
    """The margins that decide on the target after some edits.

    Args:
        margins: From the untouched features, in the volume's own axes; None where no window decodes anything.
        records: The edits; where a network for far slices spoke, its margin takes the place of the untouched one.
        shape_kji: Of the image.
        far_rule: See `compose`.

    Returns:
        float32; NaN where nothing is known, and on slices that are drawn and their near slices: these are decided. None
        where no margin is known at all.
    """
    spoken = [record.far for record in records if record.far is not None]
    spoken = spoken[-1:] if far_rule == "latest" else spoken
    known = [margins] if margins is not None else []
    known += [mean_margins(spoken)] if spoken else []
    if not known:
        return None
    box = reduce(around, (one.box for one in known))
    values = np.full(box_shape(box), np.nan, np.float32)
    for one in known:
        np.copyto(values[slices_of(inside_of(one.box, box))], one.values, where=~np.isnan(one.values))
    for record in records:
        for place in places_in(box, record.axis, record.near_indices(shape_kji[record.axis])):
            values[place] = np.nan
    return Margins(box, values)
