"""Far slices: phi'(phi_fusion(f, f')), the second line of Eq. 4 (Fig. 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.errors import Cancelled
from context_propagation.core.image.boxes import Box, inside_of, offset
from context_propagation.core.propagation.drawn_slices import NetworkEdit
from context_propagation.core.propagation.far_box import margins_where_labels_flip
from context_propagation.core.propagation.feature_cache import FeatureCache
from context_propagation.core.propagation.fusion_inputs import EditContext, FusionInputs, fusion_inputs
from context_propagation.core.propagation.fusion_network import FusionNetwork
from context_propagation.core.propagation.margins import Margins
from context_propagation.core.propagation.trained_fusion import Fusion
from context_propagation.core.propagation.updated_features import UpdatedFeatures


def decode_fused(
    cache: FeatureCache, number: int, fold: int, network: FusionNetwork, inputs: FusionInputs, box: Box
) -> tuple[torch.Tensor, tuple[int, ...]]:
    """Fuse, and decode, what a box of image voxels needs, norm statistics frozen; differentiable in the weights.

    Args:
        cache: The image's features.
        number: The window's number.
        fold: The fold's number.
        network: The fold's fusion network.
        inputs: Its inputs of one edit, on the whole window.
        box: Image voxels (network axis order) inside the window's image box.

    Returns:
        Logits `[1, C, d, h, w]`, and where they begin on the network's grid.
    """
    window = cache.windows[number]
    support = inside_of(cache.prepared.grid.support(box), window.network_box)
    local = cache.model.splits[fold].local(window.features[fold], support)
    logits = local.run(network.on_box(inputs, local.f_box, window.of_f(network, fold)))
    return logits, tuple(span[0] for span in offset(local.output_box, window.network_box))


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
    """Decode the fused features of all windows where an edit may flip labels, folds averaged.

    See `margins_where_labels_flip`.

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
    context = EditContext.of(cache, edit, spacing_mm)

    def decode(number: int, box: Box) -> Margins:
        decoded = []
        for fold, network in enumerate(fusion.networks):
            if cancelled():
                raise Cancelled
            progress("fuse", (number + fold / len(fusion.networks)) / len(cache.windows))
            inputs = fusion_inputs(cache, number, fold, updated, context)
            decoded.append(decode_fused(cache, number, fold, network, inputs, box))
        return cache.owned_margins(number, box, [logits for logits, _ in decoded], decoded[0][1])

    margins = margins_where_labels_flip(cache, edit, spacing_mm, decode)
    progress("fuse", 1.0)
    return margins
