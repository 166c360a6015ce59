"""Eq. 4: the refined volume from the edits so far; several edits, drawn slices exact (paper II-C, II-D).

    Z(s) = phi'(f')(s)                    s is near: the edited slice or one of its neighbours
    Z(s) = phi'(phi_fusion(f, f'))(s)     s is far: any other slice

`compose` puts Z together from what both lines decode to, which an `EditRecord` holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce

import numpy as np

from context_propagation.core.image.boxes import Box, around, box_shape, inside_of, intersection, slices_of, whole
from context_propagation.core.image.slices import SliceEdit, near_indices, places_in
from context_propagation.core.propagation.edit_record import EditRecord, FarRule, NearLabels
from context_propagation.core.propagation.far_labels import flip_far
from context_propagation.core.propagation.far_thresholds import FarThresholds


def compose(
    window_prediction: np.ndarray,
    records: Sequence[EditRecord],
    far_thresholds: FarThresholds = FarThresholds(),
    far_rule: FarRule = "average",
    box: Box | None = None,
) -> np.ndarray:
    """Labels after all edits, R_n: Eq. 4 for each edit.

        Z(s) = phi'(f')(s) on near slices,  Z(s) = phi'(phi_fusion(f, f'))(s) on far ones

    A near slice takes the update of the edit that was drawn first among those that it is near to; an edit for which
    nothing had to be updated is near to none. A far slice, near to no edit, takes the target where the margin of the
    fused features is beyond the thresholds' `add`, background where it is beyond their `remove`, and else keeps what
    it had; next to a near slice a part of the thresholds is enough (their `fading_slices`), and it keeps what
    it had where no slice through it, along the axis of an edit with margins, is expected to gain their `least_gain`. A
    drawn slice is as drawn; where two drawn slices cross, the later drawing holds.

    Args:
        window_prediction: bool `[K, J, I]`, R_0: decoded from the untouched features.
        records: The edits in the order in which they were propagated.
        far_thresholds: Only margins beyond these change the label of a far voxel, see `far_labels.py`.
        far_rule: "average": the mean margin of all edits that have one; "latest": that of the last of them.
        box: The part that is asked for; outside `composed_box` it is R_0. By default all.

    Returns:
        bool, the box's shape.

    Source: Chao et al., Eq. 4 and the rule for several edits in section II-D; the thresholds are ours.
    """
    box = box or whole(window_prediction.shape)
    labels = window_prediction[slices_of(box)].copy()
    flip_far(labels, box, window_prediction, records, far_thresholds, far_rule)
    claimed = np.zeros(labels.shape, bool)
    for record, edit in _in_drawing_order(records):
        if record.satisfied:
            continue
        for index in near_indices([edit.index], record.neighbours, window_prediction.shape[record.axis]):
            for near in record.near:
                if near.index == index:
                    _update_near(labels, claimed, box, near)
            for place in places_in(box, record.axis, [index]):
                claimed[place] = True
    for _, edit in _in_drawing_order(records):
        edit.draw_into(labels, box)
    return labels


def near_voxels(shape: tuple[int, ...], records: Sequence[EditRecord], box: Box) -> np.ndarray:
    """Bool, the box's shape: where an edit is near for which something had to be updated."""
    near = np.zeros(box_shape(box), bool)
    for record in records:
        if not record.satisfied:
            for place in places_in(box, record.axis, record.near_indices(shape[record.axis])):
                near[place] = True
    return near


def composed_box(window_prediction: np.ndarray, records: Sequence[EditRecord]) -> Box | None:
    """A box outside which R_n is R_0; None where it is R_0 everywhere. See `compose`."""
    boxes = [near.box for record in records for near in record.near]
    boxes += [record.far.box for record in records if record.far is not None]
    for record in records:
        boxes += [found for edit in record.edits if (found := edit.differs_within(window_prediction)) is not None]
    return reduce(around, boxes) if boxes else None


def _in_drawing_order(records: Sequence[EditRecord]) -> Iterator[tuple[EditRecord, SliceEdit]]:
    drawings = [(at, record, edit) for record in records for at, edit in record.drawings()]
    for _, record, edit in sorted(drawings, key=lambda drawing: drawing[0]):
        yield record, edit


def _update_near(labels: np.ndarray, claimed: np.ndarray, box: Box, near: NearLabels) -> None:
    """Write what a near slice says where nobody claims it; in the part of it that lies in the box of the labels."""
    common = intersection(near.box, box)
    if common is None:
        return
    of_near, of_labels = slices_of(inside_of(common, near.box)), slices_of(inside_of(common, box))
    free = near.changed[of_near] & ~claimed[of_labels]
    labels[of_labels][free] = near.labels[of_near][free]


def drawn_voxels(shape: tuple[int, ...], records: Sequence[EditRecord], box: Box | None = None) -> np.ndarray:
    """Bool, the box's shape, by default the image's: the slices that were drawn."""
    box = box or whole(shape)
    drawn = np.zeros(box_shape(box), bool)
    for record in records:
        for edit in record.edits:
            for place in places_in(box, edit.axis, [edit.index]):
                drawn[place] = True
    return drawn
