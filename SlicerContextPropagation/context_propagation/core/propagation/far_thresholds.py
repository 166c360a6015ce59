"""How sure a network must be before a far voxel changes its label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FADING_SLICES = 6
"""Of fusion networks' far thresholds."""


EVERY_SLICE = -1.0
"""The `least_gain` that no slice can miss."""


@dataclass(frozen=True)
class FarThresholds:
    """How sure a network must be before a far voxel changes its label; 0 to 1, 1 changes nothing.

    Attributes:
        add: A voxel becomes target where the margin is above this.
        remove: A voxel becomes background where the margin is below minus this.
        fading_slices: Over so many far slices, counted from the near ones, both grow to what they are.
        least_gain: A slice is changed only where its DSC is expected to rise by this, see `expected_gains`.
    """

    add: float = 0.0
    remove: float = 0.0
    fading_slices: int = FADING_SLICES
    least_gain: float = EVERY_SLICE

    @property
    def hashed(self) -> list[float]:
        """What a content hash takes of what was chosen; without a least gain, what it took before there was one."""
        gain = [] if self.least_gain == EVERY_SLICE else [float(self.least_gain)]
        return [float(self.add), float(self.remove), *gain]

    def share(self, slices_away: np.ndarray) -> np.ndarray:
        """How much of them counts so many slices away from the near ones, float32; at least 1 away."""
        share: np.ndarray = np.clip(slices_away, 1, self.fading_slices).astype(np.float32) / self.fading_slices
        return share
