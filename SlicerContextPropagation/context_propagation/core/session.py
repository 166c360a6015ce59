"""A session: one image, its cache, the edits so far and the result. It alone has state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from context_propagation.core.activation_update import UpdateReport, UpdateSettings
from context_propagation.core.boxes import Box, bounding_box, contains, intersection, slices_of
from context_propagation.core.composition import (
    EditRecord,
    compose,
    drawn_voxels,
    near_indices,
    superseded,
)
from context_propagation.core.edit_propagation import EditPropagation
from context_propagation.core.edited_slices import SliceEdit
from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.feature_cache import NO_WINDOW, FeatureCache
from context_propagation.core.source_volume import ArrayReorientation, SourceVolume, reorientation_to, reoriented_volume
from context_propagation.core.split_model import (
    CancelCheck,
    PreparedImage,
    Progress,
    SegmentationModel,
    never_cancelled,
    no_progress,
)
from context_propagation.core.window import Window, WindowPlan, available_bytes, encode_window, plan_windows

NEAR_SLICES_ONLY = "near slices only"


@dataclass(frozen=True)
class SessionSettings:
    """How edits are propagated.

    Attributes:
        level: Decoder level k: features enter the last k decoder stages.
        neighbours: N(s) is s and so many image slices on each side.
        update: The optimisation of the features.
        window_margin: Voxels of the network's grid cached around the target.
        memory_budget_bytes: Memory that the cache may use; without it, four fifths of what is free.
    """

    level: int = 2
    neighbours: int = 2
    update: UpdateSettings = field(default_factory=UpdateSettings)
    window_margin: int = 16
    memory_budget_bytes: int | None = None

    def __post_init__(self) -> None:
        if self.level not in (1, 2, 3):
            raise UserInputError(f"Decoder level {self.level}; choose 1, 2 or 3")
        if self.neighbours < 0:
            raise UserInputError(f"{self.neighbours} neighbouring slices; give 0 or more")


@dataclass(frozen=True)
class PropagationResult:
    """What one edit changed.

    Attributes:
        segmentation: bool `[K, J, I]`, the whole result; a copy.
        changed: bool `[K, J, I]`, the voxels that propagation changed, the drawing itself not counted.
        axis: Array axis of the edited slices.
        edited_slices: Their indices.
        changed_per_slice: Voxels changed per slice along `axis`; slices without a change are left out.
        changed_box_kji: The box around the changed voxels, or None.
        updates: A report for each window and fold.
        scope: "near slices only": no fusion network propagates to far slices yet.
        messages: What the user should know, e.g. that the window was extended.
    """

    segmentation: np.ndarray
    changed: np.ndarray
    axis: int
    edited_slices: tuple[int, ...]
    changed_per_slice: dict[int, int]
    changed_box_kji: Box | None
    updates: tuple[UpdateReport, ...]
    scope: str
    messages: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """One propagation in the history.

    Attributes:
        before: The edits before it.
        after: The edits after it.
        flipped: Flat indices (C order over `[K, J, I]`) of the voxels that it and its drawing flipped.
        values: What they became.
    """

    before: tuple[EditRecord, ...]
    after: tuple[EditRecord, ...]
    flipped: np.ndarray
    values: np.ndarray


class Session:
    """Interactive refinement of one image with one frozen model.

    Args:
        model: The frozen model.
        settings: Level, neighbours, optimiser, memory.
    """

    def __init__(self, model: SegmentationModel, settings: SessionSettings | None = None) -> None:
        self.model = model
        self.settings = settings or SessionSettings()
        for split in model.splits:
            if self.settings.level > split.max_level:
                raise UserInputError(
                    f"Decoder level {self.settings.level} is beyond this network's decoder, which has "
                    f"{split.max_level} stages; choose a smaller level"
                )
        self._volume: SourceVolume | None = None
        self._cache: FeatureCache | None = None
        self.records: tuple[EditRecord, ...] = ()
        self.done: list[Step] = []
        self.undone: list[Step] = []

    # -- the image ---------------------------------------------------------------------------------------------------

    def set_image(
        self,
        volume: SourceVolume,
        initial: np.ndarray | None = None,
        progress: Progress = no_progress,
        cancelled: CancelCheck = never_cancelled,
        window_groups: Sequence[Sequence[Box]] = (),
    ) -> WindowPlan | None:
        """Preprocess, predict where no segmentation is given, and cache the features around the target.

        Args:
            volume: The image.
            initial: bool `[K, J, I]`, a first segmentation from anywhere; without it, the model's own prediction.
            progress: Called with stage and fraction.
            cancelled: Asked between steps.
            window_groups: Network boxes to cache instead of those around the target: see `window_groups`.

        Returns:
            What was planned and its memory; None where windows were given, or the target is empty, in which case the
            first edit places the window.

        Raises:
            UserInputError: Wrong number of channels, wrong shape of `initial`, or not enough memory.
            Cancelled: The session is as it was before the call.
        """
        _check_channels(volume, self.model)
        if initial is not None and initial.shape != volume.shape_kji:
            raise UserInputError(
                f"The initial segmentation has shape {initial.shape} and the image {volume.shape_kji}; resample it"
            )
        orientation = self.model.orientation
        reorientation = reorientation_to(volume, orientation) if orientation else ArrayReorientation()
        progress("preprocess", 0.0)
        prepared = self.model.prepare(reoriented_volume(volume, reorientation))
        if initial is None:
            predicted = self.model.predict(prepared, progress, cancelled)
            initial = reorientation.undo(predicted)
        cache = FeatureCache.empty(self.model, prepared, reorientation.apply(initial).shape)
        target = bounding_box(reorientation.apply(initial))
        plan = None if window_groups else self._plan_around(cache, target)
        for boxes in window_groups or ([plan.boxes] if plan else []):
            cache = cache.extended(self._encode(prepared, boxes, progress, cancelled))
        self._volume, self._reorientation, self._cache = volume, reorientation, cache
        self.initial = initial.astype(bool)
        self.segmentation = self.initial.copy()
        self._manual = np.zeros(initial.shape, bool)
        self.records, self.done, self.undone = (), [], []
        return plan

    @property
    def volume(self) -> SourceVolume:
        """The image; raises `UserInputError` before `set_image`."""
        if self._volume is None:
            raise UserInputError("No image is set; call set_image first")
        return self._volume

    @property
    def cache(self) -> FeatureCache:
        """What is cached of the image; raises `UserInputError` before `set_image`."""
        if self._cache is None:
            raise UserInputError("No image is set; call set_image first")
        return self._cache

    @property
    def window_prediction(self) -> np.ndarray:
        """R_0, bool `[K, J, I]`: the target decoded from the untouched cache; False outside the windows."""
        untouched = self.cache.untouched
        return self._reorientation.undo(untouched)

    def _plan_around(self, cache: FeatureCache, target: Box | None) -> WindowPlan | None:
        """The windows that a target (image box in the model's orientation) asks for; None for an empty one."""
        grid = cache.prepared.grid
        inside = None if target is None else intersection(grid.network_order(target), grid.crop)
        if inside is None:
            return None
        margin, level = self.settings.window_margin, self.settings.level
        given = self.settings.memory_budget_bytes
        budget = available_bytes(self.model.device) if given is None else given - cache.cached_bytes(level)
        return plan_windows(self.model, grid.support(inside), grid.network_shape, margin, level, budget)

    def _encode(
        self, prepared: PreparedImage, boxes: Sequence[Box], progress: Progress, cancelled: CancelCheck
    ) -> list[Window]:
        windows = []
        for number, box in enumerate(boxes):
            if cancelled():
                raise Cancelled
            progress("encode", number / len(boxes))
            windows.append(encode_window(self.model, prepared, box, self.settings.level))
        return windows

    def masks(self) -> dict[str, np.ndarray]:
        """The masks that a saved session holds, bool `[K, J, I]` each."""
        return {"initial": self.initial, "segmentation": self.segmentation, "manual": self._manual}

    def restore_state(
        self,
        segmentation: np.ndarray,
        manual: np.ndarray,
        records: tuple[EditRecord, ...],
        done: Sequence[Step],
        undone: Sequence[Step],
    ) -> None:
        """Put back what a saved session held; see `session_file`."""
        self.segmentation, self._manual, self.records = segmentation.copy(), manual.copy(), records
        self.done, self.undone = list(done), list(undone)

    # -- edits -------------------------------------------------------------------------------------------------------

    def accept_manual_changes(self, segmentation: np.ndarray) -> None:
        """Take over a segmentation that was changed by hand; propagation never writes the voxels changed so.

        What was undone before can no longer be redone.

        Args:
            segmentation: bool `[K, J, I]`.
        """
        _check_shape(segmentation, self.volume)
        by_hand = segmentation.astype(bool) ^ self.segmentation
        if by_hand.any():
            self.undone.clear()
        self._manual |= by_hand
        self.segmentation = segmentation.astype(bool).copy()

    def propagate(
        self,
        edits: Sequence[SliceEdit],
        progress: Progress = no_progress,
        cancelled: CancelCheck = never_cancelled,
    ) -> PropagationResult:
        """Propagate redrawn slices. Several slices are optimised jointly.

        Args:
            edits: Slices of one axis, exactly as drawn.
            progress: Called with stage and fraction.
            cancelled: Asked before each evaluation.

        Raises:
            UserInputError: No edits, several axes, an index or a mask that does not fit the image.
            Cancelled: Nothing was changed.
        """
        _check_edits(edits, self.volume)
        edits = tuple(replace(e, mask=e.mask.astype(bool)) for e in sorted(edits, key=lambda edit: edit.index))
        messages = self._extend_windows(edits, progress, cancelled)
        kept = superseded(self.records, edits)
        propagation = EditPropagation(self.cache, self._reorientation, self.settings.neighbours, self.settings.update)
        near, updates = propagation.near_labels(edits, progress, cancelled)
        record = EditRecord(edits, self.settings.neighbours, near, updates)
        step, changed = self._step(kept, record)
        self._apply(step)
        self.done.append(step)
        self.undone.clear()
        per_slice = changed.sum(axis=tuple(a for a in range(3) if a != record.axis))
        return PropagationResult(
            segmentation=self.segmentation.copy(),
            changed=changed,
            axis=record.axis,
            edited_slices=tuple(edit.index for edit in edits),
            changed_per_slice={int(s): int(per_slice[s]) for s in np.flatnonzero(per_slice)},
            changed_box_kji=bounding_box(changed),
            updates=updates,
            scope=NEAR_SLICES_ONLY,
            messages=tuple(messages),
        )

    def undo(self) -> bool:
        """Take back the last propagation and its drawing; voxels changed since by hand stay. False if there is none."""
        if not self.done:
            return False
        step = self.done.pop()
        flat = self.segmentation.reshape(-1)
        same = flat[step.flipped] == step.values
        step = replace(step, flipped=step.flipped[same], values=step.values[same])
        flat[step.flipped] = ~step.values
        self.records = step.before
        self.undone.append(step)
        return True

    def redo(self) -> bool:
        """Repeat what was undone. False if there is nothing."""
        if not self.undone:
            return False
        step = self.undone.pop()
        self._apply(step)
        self.done.append(step)
        return True

    def discard_last(self) -> None:
        """Take back the last propagation as if it had not been made: it cannot be redone."""
        if self.undo():
            self.undone.pop()

    def _apply(self, step: Step) -> None:
        self.segmentation.reshape(-1)[step.flipped] = step.values
        self.records = step.after

    def _step(self, kept: tuple[EditRecord, ...], record: EditRecord) -> tuple[Step, np.ndarray]:
        """The history step of a new record, and the voxels that propagation, not the drawing, changes.

        Only voxels with R_n != R_(n-1) are written (method 5); where R_n is back at R_0, the first segmentation is.
        """
        untouched = self.window_prediction
        before = compose(untouched, self.records)
        after_records = (*kept, record)
        after = compose(untouched, after_records)
        drawn = self.segmentation.copy()
        for edit in record.edits:
            np.moveaxis(drawn, edit.axis, 0)[edit.index] = edit.mask
        protected = self._manual | drawn_voxels(drawn.shape, after_records)
        wanted = np.where(after != untouched, after, self.initial)
        changed = (before != after) & (wanted != drawn) & ~protected
        result = drawn ^ changed
        flipped = np.flatnonzero(result != self.segmentation)
        return Step(self.records, after_records, flipped, result.reshape(-1)[flipped]), changed

    def _extend_windows(self, edits: Sequence[SliceEdit], progress: Progress, cancelled: CancelCheck) -> list[str]:
        """Cache a window around each edit and its near slices, where there is none."""
        messages: list[str] = []
        for edit in edits:
            if not self._is_seen(self._footprint(edit, [edit.index])):
                messages.append("Part of the edit lies where the image is zero, which the model does not see")
            slices = self.volume.shape_kji[edit.axis]
            near = self._footprint(edit, near_indices([edit.index], self.settings.neighbours, slices))
            oriented_axis = self._reorientation.order.index(edit.axis)
            missing = self.cache.undecoded(self._reorientation.apply(near), oriented_axis)
            if missing is not None:
                messages.extend(self._extend_around(missing, progress, cancelled))
        return list(dict.fromkeys(messages))

    def _extend_around(self, missing: Box, progress: Progress, cancelled: CancelCheck) -> list[str]:
        """Encode what an edit lacks. Where memory is short and windows decode all of it piecewise, they must do."""
        try:
            plan = self._plan_around(self.cache, missing)
        except UserInputError as error:
            if (self.cache.owner[slices_of(missing)] == NO_WINDOW).any():
                raise
            return [f"The edit is propagated within the cached tiles only: {error}"]
        boxes = [box for box in plan.boxes if box not in self.cache.window_boxes] if plan else []
        if plan is None or not boxes:
            return []
        windows = self._encode(self.cache.prepared, boxes, progress, cancelled)
        self._cache = self.cache.extended(windows)
        return [f"The edit lies outside the cached window; {len(windows)} more window(s) were encoded", *plan.messages]

    def _footprint(self, edit: SliceEdit, indices: list[int]) -> np.ndarray:
        """Bool `[K, J, I]`: the drawing and the current contour of its slice, put on these slices."""
        footprint = np.zeros(self.volume.shape_kji, bool)
        both = edit.mask | self.segmentation.take(edit.index, edit.axis)
        np.moveaxis(footprint, edit.axis, 0)[indices] = both
        return footprint

    def _is_seen(self, mask: np.ndarray) -> bool:
        """Whether all of a mask lies in the part of the image that the model sees."""
        box = bounding_box(self._reorientation.apply(mask))
        grid = self.cache.prepared.grid
        return box is None or contains(grid.crop, grid.network_order(box))


def _check_channels(volume: SourceVolume, model: SegmentationModel) -> None:
    if volume.channels.shape[0] != model.channels:
        raise UserInputError(
            f"The image has {volume.channels.shape[0]} channel(s) and the model expects {model.channels}; "
            "give one file per channel, in the model's order"
        )


def _check_shape(segmentation: np.ndarray, volume: SourceVolume) -> None:
    if segmentation.shape != volume.shape_kji:
        raise UserInputError(
            f"The segmentation has shape {segmentation.shape} and the image {volume.shape_kji}; resample it"
        )


def _check_edits(edits: Sequence[SliceEdit], volume: SourceVolume) -> None:
    if not edits:
        raise UserInputError("No edited slice was given; redraw at least one slice")
    if len({edit.axis for edit in edits}) > 1:
        raise UserInputError("The edited slices lie on several planes; propagate one plane at a time")
    for edit in edits:
        if edit.axis not in (0, 1, 2):
            raise UserInputError(f"Axis {edit.axis}; give 0 (k), 1 (j) or 2 (i)")
        expected = tuple(n for axis, n in enumerate(volume.shape_kji) if axis != edit.axis)
        if not 0 <= edit.index < volume.shape_kji[edit.axis]:
            raise UserInputError(
                f"Slice {edit.index} is outside the image; slices along this axis run from 0 to "
                f"{volume.shape_kji[edit.axis] - 1}"
            )
        if edit.mask.shape != expected:
            raise UserInputError(f"The drawn slice has shape {edit.mask.shape}; the image's slice has {expected}")
    if len({edit.index for edit in edits}) < len(edits):
        raise UserInputError("A slice was given twice; give each edited slice once")
