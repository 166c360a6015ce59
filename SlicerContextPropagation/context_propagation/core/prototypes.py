"""What the drawn slices look like in f: one feature vector of the drawn target, one of the rest (method 10)."""

from __future__ import annotations

import torch

from context_propagation.core.edit_map import edit_map
from context_propagation.core.feature_cache import FeatureCache
from context_propagation.core.slice_update import NetworkEdit

SMALLEST_DRAWING = 0.05
"""Cells of f that a drawn target must fill for anything to be compared with it."""


def prototypes(cache: FeatureCache, fold: int, edit: NetworkEdit) -> torch.Tensor:
    """Means of the untouched features over the drawn target, and over the rest of the drawn slices, of all windows.

    Args:
        cache: The image's features.
        fold: The fold's number.
        edit: The drawn slices.

    Returns:
        `[1, 2, C']` on the device of f; zeros where too little target is drawn to compare anything with.

    Source: Wang et al., PANet, ICCV 2019.
    """
    total, weight = torch.zeros(()), torch.zeros(())
    for window in cache.windows:
        f = window.features[fold].f
        grid, box = cache.prepared.grid, window.network_box
        target, edited = edit_map(grid, box, f.shape[2:], edit.drawn, edit.axis, edit.indices)[0].to(f)
        parts = torch.stack((target, edited - target))
        total = total.to(f) + torch.einsum("pdhw,cdhw->pc", parts, f[0])
        weight = weight.to(f) + parts.sum((1, 2, 3))
    means = total / (weight[:, None] + 1e-3)
    return (means * (weight[0] > SMALLEST_DRAWING))[None]
