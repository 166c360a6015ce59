"""Eq. 4: the refined volume from the edits so far; several edits, drawn slices exact (paper II-C, II-D).

    Z(s) = phi'(f')(s)                    s is near: the edited slice or one of its neighbours
    Z(s) = phi'(phi_fusion(f, f'))(s)     s is far: any other slice

`compose` puts Z together from what both lines decode to: `NearLabels` and `Margins`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import TYPE_CHECKING, Literal

import numpy as np

from context_propagation.core.image.boxed_mask import NO_VOXELS
from context_propagation.core.image.boxes import Box, around, box_shape, inside_of, intersection, slices_of, whole
from context_propagation.core.image.slices import SliceEdit, near_indices, places_in
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.propagation.margins import Margins, mean_margins
from context_propagation.core.propagation.update_settings import UpdateReport

if TYPE_CHECKING:
    from context_propagation.core.propagation.updated_features import UpdatedFeatures

FarRule = Literal["latest", "average"]
"""Which edits speak for a far voxel: the last one, or the mean of all."""


@dataclass(frozen=True)
class NearLabels:
    """The target decoded from the updated features, on one slice.

    Attributes:
        index: Slice index along the edit's axis.
        box: Where the labels lie in the image, (k, j, i).
        labels: bool, the box's shape.
        changed: bool, the box's shape: where the update flipped the label; elsewhere R_0 holds.
    """

    index: int
    box: Box
    labels: np.ndarray
    changed: np.ndarray


@dataclass(frozen=True)
class EditRecord:
    """One propagated edit: slices of one axis that were optimised together.

    Attributes:
        edits: The drawn slices.
        neighbours: How many slices on each side are near.
        near: What the updated features say on the near slices; nothing where they were not needed.
        updates: A report for each window and fold that was updated.
        drawn_at: When each slice was drawn: later drawings have larger numbers. Without, 0.
        features: f' where it differs from f, to start the next joint update from.
        far: What the network for far slices says; None without one or where nothing had to be updated.
        strays: Flat indices of the image's voxels where the segmentation is not as the edits so far have it, because
            strays were taken back; the next edit looks at them anew.
        confirmed: Whether the slices were not redrawn but said to be right as they are: they are protected as drawn
            ones are, and nothing is propagated from them.
    """

    edits: tuple[SliceEdit, ...]
    neighbours: int
    near: tuple[NearLabels, ...]
    updates: tuple[UpdateReport, ...] = ()
    drawn_at: tuple[int, ...] = ()
    features: tuple[UpdatedFeatures, ...] = ()
    far: Margins | None = None
    strays: np.ndarray = field(default_factory=lambda: NO_VOXELS)
    confirmed: bool = False

    @property
    def axis(self) -> int:
        return self.edits[0].axis

    @property
    def satisfied(self) -> bool:
        """Whether nothing was updated: the untouched features decode to the drawing already, or it was confirmed."""
        return self.confirmed or any(update.stop_reason == "already satisfied" for update in self.updates)

    def drawings(self) -> list[tuple[int, SliceEdit]]:
        """When each slice was drawn, and the slice."""
        return list(zip(self.drawn_at or (0,) * len(self.edits), self.edits, strict=True))

    def near_indices(self, slices: int) -> list[int]:
        """N(s) of all its slices, among `slices` slices."""
        return near_indices([edit.index for edit in self.edits], self.neighbours, slices)


def drawn_slices(records: Sequence[EditRecord]) -> list[SliceEdit]:
    """All slices that were drawn; without those that were confirmed."""
    return [edit for record in records if not record.confirmed for edit in record.edits]


def superseded(records: Sequence[EditRecord], edits: Sequence[SliceEdit]) -> tuple[EditRecord, ...]:
    """The records left once slices are redrawn: a new drawing replaces the old one of the same slice."""
    redrawn = {(edit.axis, edit.index) for edit in edits}
    left = []
    for record in records:
        kept = [(at, edit) for at, edit in record.drawings() if (edit.axis, edit.index) not in redrawn]
        drawn_at = tuple(at for at, _ in kept) if record.drawn_at else ()
        left.append(replace(record, edits=tuple(edit for _, edit in kept), drawn_at=drawn_at))
    return tuple(record for record in left if record.edits)


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
    it had; next to a near slice a part of the thresholds is enough (their `fading_slices`). A drawn slice is as drawn;
    where two drawn slices cross, the later drawing holds.

    Args:
        window_prediction: bool `[K, J, I]`, R_0: decoded from the untouched features.
        records: The edits in the order in which they were propagated.
        far_thresholds: Only margins beyond these change the label of a far voxel.
        far_rule: "average": the mean margin of all edits that have one; "latest": that of the last of them.
        box: The part that is asked for; outside `composed_box` it is R_0. By default all.

    Returns:
        bool, the box's shape.

    Source: Chao et al., Eq. 4 and the rule for several edits in section II-D; the thresholds are ours.
    """
    box = box or whole(window_prediction.shape)
    labels = window_prediction[slices_of(box)].copy()
    _flip_far(labels, box, window_prediction.shape, records, far_thresholds, far_rule)
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


def left_alone(
    window_prediction: np.ndarray,
    records: Sequence[EditRecord],
    far_thresholds: FarThresholds = FarThresholds(),
    far_rule: FarRule = "average",
    least_voxels: int = 5,
) -> tuple[int, ...]:
    """Far slices that keep R_0 because the evidence is thin: the network would change them, and nowhere surely enough.

    Args:
        window_prediction: bool `[K, J, I]`, R_0.
        records: See `compose`; slices along the last one's axis are meant.
        far_thresholds: No voxel of such a slice has a margin beyond them.
        far_rule: See `compose`.
        least_voxels: So many voxels, and a twentieth of the slice's part of R_0, have a margin against their label.

    Returns:
        Their indices, in ascending order.
    """
    spoken = _far_margins(window_prediction.shape, records, far_thresholds, far_rule, whole(window_prediction.shape))
    if spoken is None:
        return ()
    common, values = spoken
    target = window_prediction[slices_of(common)]
    against = np.where(target, values < 0, values > 0)
    sure = np.where(target, values < -far_thresholds.remove, values > far_thresholds.add)
    axis = records[-1].axis
    others = tuple(a for a in range(3) if a != axis)
    least = np.maximum(least_voxels, target.sum(others) / 20)
    found = np.flatnonzero((against.sum(others) >= least) & ~sure.any(others))
    return tuple(int(index) + common[axis][0] for index in found)


def _far_margins(
    shape: tuple[int, ...],
    records: Sequence[EditRecord],
    far_thresholds: FarThresholds,
    far_rule: FarRule,
    box: Box,
) -> tuple[Box, np.ndarray] | None:
    """Margins of the fused features in a part of the box, as they are held against the thresholds.

    NaN on near slices and where nothing is known; larger by what the thresholds there lack, 1 at most.
    """
    spoken = [record.far for record in records if record.far is not None]
    if far_rule == "latest":
        spoken = spoken[-1:]
    mean = mean_margins(spoken) if spoken else None
    common = None if mean is None else intersection(mean.box, box)
    if mean is None or common is None:
        return None
    values = mean.values[slices_of(inside_of(common, mean.box))]
    for record in records:
        drawn = [edit.index for edit in record.edits]
        for place in places_in(
            common, record.axis, drawn if record.satisfied else record.near_indices(shape[record.axis])
        ):
            values[place] = np.nan
    return common, np.clip(values / _shares_of_thresholds(shape, records, far_thresholds, common), -1, 1)


def _shares_of_thresholds(
    shape: tuple[int, ...], records: Sequence[EditRecord], far_thresholds: FarThresholds, box: Box
) -> np.ndarray:
    """How much of the thresholds counts in a box, broadcastable to its shape: more with the way to a near slice."""
    shares = [np.ones((1, 1, 1), np.float32)]
    for record in records:
        near = [] if record.satisfied else record.near_indices(shape[record.axis])
        if near:
            indices = np.arange(*box[record.axis], dtype=np.float32)
            slices_away = np.abs(indices[:, None] - near).min(1)
            along = [-1 if axis == record.axis else 1 for axis in range(3)]
            shares.append(far_thresholds.share(slices_away).reshape(along))
    return reduce(np.minimum, shares)


def _flip_far(
    labels: np.ndarray,
    box: Box,
    shape: tuple[int, ...],
    records: Sequence[EditRecord],
    far_thresholds: FarThresholds,
    far_rule: FarRule,
) -> None:
    """Flip the far voxels of R_0 in a box where the fused features are sure enough."""
    spoken = _far_margins(shape, records, far_thresholds, far_rule, box)
    if spoken is not None:
        common, values = spoken
        part = labels[slices_of(inside_of(common, box))]
        part[values > far_thresholds.add] = True
        part[values < -far_thresholds.remove] = False


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
