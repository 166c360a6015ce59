"""A session: one image, its cache, the edits so far and the result. It alone has state."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from context_propagation.core.callbacks import CancelCheck, Progress, never_cancelled, no_progress
from context_propagation.core.device import out_of_memory_reported
from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.image.boxes import Box, bounding_box, contains, intersection, slices_of
from context_propagation.core.image.slices import NEAR_SLICES_ONLY, WHOLE_VOLUME, SliceEdit, near_indices
from context_propagation.core.image.source_volume import SourceVolume
from context_propagation.core.model.segmentation_model import PreparedImage, SegmentationModel
from context_propagation.core.propagation.composition import EditRecord, compose, drawn_voxels, superseded
from context_propagation.core.propagation.edit_propagation import EditPropagation, Propagated
from context_propagation.core.propagation.feature_cache import NO_WINDOW, FeatureCache
from context_propagation.core.propagation.fusion_network import FarMargin, Fusion
from context_propagation.core.propagation.window import Window, WindowPlan, available_bytes, encode_window, plan_windows
from context_propagation.core.session.ready_image import ReadyImage, ready_image
from context_propagation.core.session.session_checks import check_edits, check_fusion, check_shape
from context_propagation.core.session.session_settings import PropagationResult, SessionSettings, Step
from context_propagation.core.session.slice_suggestion import slice_doubt_mm2


class Session:
    """Interactive refinement of one image with one frozen model.

    Args:
        model: The frozen model.
        settings: Level, neighbours, optimiser, memory.
        fusion: The model's trained fusion networks; without, edits reach near slices only. The networks are moved to
            the model's device and set to evaluation mode.

    Raises:
        UserInputError: The level is beyond the model's decoder, or the fusion networks do not fit.
    """

    def __init__(
        self, model: SegmentationModel, settings: SessionSettings | None = None, fusion: Fusion | None = None
    ) -> None:
        self.model = model
        self.settings = settings or SessionSettings()
        self.fusion = fusion
        for split in model.splits:
            if self.settings.level > split.max_level:
                raise UserInputError(
                    f"Decoder level {self.settings.level} is beyond this network's decoder, which has "
                    f"{split.max_level} stages; choose a smaller level"
                )
        if fusion is not None:
            check_fusion(fusion, self.settings.level, model)
            for network in fusion.networks:
                network.to(model.device).eval()
        self.plan: WindowPlan | None = None
        """What `set_image` plans to cache, and its memory; there as soon as it is known, before anything is encoded."""
        self._volume: SourceVolume | None = None
        self._cache: FeatureCache | None = None
        self.records: tuple[EditRecord, ...] = ()
        self.done: list[Step] = []
        self.undone: list[Step] = []

    # -- the image ---------------------------------------------------------------------------------------------------

    @out_of_memory_reported("Caching the image")
    def set_image(
        self,
        image: SourceVolume | ReadyImage,
        initial: np.ndarray | None = None,
        progress: Progress = no_progress,
        cancelled: CancelCheck = never_cancelled,
        window_groups: Sequence[Sequence[Box]] = (),
    ) -> WindowPlan | None:
        """Preprocess, predict where no segmentation is given, and cache the features around the target.

        Args:
            image: The image, or what `ready_image` made of it, so that it is not preprocessed again.
            initial: bool `[K, J, I]`, a first segmentation from anywhere; without it, the model's own prediction.
            progress: Called with stage and fraction.
            cancelled: Asked between steps.
            window_groups: Network boxes to cache instead of those around the target: see `window_groups`.

        Returns:
            What was planned and its memory; None where windows were given, or the target is empty, in which case the
            first edit places the window.

        Raises:
            UserInputError: Wrong number of channels, wrong shape of `initial`, windows that do not fit the network's
                grid, or not enough memory.
            Cancelled: The session is as it was before the call.
        """
        volume = image.volume if isinstance(image, ReadyImage) else image
        if initial is not None and initial.shape != volume.shape_kji:
            raise UserInputError(
                f"The initial segmentation has shape {initial.shape} and the image {volume.shape_kji}; resample it"
            )
        progress("preprocess", 0.0)
        ready = image if isinstance(image, ReadyImage) else ready_image(self.model, image)
        prepared = ready.prepared
        if initial is None:
            initial = self.model.predict(prepared, progress, cancelled)
        cache = FeatureCache.empty(self.model, prepared)
        target = bounding_box(prepared.axes.apply(initial))
        plan = self.plan = None if window_groups else self._plan_around(cache, target)
        for boxes in window_groups:
            _check_windows(boxes, self.model, prepared.grid.network_shape)
        for boxes in window_groups or ([plan.boxes] if plan else []):
            cache = cache.extended(self._encode(prepared, boxes, progress, cancelled))
        self._volume, self._cache = volume, cache
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
        return self.cache.prepared.axes.undo(self.cache.untouched)

    def slice_doubt_mm2(self, axis: int) -> np.ndarray:
        """How undecided the network is on each slice along an array axis, after the edits so far; `slice_doubt_mm2`."""
        margins = self.cache.prepared.axes.undo(self.cache.untouched_margins())
        return slice_doubt_mm2(margins, self.records, axis, self.volume.spacing_kji_mm)

    def _plan_around(self, cache: FeatureCache, target: Box | None) -> WindowPlan | None:
        """The windows that a target (image box in the network's axes) asks for; None for an empty one."""
        grid = cache.prepared.grid
        inside = None if target is None else intersection(target, grid.crop)
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

    def protect(self, mask: np.ndarray) -> None:
        """Never write these voxels (bool `[K, J, I]`) by propagation, whatever they hold."""
        check_shape(mask, self.volume)
        self._manual |= mask.astype(bool)

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
        check_shape(segmentation, self.volume)
        by_hand = segmentation.astype(bool) ^ self.segmentation
        if by_hand.any():
            self.undone.clear()
        self._manual |= by_hand
        self.segmentation = segmentation.astype(bool).copy()

    @out_of_memory_reported("Propagating the edit")
    def propagate(
        self,
        edits: Sequence[SliceEdit],
        progress: Progress = no_progress,
        cancelled: CancelCheck = never_cancelled,
    ) -> PropagationResult:
        """Propagate redrawn slices. Several slices are optimised jointly; see `several_edits` for further ones.

        Args:
            edits: Slices of one axis, exactly as drawn.
            progress: Called with stage and fraction.
            cancelled: Asked before each evaluation and each fusion.

        Raises:
            UserInputError: No edits, several axes, an index or a mask that does not fit the image, or little memory.
            Cancelled: Nothing was changed.
        """
        check_edits(edits, self.volume)
        edits = tuple(replace(e, mask=e.mask.astype(bool)) for e in sorted(edits, key=lambda edit: edit.index))
        messages = self._extend_windows(edits, progress, cancelled)
        kept = superseded(self.records, edits)
        joined = self._joined(kept, edits)
        drawings = self._drawings(edits, joined)
        start = [piece for record in joined for piece in record.features]
        propagated = self.propagation.propagate([edit for _, edit in drawings], progress, cancelled, start)
        record = self._record(drawings, propagated)
        kept = tuple(old for old in kept if not any(old is other for other in joined))
        step, changed = self._step(kept, record, edits)
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
            updates=propagated.updates,
            scope=NEAR_SLICES_ONLY if self.fusion is None else WHOLE_VOLUME,
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

    @property
    def propagation(self) -> EditPropagation:
        """How this session's image and settings propagate edits; changes nothing in the session."""
        settings, spacing_mm = self.settings, self.volume.spacing_kji_mm
        return EditPropagation(self.cache, settings.neighbours, settings.update, spacing_mm, self.fusion)

    def _joined(self, kept: tuple[EditRecord, ...], edits: Sequence[SliceEdit]) -> tuple[EditRecord, ...]:
        """The earlier records whose slices are optimised together with new edits."""
        if self.settings.several_edits != "joint":
            return ()
        new = {(edit.axis, edit.index) for edit in edits}
        redrawn = any((e.axis, e.index) in new for old in self.records if not old.satisfied for e in old.edits)
        if not redrawn and self.propagation.network_edit(edits).is_satisfied():
            return ()  # an edit that says what R_0 says moves nothing
        return tuple(record for record in kept if record.axis == edits[0].axis)

    def _drawings(self, edits: Sequence[SliceEdit], joined: Sequence[EditRecord]) -> list[tuple[int, SliceEdit]]:
        """When each slice was drawn, and the slice: new edits after all earlier ones; by slice index."""
        now = 1 + max((at for record in self.records for at, _ in record.drawings()), default=0)
        earlier = [drawing for record in joined for drawing in record.drawings()]
        return sorted([*earlier, *((now, edit) for edit in edits)], key=lambda drawing: drawing[1].index)

    def _record(self, drawings: Sequence[tuple[int, SliceEdit]], propagated: Propagated) -> EditRecord:
        return EditRecord(
            edits=tuple(edit for _, edit in drawings),
            neighbours=self.settings.neighbours,
            near=propagated.near,
            updates=propagated.updates,
            drawn_at=tuple(at for at, _ in drawings),
            features=propagated.features if self.settings.several_edits == "joint" else (),
            far=propagated.far,
        )

    def _step(
        self, kept: tuple[EditRecord, ...], record: EditRecord, edits: Sequence[SliceEdit]
    ) -> tuple[Step, np.ndarray]:
        """The history step of a new record, and the voxels that propagation, not the drawing, changes.

        Only voxels with R_n != R_(n-1) are written; where R_n is back at R_0, the first segmentation is.
        """
        untouched = self.window_prediction
        before = self._composed(untouched, self.records)
        after_records = (*kept, record)
        after = self._composed(untouched, after_records)
        drawn = self.segmentation.copy()
        for edit in edits:
            drawn[edit.place] = edit.mask
        protected = self._manual | drawn_voxels(drawn.shape, after_records)
        wanted = np.where(after != untouched, after, self.initial)
        changed = (before != after) & (wanted != drawn) & ~protected
        result = drawn ^ changed
        flipped = np.flatnonzero(result != self.segmentation)
        return Step(self.records, after_records, flipped, result.reshape(-1)[flipped]), changed

    def _composed(self, untouched: np.ndarray, records: tuple[EditRecord, ...]) -> np.ndarray:
        far_margin = FarMargin() if self.fusion is None else self.fusion.far_margin
        return compose(untouched, records, far_margin, self.settings.far_rule)

    def _extend_windows(self, edits: Sequence[SliceEdit], progress: Progress, cancelled: CancelCheck) -> list[str]:
        """Cache a window around each edit and its near slices, where there is none."""
        messages: list[str] = []
        for edit in edits:
            if not self._is_seen(self._footprint(edit, [edit.index])):
                messages.append("Part of the edit lies where the image is zero, which the model does not see")
            slices = self.volume.shape_kji[edit.axis]
            near = self._footprint(edit, near_indices([edit.index], self.settings.neighbours, slices))
            axes = self.cache.prepared.axes
            missing = self.cache.undecoded(axes.apply(near), axes.order.index(edit.axis))
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
        prepared = self.cache.prepared
        box = bounding_box(prepared.axes.apply(mask))
        return box is None or contains(prepared.grid.crop, box)


def _check_windows(boxes: Sequence[Box], model: SegmentationModel, network_shape: tuple[int, int, int]) -> None:
    """Windows lie where `plan_windows` would put them: inside the network's grid, or around it with as much padding."""
    for box in boxes:
        for (start, stop), stride, patch, n in zip(
            box, model.total_stride, model.patch_size, network_shape, strict=True
        ):
            size = stop - start
            inside = start >= 0 and stop <= n
            around = n <= size < max(n, patch) + stride and start == -((size - n) // 2)
            if size % stride or not (inside or around):
                raise UserInputError(
                    f"The window {box} does not fit the network's grid of {network_shape} voxels; "
                    f"give windows inside it whose sizes {model.total_stride} divides"
                )
