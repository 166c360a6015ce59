"""The windows of a MONAI bundle's own inferer: every argument that changes its result is used, or refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

from context_propagation.core.errors import UserInputError
from context_propagation.core.model.monai_config import USE_PYTHON, MonaiConfig, argument, arguments_of, name_of
from context_propagation.core.model.monai_preprocessing import IMAGE
from context_propagation.core.model.network_model import SlidingWindow
from context_propagation.core.model.segmentation_model import PADDING_MODES, Padding

INFERERS = ("SlidingWindowInferer", "SlidingWindowInfererAdapt")


USED = ("roi_size", "overlap", "mode", "sigma_scale", "padding_mode", "cval")


WITHOUT_EFFECT = frozenset(
    (
        *("sw_batch_size", "sw_device", "device", "progress", "cache_roi_weight_map", "cpu_thresh"),
        *("buffer_steps", "buffer_dim", "roi_weight_map"),
    )
)
"""Arguments that say how fast the same is computed."""


MAX_WINDOW = 1024


def read_windows(
    config: MonaiConfig, metadata: Mapping[str, Any]
) -> tuple[tuple[int, int, int], SlidingWindow, Padding]:
    """The patch size, and how the bundle's own inferer puts windows together and pads small images.

    Raises:
        UserInputError: The inferer is of another class, or an argument is not known or impossible.
    """
    given: dict[str, Any] = {}
    if "inferer" in config:
        inferer = config.get("inferer")
        if name_of(inferer) not in INFERERS:
            raise UserInputError(
                f"'{config.file}' names the inferer {name_of(inferer)!r:.100}; only {' and '.join(INFERERS)} are "
                f"known, write one, or {USE_PYTHON}"
            )
        for name in arguments_of(inferer):
            if name not in USED and name not in WITHOUT_EFFECT and argument(inferer, name) not in (None, False):
                raise UserInputError(f"'{config.file}': the inferer's argument '{name:.50}' is not known; remove it")
        given = {name: value for name in USED if (value := argument(inferer, name)) is not None}
    d, h, w = _patch(given.get("roi_size") or _metadata_patch(metadata))
    overlap = _per_axis(config, "overlap", given.get("overlap", 0.25), lambda share: 0 <= share < 1)
    sigma = _per_axis(config, "sigma_scale", given.get("sigma_scale", 0.125), lambda scale: 0 < scale <= 100)
    mode, padding = (str(getattr(v, "value", v)) for v in (given.get("mode", "constant"), _padding_mode(given)))
    fill = given.get("cval", 0.0)
    if padding not in PADDING_MODES or not _is_number(fill):
        raise UserInputError(
            f"'{config.file}' pads with {padding!r:.50} and {fill!r:.50}; write one of {', '.join(PADDING_MODES)}, and "
            "a finite number as cval"
        )
    windows = SlidingWindow(overlap, cast(Any, mode), sigma)  # it refuses other words
    return (d, h, w), windows, Padding(cast(Any, padding), float(fill))


def _padding_mode(given: Mapping[str, Any]) -> Any:
    return given.get("padding_mode", "constant")


def _patch(patch: Any) -> tuple[int, int, int]:
    whole = isinstance(patch, int) and not isinstance(patch, bool)
    patch = [patch] * 3 if whole else patch
    fits = isinstance(patch, list | tuple) and len(patch) == 3 and not any(isinstance(n, bool) for n in patch)
    if not fits or not all(isinstance(n, int) and 1 <= n <= MAX_WINDOW for n in patch):
        raise UserInputError(
            f"The bundle's window is {patch!r:.100}; write three whole numbers from 1 to {MAX_WINDOW} as roi_size of "
            "its 'inferer', or as spatial_shape in configs/metadata.json"
        )
    return patch[0], patch[1], patch[2]


def _metadata_patch(metadata: Mapping[str, Any]) -> Any:
    value: Any = metadata
    for part in ("network_data_format", "inputs", IMAGE, "spatial_shape"):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _per_axis(config: MonaiConfig, name: str, value: Any, fits: Any) -> tuple[float, float, float]:
    values = [value] * 3 if not isinstance(value, list | tuple) else list(value)
    if len(values) != 3 or not all(_is_number(v) and fits(v) for v in values):
        raise UserInputError(
            f"'{config.file}': '{name}' of the inferer is {value!r:.50}, which no sliding window can have; correct it"
        )
    first, second, third = (float(v) for v in values)
    return first, second, third


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
