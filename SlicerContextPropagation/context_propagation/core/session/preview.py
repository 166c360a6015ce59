"""What an edit would give, without a change to the session that it was asked of; a session writes by the same rule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, reduce

import numpy as np

from context_propagation.core.image.boxed_mask import EMPTY, NO_VOXELS, BoxedMask
from context_propagation.core.image.boxes import (
    Box,
    around,
    bounding_box,
    box_of,
    box_shape,
    dilate,
    offset,
    slices_of,
    whole,
)
from context_propagation.core.image.slices import NEAR_SLICES_ONLY, SliceEdit
from context_propagation.core.propagation.composition import compose, composed_box, drawn_voxels, near_voxels
from context_propagation.core.propagation.edit_propagation import EditPropagation
from context_propagation.core.propagation.edit_record import EditRecord, FarRule
from context_propagation.core.propagation.far_labels import left_alone
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.propagation.general_far import FarNetworks
from context_propagation.core.propagation.stray_voxels import CONTEXT_VOXELS, without_strays
from context_propagation.core.propagation.updated_features import UpdatedFeatures
from context_propagation.core.session.session_settings import PropagationResult
from context_propagation.core.session.step import Step, now_utc


@dataclass(frozen=True)
class SessionMasks:
    """What a session holds before an edit, bool `[K, J, I]` each; never written to.

    Attributes:
        initial_before: The first segmentation, as the edits so far have it; see `Session.first_segmentation`.
        initial: As the edits of the preview have it.
        segmentation: As it is now.
        protected: Voxels that propagation never writes: those changed by hand, and those rejected before.
        window_prediction: R_0.
    """

    initial_before: np.ndarray
    initial: np.ndarray
    segmentation: np.ndarray
    protected: np.ndarray
    window_prediction: np.ndarray


@dataclass(frozen=True)
class Preview:
    """What edits would give.

    Attributes:
        edits: The new drawings, of one axis.
        before: The session's records.
        after: Its records with the edits; the last one is theirs, with what near and far slices become.
        masks: Of the session.
        propagation: How the edits were propagated.
        features: f' where it differs from f.
        far_rule: Which edits speak for a far voxel.
        tidy: Whether new islands, crumbs, cuts and one-voxel holes are taken back, see `stray_voxels`.
        messages: What the user should know.
        far_thresholds: How sure a network must be before a far voxel changes; without, those of the fusion network.
    """

    edits: tuple[SliceEdit, ...]
    before: tuple[EditRecord, ...]
    after: tuple[EditRecord, ...]
    masks: SessionMasks
    propagation: EditPropagation
    features: tuple[UpdatedFeatures, ...]
    far_rule: FarRule
    tidy: bool
    messages: tuple[str, ...] = ()
    far_thresholds: FarThresholds | None = None

    @property
    def record(self) -> EditRecord:
        """Of the edits: near slices, margins of the far ones."""
        return self.after[-1]

    def fused_by(self, fusion: FarNetworks) -> Preview:
        """The same edits with the far slices of another fusion network; the features are not updated again."""
        record = self.record
        if self.features:  # else the model sees nothing of the edit, and has nothing to add
            edit = self.propagation.network_edit(record.edits)
            record = replace(record, far=self.propagation.far_margins(edit, self.features, fusion))
        after = (*self.after[:-1], record)
        return replace(self, after=after, propagation=replace(self.propagation, fusion=fusion), far_thresholds=None)

    def with_thresholds(self, far_thresholds: FarThresholds) -> Preview:
        """The same with other far thresholds."""
        return replace(self, far_thresholds=far_thresholds)

    @property
    def step(self) -> Step:
        """What a session's history would take."""
        return self._written[0]

    @property
    def segmentation(self) -> np.ndarray:
        """The whole result, bool `[K, J, I]`; a copy."""
        result = self.masks.segmentation.copy()
        result.reshape(-1)[self.step.flipped] = self.step.values
        return result

    @property
    def changed(self) -> BoxedMask:
        """The voxels that propagation, not the drawing, changes."""
        k, j, i = self.masks.segmentation.shape
        _, box, inside = self._written
        return BoxedMask.placed((k, j, i), box, inside)

    @property
    def scope(self) -> str:
        """See `PropagationResult.scope`."""
        return NEAR_SLICES_ONLY if self.propagation.fusion is None else self.propagation.fusion.reach

    @property
    def left_alone(self) -> tuple[int, ...]:
        """See `PropagationResult.left_alone`."""
        return left_alone(self.masks.window_prediction, self.after, self._thresholds(), self.far_rule)

    @property
    def result(self) -> PropagationResult:
        """What a user is told of it."""
        _, box, inside = self._written
        axis, (start, _) = self.record.axis, box[self.record.axis]
        per_slice = inside.sum(axis=tuple(a for a in range(3) if a != axis))
        changed, tight = np.zeros(self.masks.segmentation.shape, bool), bounding_box(inside)
        changed[slices_of(box)] = inside
        return PropagationResult(
            segmentation=self.segmentation,
            changed=changed,
            axis=axis,
            edited_slices=tuple(edit.index for edit in self.edits),
            changed_per_slice={start + int(s): int(per_slice[s]) for s in np.flatnonzero(per_slice)},
            left_alone=self.left_alone,
            changed_box_kji=None if tight is None else offset(tight, box),
            updates=self.record.updates,
            scope=self.scope,
            messages=self.messages,
        )

    @cached_property
    def _written(self) -> tuple[Step, Box, np.ndarray]:
        """The step; and a box around what changes, and in it the voxels that propagation, not the drawing, changes.

        Written are voxels with R_n != R_(n-1), less the strays; where there are any, also those at which strays were
        taken back before. Where R_n is back at R_0, they are as in the first segmentation.
        """
        masks, shape = self.masks, self.masks.segmentation.shape
        box = dilate(self._box, (CONTEXT_VOXELS,) * 3, whole(shape))
        place = slices_of(box)
        before, after = self._composed(self.before, box), self._composed(self.after, box)
        drawn = masks.segmentation[place].copy()
        for edit in self.edits:
            edit.draw_into(drawn, box)
        protected = masks.protected[place] | drawn_voxels(shape, self.after, box)
        wanted = np.where(after != masks.window_prediction[place], after, masks.initial[place])
        departed, moved = self._departed(box), (before != after) & ~protected
        if masks.initial is not masks.initial_before:
            moved |= (masks.initial != masks.initial_before)[place] & ~protected
        asked = ((moved | departed) if moved.any() else moved) & (wanted != drawn) & ~protected
        changed = asked
        if self.tidy:
            axis, free = self.record.axis, ~protected
            near = near_voxels(shape, (*self.before, *self.after), box)
            if self.record.far is None:  # no network speaks for far slices, and nothing else does
                free &= asked.any(axis=tuple(a for a in range(3) if a != axis), keepdims=True)
                free &= asked | near
            changed = without_strays(masks.segmentation[place], drawn, asked, free, near, axis, box, shape)
        result = drawn ^ changed
        strays = _flat((changed != asked) | (departed & (wanted != result) & ~protected), box, shape)
        written = result != masks.segmentation[place]
        earlier = (replace(record, strays=NO_VOXELS) for record in self.after[:-1])
        records = (*earlier, replace(self.record, strays=strays))
        step = Step(self.edits, self.before, records, _flat(written, box, shape), result[written], now_utc())
        return step, box, changed

    def _departed(self, box: Box) -> np.ndarray:
        """Bool, the box's shape: where strays were taken back before."""
        departed, shape = np.zeros(box_shape(box), bool), self.masks.segmentation.shape
        for record in self.before:
            departed[tuple(np.array(np.unravel_index(record.strays, shape)) - [[start] for start, _ in box])] = True
        return departed

    @property
    def _box(self) -> Box:
        """A box with all that changes; empty where nothing does."""
        masks = self.masks
        boxes = [composed_box(masks.window_prediction, records) for records in (self.before, self.after)]
        boxes += [_box_of(record.strays, masks.segmentation.shape) for record in self.before]
        boxes += [edit.differs_within(masks.segmentation) for edit in self.edits]
        if masks.initial is not masks.initial_before:
            boxes.append(bounding_box(masks.initial != masks.initial_before))
        return reduce(around, [box for box in boxes if box is not None], EMPTY)

    def _composed(self, records: tuple[EditRecord, ...], box: Box) -> np.ndarray:
        return compose(self.masks.window_prediction, records, self._thresholds(), self.far_rule, box)

    def _thresholds(self) -> FarThresholds:
        fusion = self.propagation.fusion
        of_network = FarThresholds() if fusion is None else fusion.far_thresholds
        return self.far_thresholds or of_network


def _flat(mask: np.ndarray, box: Box, shape: tuple[int, ...]) -> np.ndarray:
    """Flat indices in an image of that shape of a box's True voxels."""
    inside = np.nonzero(mask)
    return np.ravel_multi_index([n + start for n, (start, _) in zip(inside, box, strict=True)], shape)


def _box_of(flat: np.ndarray, shape: tuple[int, ...]) -> Box | None:
    """The box around flat indices; None around none."""
    if not flat.size:
        return None
    return box_of([(int(places.min()), int(places.max()) + 1) for places in np.unravel_index(flat, shape)])
