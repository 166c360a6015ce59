"""The phantom of the benchmark: one blob in noise, and slices of it drawn with an error of known size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from context_propagation.core.errors import UserInputError

WINDOW = 128
"""The window in which a blob has the size that it is named by; in others it is as large a part of them."""


BACKGROUND_HU, CONTRAST_HU, NOISE_HU = -20.0, 120.0, 40.0


SMALLEST = 4
"""Voxels that a blob has along each axis at least."""


DRAWN = (0.0, -0.3, 0.3, -0.15, 0.15)
"""Which slices are drawn one after the other: their distance from the centre, in lengths of the blob along k."""


ERROR_VOXELS = 4
"""By how much a drawn slice is moved in a window of 48 voxels or more; half of that in smaller ones."""


@dataclass(frozen=True)
class Blob:
    """An ellipsoid in the middle of a cubic image of one window.

    Attributes:
        window: Voxels along each edge of the image.
        named_kji: Its size in a window of 128 voxels.
    """

    window: int
    named_kji: tuple[int, int, int] = (60, 64, 64)

    @property
    def size_kji(self) -> tuple[int, int, int]:
        """Its size in voxels."""
        k, j, i = (max(SMALLEST, round(n * self.window / WINDOW)) for n in self.named_kji)
        return k, j, i

    @property
    def mask(self) -> np.ndarray:
        """The blob, bool `[K, J, I]`."""
        return ellipsoid((self.window,) * 3, [self.window / 2] * 3, self.size_kji)

    @property
    def error_voxels(self) -> int:
        """By how much a drawn slice is moved."""
        return ERROR_VOXELS if self.window >= 48 else ERROR_VOXELS // 2

    def drawn(self, number: int) -> tuple[int, np.ndarray]:
        """A slice as somebody else would draw it: moved along the last axis, one way and the other in turn.

        Args:
            number: Of the edit, from 0.

        Returns:
            Its index along k, and its mask (bool `[J, I]`).
        """
        index = self.window // 2 + round(DRAWN[number] * self.size_kji[0])
        return index, np.roll(self.mask[index], self.error_voxels * (-1) ** number, axis=1)


def parsed_size(text: str) -> tuple[int, int, int]:
    """The size of a blob as it is named, such as 60x64x64.

    Raises:
        UserInputError: It is none, or does not fit into its window.
    """
    words = text.lower().split("x")
    if len(words) != 3 or not all(word.isdecimal() and SMALLEST <= int(word) <= 0.75 * WINDOW for word in words):
        raise UserInputError(
            f"The blob '{text}' is not three numbers from {SMALLEST} to {round(0.75 * WINDOW)} with x between them; "
            "write it as 60x64x64"
        )
    k, j, i = map(int, words)
    return k, j, i


def ellipsoid(
    shape: tuple[int, ...], centre: list[float] | np.ndarray, size: tuple[int, ...] | np.ndarray
) -> np.ndarray:
    """A filled ellipsoid, bool; its centre is counted from the corner of the first voxel."""
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    squares = [((x + 0.5 - c) / (s / 2)) ** 2 for x, c, s in zip(axes, centre, size, strict=True)]
    inside: np.ndarray = squares[0] + squares[1] + squares[2] <= 1
    return inside


def noisy(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A mask as an image: float32, its shape, in Hounsfield units."""
    noise = rng.standard_normal(mask.shape, np.float32)
    return (BACKGROUND_HU + CONTRAST_HU * mask + NOISE_HU * noise).astype(np.float32)
