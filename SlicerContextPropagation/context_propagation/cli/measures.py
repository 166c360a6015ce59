"""Accuracy measures, computed by MONAI (Eq. 8-9 of the paper)."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch

from context_propagation.core.optional_dependency import require


@dataclass(frozen=True)
class Measures:
    """Of a prediction against the ground truth.

    Attributes:
        dsc: Dice similarity coefficient (Eq. 8); 1 where both are empty.
        hd95_mm: 95th percentile of the Hausdorff distance (Eq. 9); 0 where both are empty, infinite where one is.
    """

    dsc: float
    hd95_mm: float


def measure(predicted: np.ndarray, truth: np.ndarray, spacing_kji_mm: tuple[float, float, float]) -> Measures:
    """Compare two masks, bool `[K, J, I]`.

    Raises:
        MissingDependencyError: MONAI is not installed.
    """
    metrics = require("monai.metrics", extra="evaluation")
    if not predicted.any() and not truth.any():
        return Measures(1.0, 0.0)
    p, y = (torch.as_tensor(mask)[None, None].float() for mask in (predicted, truth))
    dsc = float(metrics.compute_dice(p, y, ignore_empty=False))
    if not predicted.any() or not truth.any():
        return Measures(dsc, math.inf)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI calls a deprecated option of its own
        hd95 = metrics.compute_hausdorff_distance(p, y, include_background=True, percentile=95, spacing=spacing_kji_mm)
    return Measures(dsc, float(hd95))


def near_slices(mask: np.ndarray, axis: int, index: int, neighbours: int) -> np.ndarray:
    """The slices s - n ... s + n of a mask."""
    slices = range(max(0, index - neighbours), min(mask.shape[axis], index + neighbours + 1))
    return mask.take(slices, axis)
