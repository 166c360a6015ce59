"""Intensity augmentation of images that the fusion network learns from: the transforms of nnU-Net's own training."""

from __future__ import annotations

import numpy as np
import torch

from context_propagation.core.optional_dependency import require


def augmented(channels: np.ndarray, seed: int) -> np.ndarray:
    """Noise, blur, brightness, contrast and gamma, as strong as in nnU-Net's training and more often.

    They act on z-scored channels, as in that training; mean and standard deviation are put back, so that a
    normalisation that reads absolute values (CT) still fits.

    Args:
        channels: float `[C, K, J, I]`.
        seed: Of the transforms.

    Returns:
        float32 `[C, K, J, I]`.
    """
    axes = (1, 2, 3)
    mean, deviation = channels.mean(axes, keepdims=True), np.maximum(channels.std(axes, keepdims=True), 1e-8)
    image = torch.as_tensor((channels - mean) / deviation, dtype=torch.float32)
    state = np.random.get_state()  # noqa: NPY002  the transforms draw from numpy's global generator and torch's
    try:
        with torch.random.fork_rng(devices=[]):
            np.random.seed(seed % 2**32)  # noqa: NPY002
            torch.manual_seed(seed)
            transformed = _transforms()(image=image)["image"].numpy()
    finally:
        np.random.set_state(state)  # noqa: NPY002
    return np.asarray(transformed * deviation + mean, np.float32)


def _transforms() -> object:
    intensity, utils = "batchgeneratorsv2.transforms.intensity", "batchgeneratorsv2.transforms.utils"
    brightness, contrast, gamma, noise = (
        require(f"{intensity}.{name}", extra="nnunet") for name in ("brightness", "contrast", "gamma", "gaussian_noise")
    )
    blur = require("batchgeneratorsv2.transforms.noise.gaussian_blur", extra="nnunet")
    sometimes = require(f"{utils}.random", extra="nnunet").RandomTransform
    ranged = contrast.BGContrast
    every = {"synchronize_channels": False, "p_per_channel": 1}
    # fmt: off
    return require(f"{utils}.compose", extra="nnunet").ComposeTransforms([
        sometimes(noise.GaussianNoiseTransform(noise_variance=(0, 0.1), **every), 0.5),
        sometimes(blur.GaussianBlurTransform(blur_sigma=(0.5, 1), synchronize_axes=False, **every), 0.5),
        sometimes(brightness.MultiplicativeBrightnessTransform(multiplier_range=ranged((0.75, 1.25)), **every), 0.3),
        sometimes(contrast.ContrastTransform(contrast_range=ranged((0.75, 1.25)), preserve_range=True, **every), 0.3),
        sometimes(gamma.GammaTransform(gamma=ranged((0.7, 1.5)), p_invert_image=0, p_retain_stats=1, **every), 0.6),
    ])
