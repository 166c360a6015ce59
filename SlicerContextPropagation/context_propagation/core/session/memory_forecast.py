"""What caching an image will need, said before anything is encoded."""

from __future__ import annotations

from collections.abc import Container

import numpy as np

from context_propagation.core.device import USABLE_SHARE, available_bytes
from context_propagation.core.image.boxes import Box, bounding_box, box_of, intersection
from context_propagation.core.image.grid import GridMap
from context_propagation.core.model.segmentation_model import SegmentationModel
from context_propagation.core.propagation.window import plan_windows
from context_propagation.core.session.forecast import MemoryForecast
from context_propagation.core.session.ready_image import ReadyImage, known_prediction
from context_propagation.core.session.session_settings import SessionSettings


def memory_forecast(
    model: SegmentationModel,
    settings: SessionSettings,
    image: ReadyImage,
    initial: np.ndarray | None = None,
    freed_bytes: int = 0,
    held: Container[Box] = (),
) -> MemoryForecast:
    """Plan the windows around a target as `Session.set_image` will.

    Args:
        model: The frozen model.
        settings: Of the session to come.
        image: The image.
        initial: bool `[K, J, I]` on the image's grid, the first segmentation; None or empty where it is predicted.
        freed_bytes: What earlier sessions give back before.
        held: Network boxes that other sessions hold, and go on holding.

    Raises:
        UserInputError: It does not fit; the message says how much is needed.
    """
    grid = image.prepared.grid
    if initial is None or not initial.any():
        predicted = known_prediction(model, image.prepared)
        initial = None if predicted is None else predicted.mask
    target = None if initial is None else bounding_box(image.prepared.axes.apply(initial))
    inside = None if target is None else intersection(target, grid.crop)
    around = _middle(grid.network_shape) if inside is None else grid.support(inside)
    border = 0 if inside is None else settings.window_border
    budget = settings.memory_budget_bytes
    usable = available_bytes(model.device) + int(USABLE_SHARE * freed_bytes) if budget is None else budget
    if target is not None and inside is None:  # nothing of it is seen; the first edit places a window
        return MemoryForecast(0, 0, usable, True)
    plan = plan_windows(
        model, around, grid.network_shape, border, settings.level, usable, held if budget is None else ()
    )
    if inside is not None:
        return MemoryForecast(plan.cached_bytes, plan.peak_bytes, usable, True, plan.messages)
    peak = max(plan.peak_bytes, _prediction_bytes(model, grid))
    short = f"Predicting may need {peak / 2**20:.0f} MiB and {usable / 2**20:.0f} MiB may be used"
    messages = plan.messages if peak <= usable else (*plan.messages, f"{short}; close other programs")
    return MemoryForecast(plan.cached_bytes, peak, usable, False, messages)


def _prediction_bytes(model: SegmentationModel, grid: GridMap) -> int:
    """On the model's device. On a GPU it is one patch's: what does not fit beside it is put into main memory."""
    patch = max(split.peak_bytes(model.patch_size, 1) for split in model.splits)
    return patch if model.device.type != "cpu" else patch + model.prediction_bytes(grid)


def _middle(shape: tuple[int, int, int]) -> Box:
    """The voxel in the middle."""
    return box_of([(n // 2, n // 2 + 1) for n in shape])
