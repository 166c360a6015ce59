"""Far thresholds as JSON keeps them."""

from __future__ import annotations

from typing import Any

from context_propagation.core.propagation.far_thresholds import EVERY_SLICE, FarThresholds
from context_propagation.core.storage.checked_entries import Entries


def plain_thresholds(thresholds: FarThresholds) -> dict[str, Any]:
    """For JSON, `fading_slices` apart: what was trained for a model never has others than usual."""
    gain = {} if thresholds.least_gain == EVERY_SLICE else {"least_gain": thresholds.least_gain}
    return {"add": thresholds.add, "remove": thresholds.remove, **gain}


def read_thresholds(entries: Entries) -> FarThresholds:
    """The inverse; without `least_gain` every slice may change, as before there was one.

    Raises:
        UserInputError: An entry is missing, unknown or no number from 0 to 1.
    """
    gain = entries.number("least_gain", 1) if "least_gain" in entries else EVERY_SLICE
    thresholds = FarThresholds(entries.number("add", 1), entries.number("remove", 1), least_gain=gain)
    entries.refuse_the_rest()
    return thresholds
