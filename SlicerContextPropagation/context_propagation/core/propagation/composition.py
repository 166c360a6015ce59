"""Eq. 4: the refined volume from the edits so far; several edits, drawn slices exact (paper II-C, II-D).

    Z(s) = phi'(f')(s)                    s is near: the edited slice or one of its neighbours
    Z(s) = phi'(phi_fusion(f, f'))(s)     s is far: any other slice

`compose` puts Z together from what both lines decode to: `NearLabels` and `FarMargins`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from context_propagation.core.image.boxes import Box, box_of, slices_of
from context_propagation.core.image.slices import SliceEdit, near_indices, slice_place
from context_propagation.core.propagation.activation_update import UpdateReport
from context_propagation.core.propagation.fusion_network import FarThresholds
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
class FarMargins:
    """What the fused features say: the target's probability less the largest other one.

    Attributes:
        box: Where the margins lie in the image, (k, j, i).
        margins: float16, the box's shape, -1 to 1; NaN where no window decodes the voxel.
    """

    box: Box
    margins: np.ndarray


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
        far: What the fused features say; None without a fusion network or where nothing had to be updated.
    """

    edits: tuple[SliceEdit, ...]
    neighbours: int
    near: tuple[NearLabels, ...]
    updates: tuple[UpdateReport, ...] = ()
    drawn_at: tuple[int, ...] = ()
    features: tuple[UpdatedFeatures, ...] = ()
    far: FarMargins | None = None

    @property
    def axis(self) -> int:
        return self.edits[0].axis

    @property
    def satisfied(self) -> bool:
        """Whether the untouched features decode to the drawing already, so that nothing was updated."""
        return any(update.stop_reason == "already satisfied" for update in self.updates)

    def drawings(self) -> list[tuple[int, SliceEdit]]:
        """When each slice was drawn, and the slice."""
        return list(zip(self.drawn_at or (0,) * len(self.edits), self.edits, strict=True))

    def near_indices(self, slices: int) -> list[int]:
        """N(s) of all its slices, among `slices` slices."""
        return near_indices([edit.index for edit in self.edits], self.neighbours, slices)


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
) -> np.ndarray:
    """Labels after all edits, R_n: Eq. 4 for each edit.

        Z(s) = phi'(f')(s) on near slices,  Z(s) = phi'(phi_fusion(f, f'))(s) on far ones

    A near slice takes the update of the edit that was drawn first among those that it is near to; an edit for which
    nothing had to be updated is near to none. A far slice, near to no edit, takes the target where the margin of the
    fused features is beyond the thresholds' `add`, background where it is beyond their `remove`, and else keeps what
    it had. A drawn slice is as drawn; where two drawn slices cross, the later drawing holds.

    Args:
        window_prediction: bool `[K, J, I]`, R_0: decoded from the untouched features.
        records: The edits in the order in which they were propagated.
        far_thresholds: Only margins beyond these change the label of a far voxel.
        far_rule: "average": the mean margin of all edits that have one; "latest": that of the last of them.

    Returns:
        bool `[K, J, I]`.

    Source: Chao et al., Eq. 4 and the rule for several edits in section II-D; the thresholds are ours.
    """
    labels = window_prediction.copy()
    _flip_far(labels, records, far_thresholds, far_rule)
    claimed = np.zeros(window_prediction.shape, bool)
    for record, edit in _in_drawing_order(records):
        if record.satisfied:
            continue
        for index in near_indices([edit.index], record.neighbours, window_prediction.shape[record.axis]):
            for near in record.near:
                if near.index == index:
                    box = slices_of(near.box)
                    free = near.changed & ~claimed[box]
                    labels[box][free] = near.labels[free]
            claimed[slice_place(record.axis, index)] = True
    for _, edit in _in_drawing_order(records):
        labels[edit.place] = edit.mask
    return labels


def _in_drawing_order(records: Sequence[EditRecord]) -> Iterator[tuple[EditRecord, SliceEdit]]:
    drawings = [(at, record, edit) for record in records for at, edit in record.drawings()]
    for _, record, edit in sorted(drawings, key=lambda drawing: drawing[0]):
        yield record, edit


def _flip_far(
    labels: np.ndarray, records: Sequence[EditRecord], far_thresholds: FarThresholds, far_rule: FarRule
) -> None:
    """Flip the far voxels of R_0 where the fused features are sure enough."""
    spoken = [record.far for record in records if record.far is not None]
    if far_rule == "latest":
        spoken = spoken[-1:]
    if not spoken:
        return
    box, mean = mean_far_margins(spoken)
    mean[_near_voxels(labels.shape, records)[slices_of(box)]] = np.nan
    labels[slices_of(box)][mean > far_thresholds.add] = True
    labels[slices_of(box)][mean < -far_thresholds.remove] = False


def mean_far_margins(spoken: Sequence[FarMargins]) -> tuple[Box, np.ndarray]:
    """The mean over the edits that decode a voxel, float32; NaN where none does. Before it the box that it lies in."""
    spans = [[far.box[axis] for far in spoken] for axis in range(3)]
    box = box_of([(min(start for start, _ in s), max(stop for _, stop in s)) for s in spans])
    shape = tuple(stop - start for start, stop in box)
    total, count = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for far in spoken:
        inside = slices_of(box_of([(a - o, b - o) for (a, b), (o, _) in zip(far.box, box, strict=True)]))
        margins = far.margins.astype(np.float32)
        total[inside] += np.nan_to_num(margins, nan=0.0)
        count[inside] += ~np.isnan(margins)
    return box, np.divide(total, count, out=np.full(shape, np.nan, np.float32), where=count > 0)


def _near_voxels(shape: tuple[int, ...], records: Sequence[EditRecord]) -> np.ndarray:
    """Bool `[K, J, I]`: N(s) of all slices that something was updated for."""
    near = np.zeros(shape, bool)
    for record in records:
        for index in () if record.satisfied else record.near_indices(shape[record.axis]):
            near[slice_place(record.axis, index)] = True
    return near


def drawn_voxels(shape: tuple[int, ...], records: Sequence[EditRecord]) -> np.ndarray:
    """Bool `[K, J, I]`: the slices that were drawn."""
    drawn = np.zeros(shape, bool)
    for record in records:
        for edit in record.edits:
            drawn[edit.place] = True
    return drawn
