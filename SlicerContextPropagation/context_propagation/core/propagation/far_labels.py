"""What becomes of far slices: which voxels a network flips, and on which slices its flips are expected to help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from context_propagation.core.image.boxes import Box, box_of, inside_of, intersection, slices_of
from context_propagation.core.image.slices import places_in
from context_propagation.core.propagation.edit_record import EditRecord, FarRule
from context_propagation.core.propagation.far_thresholds import EVERY_SLICE, FarThresholds
from context_propagation.core.propagation.margins import mean_margins


def flip_far(
    labels: np.ndarray,
    box: Box,
    window_prediction: np.ndarray,
    records: Sequence[EditRecord],
    far_thresholds: FarThresholds,
    far_rule: FarRule,
) -> None:
    """Flip the far voxels of R_0 of which the network is sure enough, on the slices that are expected to gain.

    Args:
        labels: bool, the box's shape: R_0 there; written to.
        box: The part of the image that is asked for; what becomes of it does not depend on the box.
        window_prediction: bool `[K, J, I]`, R_0.
        records: See `compose`.
        far_thresholds: How sure the network must be, and what a slice must gain.
        far_rule: See `compose`.
    """
    spoken = _all_spoken(window_prediction.shape, records, far_thresholds, far_rule)
    common = None if spoken is None else intersection(spoken.box, box)
    if spoken is None or common is None:
        return
    flips = _flips(window_prediction, spoken, far_thresholds)
    labels[slices_of(inside_of(common, box))] ^= flips[slices_of(inside_of(common, spoken.box))]


def left_alone(
    window_prediction: np.ndarray,
    records: Sequence[EditRecord],
    far_thresholds: FarThresholds = FarThresholds(),
    far_rule: FarRule = "average",
    least_voxels: int = 5,
) -> tuple[int, ...]:
    """Far slices that keep R_0 as the evidence is thin: the network would change them, not sure enough that it helps.

    Args:
        window_prediction: bool `[K, J, I]`, R_0.
        records: See `compose`; slices along the last one's axis are meant.
        far_thresholds: Of such a slice no voxel is flipped by them.
        far_rule: See `compose`.
        least_voxels: So many voxels, and a twentieth of the slice's part of R_0, have a margin against their label.

    Returns:
        Their indices, in ascending order.
    """
    spoken = _all_spoken(window_prediction.shape, records, far_thresholds, far_rule)
    if spoken is None:
        return ()
    axis = records[-1].axis
    target, others = window_prediction[slices_of(spoken.box)], _across(axis)
    against = np.where(target, spoken.margins < 0, spoken.margins > 0) & ~spoken.decided
    flipped = _flips(window_prediction, spoken, far_thresholds).any(others)
    least = np.maximum(least_voxels, target.sum(others) / 20)
    found = np.flatnonzero((against.sum(others) >= least) & ~flipped)
    return tuple(int(index) + spoken.box[axis][0] for index in found)


def expected_gains(
    margins: np.ndarray, target: np.ndarray, flips: np.ndarray, outside: np.ndarray, axis: int
) -> np.ndarray:
    """By how much the DSC of each slice is expected to rise when voxels are flipped, if the margins are right.

        gain(s) = D(target ^ flips) - D(target),    D(M) = 2 sum p M / (sum p + sum M),    p = (margin + 1) / 2

    with sums over the voxels of slice s. Of two classes p is the target's probability; of more it is at most p.

    Args:
        margins: float `[d, h, w]`, -1 to 1, as they are held against the thresholds; NaN where nothing is known: there
            the label is taken for right.
        target: bool `[d, h, w]`, the labels.
        flips: bool `[d, h, w]`.
        outside: Voxels of the target on each slice that lie outside the array; they stay.
        axis: The slices' array axis.

    Returns:
        float64, one for each slice; 0 where nothing is flipped.
    """
    others = _across(axis)
    p = np.where(np.isnan(margins), target, (margins + 1) / 2)
    expected = p.sum(others, dtype=np.float64) + outside

    def likeness(mask: np.ndarray) -> np.ndarray:
        size = expected + mask.sum(others) + outside
        overlap = (p * mask).sum(others, dtype=np.float64) + outside
        alike: np.ndarray = np.divide(2 * overlap, size, out=np.ones_like(size), where=size > 0)
        return alike

    gains: np.ndarray = likeness(target ^ flips) - likeness(target)
    return gains


@dataclass(frozen=True)
class _Spoken:
    """What networks say of far slices.

    Attributes:
        box: Where they speak.
        margins: float32, the box's shape, as they are held against the thresholds: larger by what the thresholds there
            lack, 1 at most; NaN where nothing is known.
        decided: bool, the box's shape: near, drawn and confirmed slices, of which they do not decide.
        axes: Of the edits of which one speaks.
    """

    box: Box
    margins: np.ndarray
    decided: np.ndarray
    axes: frozenset[int]


def _flips(window_prediction: np.ndarray, spoken: _Spoken, far_thresholds: FarThresholds) -> np.ndarray:
    """Bool, the box's shape: which labels of R_0 the margins there change."""
    target, margins = window_prediction[slices_of(spoken.box)], spoken.margins
    flips: np.ndarray = np.where(target, margins < -far_thresholds.remove, margins > far_thresholds.add)
    if far_thresholds.least_gain > EVERY_SLICE:
        flips &= np.any([_helps(window_prediction, spoken, flips, axis, far_thresholds) for axis in spoken.axes], 0)
    flips &= ~spoken.decided
    return flips


def _helps(
    window_prediction: np.ndarray, spoken: _Spoken, flips: np.ndarray, axis: int, far_thresholds: FarThresholds
) -> np.ndarray:
    """Bool, the box's shape: whether the flips of a voxel's slice along an axis are expected to help it enough.

    What was decided counts as the margins say: else a slice that was only confirmed would speak for those it crosses.
    """
    target, others = window_prediction[slices_of(spoken.box)], _across(axis)
    slab = box_of([spoken.box[a] if a == axis else (0, n) for a, n in enumerate(window_prediction.shape)])
    outside = window_prediction[slices_of(slab)].sum(others) - target.sum(others)
    gains = expected_gains(spoken.margins, target, flips, outside, axis)
    return np.broadcast_to(np.expand_dims(gains >= far_thresholds.least_gain, others), flips.shape)


def _across(axis: int) -> tuple[int, ...]:
    return tuple(a for a in range(3) if a != axis)


def _all_spoken(
    shape: tuple[int, ...], records: Sequence[EditRecord], far_thresholds: FarThresholds, far_rule: FarRule
) -> _Spoken | None:
    """The margins of those edits that count; None where none has any."""
    speaking = [(record.axis, record.far) for record in records if record.far is not None]
    if far_rule == "latest":
        speaking = speaking[-1:]
    if not speaking:
        return None
    mean = mean_margins([margins for _, margins in speaking])
    decided = np.zeros(mean.values.shape, bool)
    for record in records:
        drawn = [edit.index for edit in record.edits]
        for place in places_in(
            mean.box, record.axis, drawn if record.satisfied else record.near_indices(shape[record.axis])
        ):
            decided[place] = True
    margins = np.clip(mean.values / _shares_of_thresholds(shape, records, far_thresholds, mean.box), -1, 1)
    return _Spoken(mean.box, margins, decided, frozenset(axis for axis, _ in speaking))


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
