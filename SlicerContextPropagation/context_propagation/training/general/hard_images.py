"""Images unlike those that a base model was trained on, by generators of our own and nnU-Net's."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from context_propagation.training.intensity_augmentation import augmented

GAIN = 0.6
"""Of the smooth change of brightness over the image, in standard deviations of the image, at most."""


GAIN_NODES = 3


def hard_image(channels: np.ndarray, hardness: int, seed: int) -> np.ndarray:
    """An image as it is (0), with nnU-Net's augmentation (1), or with it twice and a smooth change of brightness (2).

    Args:
        channels: float `[C, K, J, I]`.
        hardness: 0, 1 or 2.
        seed: Of all that is drawn.

    Returns:
        float32 `[C, K, J, I]`.
    """
    if hardness == 0:
        return channels.astype(np.float32)
    once = augmented(channels, seed)
    if hardness == 1:
        return once
    twice = augmented(once, seed + 1)
    generator = np.random.default_rng(seed)
    deviation = twice.std((1, 2, 3), keepdims=True)
    gain = np.stack([_smooth(generator, twice.shape[1:]) for _ in twice])
    return np.asarray(twice + generator.uniform(0, GAIN) * gain * deviation, np.float32)


def _smooth(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """A smooth field within +-1 or little more."""
    nodes = sitk.GetImageFromArray(generator.uniform(-1, 1, (GAIN_NODES,) * 3).astype(np.float32))
    size = [int(n) for n in shape[::-1]]
    scale = [(GAIN_NODES - 1) / max(n - 1, 1) for n in size]
    field = sitk.Resample(nodes, size, sitk.AffineTransform(3), sitk.sitkBSpline, (0.0, 0.0, 0.0), scale)
    return np.asarray(sitk.GetArrayFromImage(field))
