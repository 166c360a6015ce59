"""The values in `plans.json` and `dataset.json` that decide a prediction: each is one that nnU-Net can compute with."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from context_propagation.core.errors import UserInputError
from context_propagation.core.model.nnunet_allow_lists import RESAMPLING_ENTRIES
from context_propagation.core.optional_dependency import require

MAX_LABEL, MAX_PATCH, MAX_SPACING_MM, MAX_STEP = 65535, 4096, 1000.0, 64


STATISTICS = ("mean", "std", "percentile_00_5", "percentile_99_5")
"""What CTNormalization computes with."""


# ---- plans.json


def check_configuration(plans: Mapping[str, Any], configuration: Mapping[str, Any]) -> None:
    """Refuse numbers with which nothing, or something else than in the training, would be predicted.

    Args:
        plans: All of `plans.json`.
        configuration: The one in use, with what it inherits.

    Raises:
        UserInputError: A value is of the wrong type, not finite, or impossible.
    """
    _refuse_not_finite(configuration, "")
    spacing, patch = configuration.get("spacing"), configuration.get("patch_size")
    if not _is_triple(spacing) or not all(_is_number(mm) and 0 < mm <= MAX_SPACING_MM for mm in spacing or ()):
        _refuse("spacing", spacing, f"three voxel sizes above 0 and at most {MAX_SPACING_MM:g} mm")
    if not _is_triple(patch) or not all(_is_whole(n) and 1 <= n <= MAX_PATCH for n in patch or ()):
        _refuse("patch_size", patch, f"three whole numbers from 1 to {MAX_PATCH}")
    masks, schemes = configuration.get("use_mask_for_norm"), configuration["normalization_schemes"]
    if not isinstance(masks, list) or len(masks) != len(schemes) or not all(isinstance(m, bool) for m in masks):
        _refuse("use_mask_for_norm", masks, "true or false for each normalization scheme")
    _check_transpose(plans)
    for entry in RESAMPLING_ENTRIES:
        _check_resampling(configuration, entry)
    for channel, scheme in enumerate(schemes):
        if scheme == "CTNormalization":
            _check_statistics(plans.get("foreground_intensity_properties_per_channel"), channel)


def _check_transpose(plans: Mapping[str, Any]) -> None:
    forward, backward = plans.get("transpose_forward"), plans.get("transpose_backward")
    for name, axes in (("transpose_forward", forward), ("transpose_backward", backward)):
        if not isinstance(axes, list) or not all(map(_is_whole, axes)) or sorted(axes) != [0, 1, 2]:
            _refuse(name, axes, "the axes 0, 1, 2 in some order")
    if forward is not None and backward is not None and [forward[axis] for axis in backward] != [0, 1, 2]:
        _refuse("transpose_backward", backward, f"what undoes transpose_forward {forward}")


def _check_resampling(configuration: Mapping[str, Any], entry: str) -> None:
    name, arguments = f"{entry}_kwargs", configuration.get(f"{entry}_kwargs")
    if not isinstance(arguments, dict):
        _refuse(name, arguments, "an object")
    find = require("nnunetv2.preprocessing.resampling.utils", extra="nnunet").recursive_find_resampling_fn_by_name
    parameters = inspect.signature(find(configuration[entry])).parameters
    free = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    for key, value in arguments.items():
        if key in ("data", "new_shape", "current_spacing", "new_spacing") or not (free or key in parameters):
            _refuse(f"{name}.{key}", value, f"an argument of {configuration[entry]}")
        if key in ("order", "order_z") and not (_is_whole(value) and 0 <= value <= 5):
            _refuse(f"{name}.{key}", value, "a whole number from 0 to 5")
        if key == "is_seg" and value is not (entry == "resampling_fn_seg"):
            _refuse(f"{name}.{key}", value, f"{entry == 'resampling_fn_seg'} as nnU-Net has it")
        if key == "force_separate_z" and not (value is None or isinstance(value, bool)):
            _refuse(f"{name}.{key}", value, "true, false or null")
        if key == "separate_z_anisotropy_threshold" and not (_is_number(value) and value > 0):
            _refuse(f"{name}.{key}", value, "a number above 0")


def _check_statistics(properties: Any, channel: int) -> None:
    entry = f"foreground_intensity_properties_per_channel.{channel}"
    known = properties.get(str(channel)) if isinstance(properties, dict) else None
    if not isinstance(known, dict):
        _refuse(entry, known, "the statistics that CTNormalization computes with")
    for name in STATISTICS:
        if not _is_number(known.get(name)):
            _refuse(f"{entry}.{name}", known.get(name), "a finite number")
    if not known["percentile_00_5"] < known["percentile_99_5"]:
        _refuse(f"{entry}.percentile_99_5", known["percentile_99_5"], f"above {known['percentile_00_5']}")
    if not known["std"] > 0:
        _refuse(f"{entry}.std", known["std"], "above 0")


def _refuse_not_finite(value: Any, place: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        _refuse(place.lstrip("."), value, "a finite number")
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        _refuse_not_finite(child, f"{place}.{key}")


def check_architecture(arguments: Mapping[str, Any]) -> None:
    """Refuse strides and kernels that no convolution has; a network is built with them without a word.

    Raises:
        UserInputError: One is not a whole number from 1 to 64, or three of them.
    """
    for name in ("strides", "kernel_sizes"):
        values = arguments.get(name)
        for value in values if isinstance(values, list) else [values]:
            numbers: list[Any] = value if isinstance(value, list) else [value] * 3
            if len(numbers) != 3 or not all(_is_whole(n) and 1 <= n <= MAX_STEP for n in numbers):
                _refuse(
                    f"architecture.arch_kwargs.{name}",
                    values,
                    f"whole numbers from 1 to {MAX_STEP}, three for each stage",
                )


# ---- dataset.json


def check_dataset(dataset: Mapping[str, Any]) -> None:
    """Refuse labels and channel names that no training of nnU-Net has.

    Raises:
        UserInputError: A label's value is impossible, two labels share one, or the channels are not numbered from 0.
    """
    _check_channels(dataset)
    labels = dataset.get("labels")
    if not isinstance(labels, dict):
        _refuse("labels", labels, "an object with a value for each label", "dataset.json")
    values = {name: members_of(value) for name, value in labels.items()}
    for name, members in values.items():
        least = 0 if name == "background" else 1
        if not members or not all(_is_whole(n) and least <= n <= MAX_LABEL for n in members):
            expected = f"whole numbers from {least} to {MAX_LABEL}"
            _refuse(f"labels.{name}", labels[name], expected, "dataset.json")
    if values.get("background") != (0,):
        _refuse("labels.background", labels.get("background"), "0", "dataset.json")
    foreground = {name: members for name, members in values.items() if name not in ("background", "ignore")}
    if any(len(members) > 1 for members in foreground.values()):
        _check_region_order(dataset, list(foreground.values()))
    elif sorted(members[0] for members in foreground.values()) != list(range(1, len(foreground) + 1)):
        expected = "the values 1, 2, ... without gaps, each for one label"
        _refuse("labels", labels, expected, "dataset.json")


def members_of(value: Any) -> tuple[Any, ...]:
    """The values in a training labelmap that belong to a label or region of `dataset.json`."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _check_region_order(dataset: Mapping[str, Any], regions: Sequence[tuple[int, ...]]) -> None:
    order = dataset.get("regions_class_order")
    values = order if isinstance(order, list) else []
    whole = all(_is_whole(n) and 1 <= n <= MAX_LABEL for n in values)
    if not whole or len(values) != len(regions) or len(set(values)) < len(values):
        expected = f"{len(regions)} different values above 0, one for each region"
        _refuse("regions_class_order", order, expected, "dataset.json")


def _check_channels(dataset: Mapping[str, Any]) -> None:
    key = "modality" if "modality" in dataset else "channel_names"
    names = dataset.get(key)
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        _refuse(key, names, "an object with a name for each channel", "dataset.json")
    if sorted(names) != sorted(str(n) for n in range(len(names))):
        _refuse(key, names, 'numbered "0", "1", ...', "dataset.json")


# ---- small things


def _is_triple(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _refuse(name: str, value: Any, expected: str, file: str = "plans.json") -> NoReturn:
    raise UserInputError(f"{file}: '{name}' is {value!r:.100}, not {expected}; copy {file} again from the training")
