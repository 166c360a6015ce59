"""What the script of Slicer's extension MONAI Auto3DSeg does to an image before its network sees it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from context_propagation.core.errors import UserInputError
from context_propagation.core.model.auto3dseg_files import AGAIN
from context_propagation.core.model.monai_preprocessing import IMAGE
from context_propagation.core.optional_dependency import require
from context_propagation.core.storage.sound_weights import refuse_huge_numbers

FOREGROUND_MARGIN = 10
"""Voxels around the foreground, which is what is above 0."""


SAME_SPACING = (0.75, 1.25)
"""An image whose voxels are of this share of the network's is not resampled."""


NORMALISATIONS = ("none", "range", "ct", "meanstd", "mri", "meanstdtanh", "pet")


def read_transforms(config: Mapping[str, Any], channels: int, brats: bool, file: Path) -> list[Any]:
    """MONAI's dictionary transforms of the image, in the extension's order.

    One image is normalised whole, and its foreground is what was above 0 before. Several images that the configuration
    tells apart are normalised whole, each in its way, and the foreground is what is above 0 in the first one then.
    Channels of one image, as of BraTS, are cut out and resampled first; what is above 0 in any is foreground.

    Args:
        config: The model's.
        channels: Of the image.
        brats: The extension reads all images of the model as channels of one.
        file: The checkpoint, for messages.

    Raises:
        UserInputError: The configuration names the unknown.
        MissingDependencyError: MONAI is not installed.
    """
    joint = channels > 1 and (brats or not config.get("extra_modalities"))
    intensities = _Intensities(_modes(config, channels, joint, file), _bounds(config, file), joint)
    if joint:
        return [*_geometry(config, file, IMAGE, None), intensities]
    first = [_Source(), intensities] if channels == 1 else [intensities, _Source()]
    return [*first, *_geometry(config, file, _Source.KEY, 0)]


def _geometry(config: Mapping[str, Any], file: Path, source: str, channel: int | None) -> list[Any]:
    """Foreground, orientation, voxel size; the foreground is looked for in one channel of a source, or in any."""
    monai = require("monai.transforms", extra="monai")
    spacing = None if config.get("resample_resolution") is None else three(config, "resample_resolution", file)
    found: list[Any] = []
    if config.get("crop_foreground", True):
        found.append(
            monai.CropForegroundd(
                IMAGE, source_key=source, channel_indices=channel, margin=FOREGROUND_MARGIN, allow_smaller=True
            )
        )
    if config.get("orientation_ras", False):
        found.append(monai.Orientationd(IMAGE, axcodes="RAS"))
    if spacing is not None:
        low, high = ([share * mm for mm in spacing] for share in SAME_SPACING)
        found.append(
            monai.Spacingd(
                IMAGE, pixdim=list(spacing), mode="bilinear", dtype=torch.float, min_pixdim=low, max_pixdim=high
            )
        )
    return found


class _Source:
    """Keeps the image as it came: the foreground is what is above 0 in it."""

    KEY = "source"

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        return {**data, self.KEY: data[IMAGE].clone()}


@dataclass(frozen=True)
class _Intensities:
    """Changes each channel's intensities.

    Attributes:
        modes: One of `NORMALISATIONS` for each channel.
        bounds: What "range" and "ct" take to -1 and 1, before a sigmoid.
        joint: The channels are one image, whose smallest value and deviation "pet" takes of all.
    """

    modes: tuple[str, ...]
    bounds: tuple[float, float]
    joint: bool

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        image = data[IMAGE]
        if self.joint and self.modes[0] == "pet":
            return {**data, IMAGE: self._changed(image.float(), "pet")}
        for channel, mode in enumerate(self.modes):
            image[channel] = self._changed(image[channel].float(), mode)
        return {**data, IMAGE: image}

    def _changed(self, x: Any, mode: str) -> Any:
        if mode == "none":
            return x
        if mode in ("range", "ct"):
            low, high = self.bounds
            return torch.sigmoid((x - low) / (high - low) * 2 - 1)
        if mode == "pet":
            return torch.sigmoid((x - x.min()) / x.std())
        inside = x != 0
        if not bool(inside.any()):
            return x
        deviation = x[inside].std(correction=0)
        x[inside] = (x[inside] - x[inside].mean()) / (deviation if float(deviation) else 1.0)
        return 3 * torch.tanh(x / 3) if mode == "meanstdtanh" else x


def _modes(config: Mapping[str, Any], channels: int, joint: bool, file: Path) -> tuple[str, ...]:
    extra = config.get("extra_modalities") or {}
    others = list(extra.values()) if isinstance(extra, dict) else []
    modes = [config.get("normalize_mode")] * channels if joint else [config.get("normalize_mode"), *others]
    if len(modes) != channels or not all(mode in NORMALISATIONS for mode in modes):
        raise UserInputError(
            f"'{file}' normalizes {channels} channels by {', '.join(str(mode) for mode in modes):.100}; known are "
            f"{', '.join(NORMALISATIONS)}, one for each"
        )
    return tuple(str(mode) for mode in modes)


def _bounds(config: Mapping[str, Any], file: Path) -> tuple[float, float]:
    value = config.get("intensity_bounds") or (-1.0, 1.0)
    if not isinstance(value, list | tuple) or len(value) != 2 or not _finite(value) or not value[0] < value[1]:
        raise UserInputError(f"'{file}' has the intensity_bounds {value!r:.60}, not two numbers that rise; {AGAIN}")
    return float(value[0]), float(value[1])


def three(config: Mapping[str, Any], key: str, file: Path) -> tuple[float, float, float]:
    """An entry of three numbers above 0.

    Raises:
        UserInputError: It is none.
    """
    value = config.get(key)
    if not isinstance(value, list | tuple) or len(value) != 3 or not _finite(value) or not min(value) > 0:
        raise UserInputError(f"'{file}' has the {key} {value!r:.60}, not three numbers above 0; {AGAIN}")
    refuse_huge_numbers(list(value), f"'{file}': {key}")
    first, second, third = map(float, value)
    return first, second, third


def _finite(values: Sequence[Any]) -> bool:
    return all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values)
