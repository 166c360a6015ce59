"""How sure a network must be before a far voxel changes its label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FADING_SLICES = 6
"""Over so many far slices, counted from the near ones, far thresholds grow to what they are."""


@dataclass(frozen=True)
class FarThresholds:
    """How sure a network must be before a far voxel changes its label; 0 to 1, 1 changes nothing.

    Attributes:
        add: A voxel becomes target where the margin is above this.
        remove: A voxel becomes background where the margin is below minus this.
    """

    add: float = 0.0
    remove: float = 0.0


def share_of_thresholds(slices_away: np.ndarray) -> np.ndarray:
    """How much of the thresholds counts so many slices away from the near ones, float32; at least 1 away."""
    share: np.ndarray = np.clip(slices_away, 1, FADING_SLICES).astype(np.float32) / FADING_SLICES
    return share
