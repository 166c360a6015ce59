"""Which windows an image and its edits need, and the cache that has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.device import available_bytes
from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.image.boxes import Box, bounding_box, box_of, contains, intersection, slices_of
from context_propagation.core.image.slices import SliceEdit, near_indices
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.core.propagation.feature_cache import NO_WINDOW, FeatureCache
from context_propagation.core.propagation.window import WindowPlan, encode_window, plan_windows
from context_propagation.core.session.session_settings import SessionSettings


def plan_around(cache: FeatureCache, target: Box | None, settings: SessionSettings) -> WindowPlan | None:
    """The windows that a target (image box in the network's axes) asks for; None for an empty or unseen one.

    Raises:
        UserInputError: Not enough memory.
    """
    grid = cache.prepared.grid
    inside = None if target is None else intersection(target, grid.crop)
    if inside is None:
        return None
    border, level, given = settings.window_border, settings.level, settings.memory_budget_bytes
    budget = available_bytes(cache.model.device) if given is None else given - cache.cached_bytes(level)
    return plan_windows(cache.model, grid.support(inside), grid.network_shape, border, level, budget)


def with_windows(
    cache: FeatureCache,
    boxes: Sequence[Box],
    level: int,
    progress: Progress,
    cancelled: CancelCheck,
    earlier: FeatureCache | None = None,
) -> FeatureCache:
    """Encode network boxes, and add them to a cache.

    Args:
        cache: What is cached.
        boxes: To be added.
        level: Decoder level.
        progress: Called with stage and fraction.
        cancelled: Asked before each box.
        earlier: A cache of this level, whose windows are taken instead where it is one of the same prepared image.

    Raises:
        Cancelled: The user cancelled.
    """
    same = earlier is not None and earlier.prepared is cache.prepared
    known = {window.network_box: window for window in earlier.windows} if earlier is not None and same else {}
    windows = []
    for number, box in enumerate(boxes):
        if cancelled():
            raise Cancelled
        progress("encode", number / len(boxes))
        windows.append(known.get(box) or encode_window(cache.model, cache.prepared, box, level))
    return cache.extended(windows)


@dataclass(frozen=True)
class WindowExtension:
    """Caches a window around each edit and its near slices, where there is none.

    Attributes:
        settings: Level, neighbours, border, memory.
        progress: Called with stage and fraction.
        cancelled: Asked before each window.
    """

    settings: SessionSettings
    progress: Progress
    cancelled: CancelCheck

    def for_edits(
        self, cache: FeatureCache, segmentation: np.ndarray, edits: Sequence[SliceEdit]
    ) -> tuple[FeatureCache, tuple[str, ...]]:
        """The cache with what the edits need of it, and what the user should know.

        Args:
            cache: What is cached.
            segmentation: bool `[K, J, I]` in the volume's own orientation: the current contours count as well.
            edits: As drawn.

        Raises:
            UserInputError: Not enough memory.
            Cancelled: The user cancelled.
        """
        messages: list[str] = []
        axes, shape = cache.prepared.axes, segmentation.shape
        for edit in edits:
            footprint = _footprint(segmentation, edit)
            if not self._is_seen(cache, footprint, edit, shape):
                messages.append("Part of the edit lies where the image is zero, which the model does not see")
            near = near_indices([edit.index], self.settings.neighbours, shape[edit.axis])
            axis, indices = axes.slices(edit.axis, near, shape[edit.axis])
            missing = cache.undecoded(axes.apply(footprint), axis, sorted(indices))
            if missing is not None:
                cache, said = self._around(cache, missing)
                messages.extend(said)
        return cache, tuple(dict.fromkeys(messages))

    def _around(self, cache: FeatureCache, missing: Box) -> tuple[FeatureCache, tuple[str, ...]]:
        """Encode what an edit lacks. Where memory is short and windows decode all of it piecewise, they must do."""
        try:
            plan = plan_around(cache, missing, self.settings)
        except UserInputError as error:
            if (cache.owner[slices_of(missing)] == NO_WINDOW).any():
                raise
            return cache, (f"The edit is propagated only where the image is cached: {error}",)
        boxes = [box for box in plan.boxes if box not in cache.window_boxes] if plan else []
        if plan is None or not boxes:
            return cache, ()
        extended = with_windows(cache, boxes, self.settings.level, self.progress, self.cancelled)
        said = f"The edit lies outside the cached part of the image; {len(boxes)} more part(s) were cached"
        return extended, (said, *plan.messages)

    def _is_seen(self, cache: FeatureCache, footprint: np.ndarray, edit: SliceEdit, shape: tuple[int, ...]) -> bool:
        """Whether all of an edit's footprint lies in the part of the image that the model sees."""
        prepared, flat = cache.prepared, bounding_box(footprint)
        if flat is None:
            return True
        spans = list(flat)
        spans[edit.axis] = (edit.index, edit.index + 1)
        return contains(prepared.grid.crop, prepared.axes.apply_box(box_of(spans), shape))


def _footprint(segmentation: np.ndarray, edit: SliceEdit) -> np.ndarray:
    """Bool, one slice thick along the edit's axis, else `[K, J, I]`: the drawing, and its slice's current contour."""
    return np.expand_dims(edit.mask | segmentation[edit.place], edit.axis)


def check_windows(boxes: Sequence[Box], model: SegmentationModel, network_shape: tuple[int, int, int]) -> None:
    """Windows lie where `plan_windows` would put them: inside the network's grid, or around it with as much padding.

    Raises:
        UserInputError: A window does not.
    """
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
