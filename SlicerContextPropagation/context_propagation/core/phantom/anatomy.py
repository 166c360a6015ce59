"""What the phantoms of both regions share: difficulty, contouring style, painting tissue, the result of sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from context_propagation.core.phantom.space import Space

DifficultyName = Literal["lower", "middle", "higher"]


AIR_HU, LUNG_HU, FAT_HU, FLUID_HU, BRAIN_HU, MUSCLE_HU, TRABECULAR_HU, CORTEX_HU = (
    -1000, -820, -95, 10, 36, 58, 230, 750,
)  # fmt: skip


EDGE_MM = 1.5
"""Over so much one tissue turns into the next, whatever the grid."""


@dataclass(frozen=True)
class Difficulty:
    """What makes a GTV hard to contour; one number for each reason.

    Attributes:
        contrast_hu: Tumour above muscle, lowest and highest over the cases.
        visible_share: How much of an infiltration's length the image shows, lowest and highest.
        offset_mm: How far inside (below 0) or outside the tumour's edge a style puts the contour, lowest and highest.
        noise_hu: Standard deviation of the CT's noise.
    """

    contrast_hu: tuple[float, float]
    visible_share: tuple[float, float]
    offset_mm: tuple[float, float]
    noise_hu: float


DIFFICULTIES: dict[DifficultyName, Difficulty] = {
    "lower": Difficulty((30.0, 50.0), (0.6, 0.9), (-1.5, 2.5), 9.0),
    "middle": Difficulty((20.0, 40.0), (0.4, 0.8), (-3.0, 4.5), 12.0),
    "higher": Difficulty((12.0, 30.0), (0.2, 0.6), (-4.0, 6.0), 15.0),
}


@dataclass(frozen=True)
class Style:
    """How a case's observer contours: the same on every slice, and nothing of it is in the image.

    Attributes:
        offset_mm: Outside the tumour's edge where above 0, else inside.
        extent: How far along its infiltration the tumour is followed, 0 to 1.
        generous: Whether doubtful tissue is included: invaded bone, the lumen.
    """

    offset_mm: float
    extent: float
    generous: bool

    @classmethod
    def drawn(cls, rng: np.random.Generator, difficulty: Difficulty) -> Style:
        """A style at random."""
        return cls(rng.uniform(*difficulty.offset_mm), rng.uniform(0.2, 1.0), bool(rng.integers(2)))

    def numbers(self, difficulty: Difficulty) -> tuple[float, float, float]:
        """Each between -1 and 1: what an oracle is told."""
        low, high = difficulty.offset_mm
        return 2 * (self.offset_mm - low) / (high - low) - 1, (self.extent - 0.6) / 0.4, 2.0 * self.generous - 1


@dataclass(frozen=True)
class Anatomy:
    """One case at the sample points.

    Attributes:
        hu: float32 `[K, J, I]`, HU, without noise.
        gtv: Bool `[K, J, I]`, as the observer contours it.
        style: Of the observer.
        suv: float32 `[K, J, I]`, SUV as it would be without blur and noise, or None.
    """

    hu: np.ndarray
    gtv: np.ndarray
    style: Style
    suv: np.ndarray | None = None


def share(distance: np.ndarray, edge_mm: float = EDGE_MM) -> np.ndarray:
    """Of each sample, how much lies inside a shape: 0 to 1."""
    return np.clip(0.5 - distance / edge_mm, 0, 1)


def paint(image: np.ndarray, distance: np.ndarray, value: np.ndarray | float, opacity: np.ndarray | float = 1) -> None:
    """Put a tissue over an image `[K, J, I]`, in place."""
    weight = share(distance) * opacity
    image += (value - image) * weight


def infiltration(
    space: Space, start: tuple[float, float, float], direction: np.ndarray, length_mm: float, radius_mm: float
) -> tuple[np.ndarray, np.ndarray]:
    """A finger of tumour: its distance, and the way along it from the start to the tip, 0 to 1, at every point."""
    stop = (
        start[0] + length_mm * float(direction[0]),
        start[1] + length_mm * float(direction[1]),
        start[2] + length_mm * float(direction[2]),
    )
    ahead = sum(
        (axis - at) * float(d) for axis, at, d in zip((space.x, space.y, space.z), start, direction, strict=True)
    )
    return space.capsule(start, stop, radius_mm), np.clip(ahead / length_mm, 0, 1)
