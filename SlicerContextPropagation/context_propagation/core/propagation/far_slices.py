"""Far slices: phi'(phi_fusion(f, f')), the second line of Eq. 4 (Fig. 3). Training and use share these functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.errors import Cancelled
from context_propagation.core.image.boxes import Box, bounding_box, slices_of
from context_propagation.core.propagation.drawn_slices import NetworkEdit
from context_propagation.core.propagation.feature_cache import FeatureCache
from context_propagation.core.propagation.fusion_inputs import EditContext, fusion_inputs
from context_propagation.core.propagation.fusion_network import Fusion
from context_propagation.core.propagation.updated_features import UpdatedFeatures


def decode_fused(
    cache: FeatureCache, window: int, fold: int, fused: torch.Tensor, box: Box | None = None
) -> torch.Tensor:
    """Decode a fused map over the whole window, norm statistics frozen; differentiable in `fused`.

    Args:
        cache: The image's features.
        window: The window's number.
        fold: The fold's number.
        fused: `[1, C', D', H', W']`.
        box: Image voxels (network axis order) inside the window's image box; by default all of that.

    Returns:
        Logits on image voxels, `[1, C, a, b, c]`, network axis order: see `SegmentationModel.target_logit` (for a
        loss) and `target_margin` (over the folds).
    """
    placed = cache.windows[window]
    logits = cache.model.splits[fold].decode(placed.features[fold], fused, frozen_statistics=True)
    origin = tuple(span[0] for span in placed.network_box)
    return cache.prepared.grid.to_image(logits, origin, placed.image_box if box is None else box)


@torch.no_grad()
def far_margins(
    cache: FeatureCache,
    fusion: Fusion,
    edit: NetworkEdit,
    updated: Sequence[UpdatedFeatures],
    spacing_mm: Sequence[float],
    progress: Progress,
    cancelled: CancelCheck,
) -> np.ndarray:
    """Decode the fused features of all windows, folds averaged.

    Args:
        cache: The image's features.
        fusion: The trained networks.
        edit: All drawn slices of the propagation.
        updated: f' where it differs from f.
        spacing_mm: The image's voxel size along the network's axes.
        progress: Called with "fuse" and the fraction done.
        cancelled: Asked before each window and fold.

    Returns:
        float16, the image's shape in the network's axes: see `SegmentationModel.target_margin`; a voxel has that of the
        window that owns it, NaN where none does.

    Raises:
        Cancelled: The user cancelled.
    """
    margins = np.full(cache.owner.shape, np.nan, np.float16)
    context = EditContext.of(cache, edit, spacing_mm)
    for number in range(len(cache.windows)):
        owned = bounding_box(cache.owner == number)
        if owned is None:
            continue
        fold_logits = []
        for fold, network in enumerate(fusion.networks):
            if cancelled():
                raise Cancelled
            progress("fuse", (number + fold / len(fusion.networks)) / len(cache.windows))
            fused = network(fusion_inputs(cache, number, fold, updated, context))
            fold_logits.append(decode_fused(cache, number, fold, fused, owned))
        decoded = cache.model.target_margin(fold_logits)[0].cpu().numpy()
        mine = cache.owner[slices_of(owned)] == number
        margins[slices_of(owned)][mine] = decoded[mine]
    progress("fuse", 1.0)
    return margins
