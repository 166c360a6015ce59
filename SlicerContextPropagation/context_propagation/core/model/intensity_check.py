"""Whether the image's channels look like what the network was trained on: warnings, never errors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

HU_AIR = -100.0
"""A CT with no voxel below this has neither air nor fat in it, which no body scan lacks."""


HU_HIGHEST = 40000.0


SUV_NOISE = -1.0
"""Filtered reconstructions undershoot a little; a CT or a normalised image goes far below."""


SUV_HIGHEST = 500.0
"""Above this a PET is in Bq/ml or counts; the bladder and hot nodes stay below."""


COVERED_LOW = 0.25
"""Below this share of the training's foreground range, the image's range is out of it."""


KEPT_LOW = 0.005
"""Where clipping to the training's range leaves fewer voxels as they are, the image is in other units."""


NARROWEST_HU = 20.0
"""Foreground in HU spreads over more than this, noise alone does; a CT that was scaled to 0..1 or z-scored does not."""


@dataclass(frozen=True)
class ChannelExpectation:
    """What a channel should hold.

    Attributes:
        name: From `dataset.json`, e.g. "CT", "PET", "T1".
        low: Below this the model's normalization clips: in nnU-Net the 0.5 percentile of the training's foreground;
            None where absolute values mean nothing (z-scored channels).
        high: Above this it clips: the 99.5 percentile.
    """

    name: str
    low: float | None = None
    high: float | None = None

    @property
    def is_measured(self) -> bool:
        """Whether the model says a range."""
        return self.low is not None and self.high is not None and self.low < self.high

    @property
    def width(self) -> float:
        """Of the range; 0 without one."""
        return (self.high or 0.0) - (self.low or 0.0) if self.is_measured else 0.0


def channel_expectations(
    dataset: Mapping[str, Any], plans: Mapping[str, Any], normalization_schemes: Sequence[str]
) -> list[ChannelExpectation]:
    """Read expectations from an nnU-Net model's files.

    Args:
        dataset: `dataset.json`.
        plans: `plans.json`.
        normalization_schemes: Of the configuration, one per channel; only a channel that is not z-scored has a range.
    """
    names = dataset.get("channel_names") or dataset.get("modality") or {}
    properties = plans.get("foreground_intensity_properties_per_channel") or {}
    expectations = []
    for channel, scheme in enumerate(normalization_schemes):
        known = properties.get(str(channel), {}) if scheme == "CTNormalization" else {}
        expectations.append(
            ChannelExpectation(
                str(names.get(str(channel), f"channel {channel}")),
                known.get("percentile_00_5"),
                known.get("percentile_99_5"),
            )
        )
    return expectations


def intensity_warnings(channels: np.ndarray, expectations: Sequence[ChannelExpectation]) -> list[str]:
    """Compare each channel's range with what the model expects.

    Args:
        channels: float32 `[C, K, J, I]`, finite.
        expectations: One per channel.

    Returns:
        One line per channel that is out of its modality's range, and one for each pair that looks swapped.
    """
    found = [_Values.of(channel) for channel in channels]
    reasons = [_misfit(values, expected) for values, expected in zip(found, expectations, strict=True)]
    lines = []
    for number, (reason, expected) in enumerate(zip(reasons, expectations, strict=True)):
        if reason:
            low, high = found[number].low, found[number].high
            lines.append(
                f"channel {number} ({expected.name}) ranges from {low:g} to {high:g}: {reason}; check the image"
            )
    lines += [
        f"channels {a} ({expectations[a].name}) and {b} ({expectations[b].name}) look swapped; check their order"
        for a, b in combinations(range(len(found)), 2)
        if (reasons[a] or reasons[b])
        and not _misfit(found[b], expectations[a])
        and not _misfit(found[a], expectations[b])
    ]
    return lines


@dataclass(frozen=True)
class _Values:
    """A channel `[K, J, I]` and its range."""

    channel: np.ndarray
    low: float
    high: float

    @classmethod
    def of(cls, channel: np.ndarray) -> _Values:
        return cls(channel, float(channel.min()), float(channel.max()))


def _misfit(values: _Values, expected: ChannelExpectation) -> str:
    """Why a channel does not fit; empty where it does. What the model measured counts more than the channel's name."""
    return _misfit_by_training(values, expected) or _misfit_by_name(values, expected)


def _misfit_by_training(values: _Values, expected: ChannelExpectation) -> str:
    if not expected.is_measured:
        return ""
    low, high = expected.low or 0.0, expected.high or 0.0
    trained = f"the model was trained on {low:g} to {high:g}"
    covered = max(min(values.high, high) - max(values.low, low), 0.0) / (high - low)
    if covered < COVERED_LOW:
        return f"{trained} inside its labels"
    kept = np.mean((values.channel >= low) & (values.channel <= high))
    if kept < KEPT_LOW:
        return f"{trained}, and its normalization would clip {100 * (1 - kept):.1f} % of the voxels"
    return ""


def _misfit_by_name(values: _Values, expected: ChannelExpectation) -> str:
    """By what a name promises, unless the model's own statistics break that promise."""
    words = set(re.findall(r"[a-z]+", expected.name.lower()))
    in_hu = not expected.is_measured or (expected.width > NARROWEST_HU and (expected.low or 0) < 0)
    if "ct" in words and in_hu and (values.low > HU_AIR or values.high > HU_HIGHEST):
        return f"not a CT in HU, which has voxels below {HU_AIR:g} and none above {HU_HIGHEST:g}"
    if not words & {"pet", "suv"}:
        return ""
    if values.low < SUV_NOISE and not (expected.is_measured and (expected.low or 0) < SUV_NOISE):
        return "PET has no negative values"
    if values.high > SUV_HIGHEST and not (expected.is_measured and (expected.high or 0) > SUV_HIGHEST):
        return f"not in SUV, which stays below {SUV_HIGHEST:g}"
    return ""
