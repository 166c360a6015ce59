"""The benchmark's variants of a data set: images unlike those trained on, and observers of different style."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
import torch

from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require

Variant = Literal["clean", "shifted", "observer style"]


Style = Literal["tight", "expert", "generous"]


STYLES: tuple[Style, ...] = ("tight", "expert", "generous")


def case_seed(name: str) -> int:
    """The case's number, the last digits of its name: what both variants are seeded by.

    Raises:
        UserInputError: The name has no digits.
    """
    digits = re.findall(r"\d+", name)
    if not digits:
        raise UserInputError(f"The case '{name}' has no number to seed its variant by; rename it, e.g. '{name}_001'")
    return int(digits[-1])


def shifted_image(image: np.ndarray, name: str) -> np.ndarray:
    """Bias field, gamma, blur and noise on the z-scored image, z-scored again.

    Args:
        image: float `[K, J, I]`.
        name: The case; it seeds the transforms.

    Returns:
        float32 `[K, J, I]`.
    """
    torchio = require("torchio", extra="evaluation")
    transform = torchio.Compose(
        [
            torchio.RandomBiasField(coefficients=0.5),
            torchio.RandomGamma(log_gamma=(-0.5, 0.5)),
            torchio.RandomBlur(std=(0.5, 1.3)),
            torchio.RandomNoise(std=(0.1, 0.5)),
        ]
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(case_seed(name))
        shifted = transform(torch.as_tensor(_z_scored(image))[None]).numpy()[0]
    return _z_scored(shifted)


def style_of(name: str) -> Style:
    """The style in which a case's observer draws, at random; the image cannot tell which."""
    return STYLES[int(np.random.default_rng(case_seed(name)).integers(len(STYLES)))]


def drawn_in_style(truth: np.ndarray, style: Style) -> np.ndarray:
    """The ground truth as one observer draws it: eroded once, as it is, or dilated once (3D, 6 neighbours).

    Args:
        truth: bool `[K, J, I]`.
        style: The observer's.
    """
    morphology = require("scipy.ndimage", extra="evaluation")
    if style == "expert":
        return truth.copy()
    return np.asarray((morphology.binary_erosion if style == "tight" else morphology.binary_dilation)(truth))


def _z_scored(image: np.ndarray) -> np.ndarray:
    image = image.astype(np.float32)
    return np.asarray((image - image.mean()) / max(float(image.std()), 1e-8), np.float32)
