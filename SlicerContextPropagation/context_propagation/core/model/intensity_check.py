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


@dataclass(frozen=True)
class ChannelExpectation:
    """What a channel should hold.

    Attributes:
        name: From `dataset.json`, e.g. "CT", "PET", "T1".
        low: 0.5 percentile of the training's foreground; None where absolute values mean nothing (z-scored channels).
        high: 99.5 percentile.
    """

    name: str
    low: float | None = None
    high: float | None = None


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
    ranges = [(float(channel.min()), float(channel.max())) for channel in channels]
    reasons = [_misfit(range_, expected) for range_, expected in zip(ranges, expectations, strict=True)]
    lines = []
    for number, (reason, expected) in enumerate(zip(reasons, expectations, strict=True)):
        if reason:
            low, high = ranges[number]
            lines.append(
                f"channel {number} ({expected.name}) ranges from {low:g} to {high:g}: {reason}; check the image"
            )
    lines += [
        f"channels {a} ({expectations[a].name}) and {b} ({expectations[b].name}) look swapped; check their order"
        for a, b in combinations(range(len(ranges)), 2)
        if (reasons[a] or reasons[b])
        and not _misfit(ranges[b], expectations[a])
        and not _misfit(ranges[a], expectations[b])
    ]
    return lines


def _misfit(range_: tuple[float, float], expected: ChannelExpectation) -> str:
    """Why a range does not fit the channel; empty where it does."""
    low, high = range_
    words = set(re.findall(r"[a-z]+", expected.name.lower()))
    if "ct" in words and (low > HU_AIR or high > HU_HIGHEST):
        return f"not a CT in HU, which has voxels below {HU_AIR:g} and none above {HU_HIGHEST:g}"
    if words & {"pet", "suv"} and low < SUV_NOISE:
        return "PET has no negative values"
    if words & {"pet", "suv"} and high > SUV_HIGHEST:
        return f"not in SUV, which stays below {SUV_HIGHEST:g}"
    if expected.low is not None and expected.high is not None and _covered(range_, expected) < COVERED_LOW:
        return f"the model was trained on {expected.low:g} to {expected.high:g} inside its labels"
    return ""


def _covered(range_: tuple[float, float], expected: ChannelExpectation) -> float:
    """The share of the training's foreground range that lies inside the image's range."""
    if expected.low is None or expected.high is None or expected.high <= expected.low:
        return 1.0
    common = min(range_[1], expected.high) - max(range_[0], expected.low)
    return max(common, 0.0) / (expected.high - expected.low)
