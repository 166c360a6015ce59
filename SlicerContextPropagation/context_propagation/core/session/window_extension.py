"""Which windows an image and its edits need, and the cache that has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.device import available_bytes, free_device_memory, is_out_of_memory
from context_propagation.core.errors import Cancelled, UserInputError
from context_propagation.core.image.boxes import Box, bounding_box, box_of, contains, intersection, slices_of
from context_propagation.core.image.slices import SliceEdit, near_indices
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.core.propagation.feature_cache import NO_WINDOW, FeatureCache
from context_propagation.core.propagation.general_far import FarNetworks
from context_propagation.core.propagation.window import WindowPlan, plan_windows
from context_propagation.core.session.kept_of_f import forget_of_f, keep_of_f
from context_propagation.core.session.ready_image import encoded_window, held_boxes
from context_propagation.core.session.session_settings import SessionSettings

RAN_OUT = "Memory ran out while the image was cached, so less of it is cached at a time"


ENCODING = 0.9
"""Of the time that caching takes; the rest is `keep_of_f`."""


LESS = 0.8
"""Of what was planned is tried next, where memory ran out."""


def plan_around(
    cache: FeatureCache, target: Box | None, settings: SessionSettings, most_bytes: int | None = None
) -> WindowPlan | None:
    """The windows that a target (image box in the network's axes) asks for; None for an empty or unseen one.

    Args:
        cache: What is cached.
        target: An image box in the network's axes.
        settings: Border, level, memory.
        most_bytes: That may be used, if it is less than the settings and the machine allow.

    Raises:
        UserInputError: Not enough memory.
    """
    grid = cache.prepared.grid
    inside = None if target is None else intersection(target, grid.crop)
    if inside is None:
        return None
    border, level, given = settings.window_border, settings.level, settings.memory_budget_bytes
    budget = available_bytes(cache.model.device) if given is None else given - cache.cached_bytes()
    budget = budget if most_bytes is None else min(budget, most_bytes)
    held = held_boxes(cache.model, cache.prepared, level) if given is None else ()
    return plan_windows(cache.model, grid.support(inside), grid.network_shape, border, level, budget, held)


def with_target(
    cache: FeatureCache,
    target: Box | None,
    settings: SessionSettings,
    fusion: FarNetworks | None,
    planned: Callable[[WindowPlan | None], None],
    progress: Progress,
    cancelled: CancelCheck,
) -> FeatureCache:
    """Cache the windows around a target; smaller ones where memory runs out although the plan fitted.

    Args:
        cache: What is cached.
        target: An image box in the network's axes; None for no target.
        settings: Border, level, memory.
        fusion: The session's.
        planned: Called with each plan before anything is encoded.
        progress: Called with stage and fraction.
        cancelled: Asked before each window.

    Raises:
        UserInputError: Less memory is free than the smallest windows need.
        MemoryError, RuntimeError: Memory ran out even with the smallest windows.
        Cancelled: The user cancelled.
    """
    forget_of_f(cache)
    most_bytes, ran_out = None, None
    while True:
        try:
            plan = plan_around(cache, target, settings, most_bytes)
        except UserInputError as error:
            raise ran_out or error from error
        if plan is not None and ran_out is not None:
            plan = replace(plan, messages=(RAN_OUT, *plan.messages))
        planned(plan)
        boxes = [box for box in plan.boxes if box not in cache.window_boxes] if plan else []
        if plan is None or not boxes:
            return cache
        try:
            return with_windows(cache, boxes, settings, fusion, progress, cancelled)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            less = int(LESS * plan.peak_bytes)
            if most_bytes is not None and less >= most_bytes:
                raise  # what other sessions hold needs nothing, and cannot be made smaller
            most_bytes, ran_out = less, error
        free_device_memory()


def with_windows(
    cache: FeatureCache,
    boxes: Sequence[Box],
    settings: SessionSettings,
    fusion: FarNetworks | None,
    progress: Progress,
    cancelled: CancelCheck,
) -> FeatureCache:
    """Encode network boxes, unless a session of the same image holds them, and add them to a cache.

    Args:
        cache: What is cached.
        boxes: To be added.
        settings: Level, memory.
        fusion: The session's; what its networks compute of f alone is kept too.
        progress: Called with stage and fraction.
        cancelled: Asked before each box.

    Raises:
        Cancelled: The user cancelled.
    """
    windows = []
    for number, box in enumerate(boxes):
        if cancelled():
            raise Cancelled
        progress("encode", ENCODING * number / len(boxes))
        windows.append(encoded_window(cache.model, cache.prepared, box, settings.level))
    extended = cache.extended(windows)
    keep_of_f(extended, settings, fusion, lambda done: progress("encode", ENCODING + (1 - ENCODING) * done), cancelled)
    return extended


@dataclass(frozen=True)
class WindowExtension:
    """Caches a window around each edit and its near slices, where there is none.

    Attributes:
        settings: Level, neighbours, border, memory.
        fusion: The session's.
        progress: Called with stage and fraction.
        cancelled: Asked before each window.
    """

    settings: SessionSettings
    fusion: FarNetworks | None
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
        plans: list[WindowPlan | None] = []
        try:
            extended = with_target(
                cache, missing, self.settings, self.fusion, plans.append, self.progress, self.cancelled
            )
        except UserInputError as error:
            if (cache.owner[slices_of(missing)] == NO_WINDOW).any():
                raise
            return cache, (f"The edit is propagated only where the image is cached: {error}",)
        added, plan = len(extended.windows) - len(cache.windows), plans[-1]
        if plan is None or not added:
            return cache, ()
        said = f"The edit lies outside the cached part of the image; {added} more part(s) were cached"
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
