"""Far slices: phi'(phi_fusion(f, f')), the second line of Eq. 4 (Fig. 3). Training and use share these functions."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.errors import Cancelled
from context_propagation.core.image.boxes import Box
from context_propagation.core.propagation.drawn_slices import NetworkEdit
from context_propagation.core.propagation.far_box import far_box, grown_box
from context_propagation.core.propagation.feature_cache import FeatureCache
from context_propagation.core.propagation.fusion_inputs import EditContext, fusion_inputs
from context_propagation.core.propagation.fusion_network import Fusion
from context_propagation.core.propagation.margins import Margins
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
    origin = tuple(span[0] for span in placed.network_box)
    logits = fused_logits(cache, window, fold, fused)
    return cache.prepared.grid.to_image(logits, origin, placed.image_box if box is None else box)


def fused_logits(cache: FeatureCache, window: int, fold: int, fused: torch.Tensor) -> torch.Tensor:
    """The logits of a fused map over the whole window, on the network's grid."""
    features = cache.windows[window].features[fold]
    return cache.model.splits[fold].decode(features, fused, frozen_statistics=True)


@torch.no_grad()
def far_margins(
    cache: FeatureCache,
    fusion: Fusion,
    edit: NetworkEdit,
    updated: Sequence[UpdatedFeatures],
    spacing_mm: Sequence[float],
    progress: Progress,
    cancelled: CancelCheck,
) -> Margins | None:
    """Decode the fused features of all windows where an edit may flip labels, folds averaged: in
    `far_box`, grown for as long as labels flip at its border.

    Args:
        cache: The image's features.
        fusion: The trained networks.
        edit: All drawn slices of the propagation.
        updated: f' where it differs from f.
        spacing_mm: The image's voxel size along the network's axes.
        progress: Called with "fuse" and the fraction done.
        cancelled: Asked before each window and fold.

    Returns:
        In the network's axes; a voxel has the margin of the window that owns it. None where nothing is decoded.

    Raises:
        Cancelled: The user cancelled.
    """
    parts = []
    context = EditContext.of(cache, edit, spacing_mm)
    for number in range(len(cache.windows)):
        box = far_box(cache, number, edit, spacing_mm)
        if box is None:
            continue
        fold_logits = []
        for fold, network in enumerate(fusion.networks):
            if cancelled():
                raise Cancelled
            progress("fuse", (number + fold / len(fusion.networks)) / len(cache.windows))
            fused = network(fusion_inputs(cache, number, fold, updated, context))
            fold_logits.append(fused_logits(cache, number, fold, fused))
        margins = cache.owned_margins(number, box, fold_logits)
        while (larger := grown_box(cache, number, margins, spacing_mm)) != margins.box:
            margins = cache.owned_margins(number, larger, fold_logits)
        parts.append(margins)
    progress("fuse", 1.0)
    return Margins.together(parts)
