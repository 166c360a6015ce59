"""Far slices without a network trained for the model: the decode of f', corrected by what the edit shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.errors import Cancelled
from context_propagation.core.image.boxes import Box, dilate, inside_of, slices_of
from context_propagation.core.image.slices import WHOLE_VOLUME_GENERAL
from context_propagation.core.propagation.drawn_slices import NetworkEdit
from context_propagation.core.propagation.far_box import margins_where_labels_flip
from context_propagation.core.propagation.far_evidence import EvidenceContext, far_evidence, updated_logits
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.propagation.feature_cache import FeatureCache
from context_propagation.core.propagation.general_network import REACH, GeneralFarNetwork
from context_propagation.core.propagation.margins import Margins
from context_propagation.core.propagation.trained_fusion import Fusion
from context_propagation.core.propagation.updated_features import UpdatedFeatures

FADING_SLICES = 3
"""Of its far thresholds: fewer than a fusion network's, as it knows less of what is further away."""


@dataclass(frozen=True)
class GeneralFar:
    """A trained general far network.

    Attributes:
        network: In evaluation mode.
        far_thresholds: How sure it must be before a far voxel changes its label.
        content_hash: SHA-256 of weights and thresholds.
    """

    network: GeneralFarNetwork
    far_thresholds: FarThresholds
    content_hash: str

    reach = WHOLE_VOLUME_GENERAL

    @property
    def networks(self) -> tuple[GeneralFarNetwork, ...]:
        """The one that there is, whatever the model's folds."""
        return (self.network,)

    def seen(
        self, edit: NetworkEdit, updated: Sequence[UpdatedFeatures]
    ) -> tuple[NetworkEdit, Sequence[UpdatedFeatures]]:
        """What of an edit it is shown: all."""
        return edit, updated


FarNetworks = Fusion | GeneralFar
"""What decides far slices: networks trained for the model, or the one for any model."""


@torch.no_grad()
def general_margins(
    cache: FeatureCache,
    general: GeneralFar,
    edit: NetworkEdit,
    updated: Sequence[UpdatedFeatures],
    spacing_mm: Sequence[float],
    progress: Progress,
    cancelled: CancelCheck,
) -> Margins | None:
    """The corrected margins of all windows where an edit may flip labels; as `far_margins` of a fusion network.

    Args:
        cache: The image's features.
        general: The trained network.
        edit: All drawn slices of the propagation.
        updated: f' where it differs from f.
        spacing_mm: The image's voxel size along the network's axes.
        progress: Called with "fuse" and the fraction done.
        cancelled: Asked before each window.

    Returns:
        In the network's axes; a voxel has the margin of the window that owns it. None where nothing is to be said.

    Raises:
        Cancelled: The user cancelled.
    """
    edit, updated = general.seen(edit, updated)
    context = EvidenceContext.of(cache, edit, spacing_mm)
    if context is None:
        return None
    network = general.network.to(cache.model.device)
    logits: dict[int, list[torch.Tensor]] = {}

    def decode(number: int, box: Box) -> Margins:
        if cancelled():
            raise Cancelled
        progress("fuse", number / len(cache.windows))
        if number not in logits:
            logits.clear()
            logits[number] = updated_logits(cache, number, updated)
        return _corrected(cache, number, network, edit, logits[number], context, spacing_mm, box)

    margins = margins_where_labels_flip(cache, edit, spacing_mm, decode)
    progress("fuse", 1.0)
    return margins


def _corrected(
    cache: FeatureCache,
    number: int,
    network: GeneralFarNetwork,
    edit: NetworkEdit,
    logits: Sequence[torch.Tensor],
    context: EvidenceContext,
    spacing_mm: Sequence[float],
    box: Box,
) -> Margins:
    """The margins in a box of a window, where it owns the voxels: those of f', corrected."""
    window = cache.windows[number]
    outer = dilate(box, (REACH,) * 3, window.image_box)
    evidence = far_evidence(cache, number, edit, logits, context, spacing_mm, outer)
    maps = evidence.maps.movedim(edit.axis + 1, 1)
    correction = network(maps[None], evidence.numbers[None])[0].movedim(0, edit.axis)
    place = slices_of(inside_of(box, outer))
    logit, correction = evidence.updated_logit[place], correction[place]
    moved = torch.tanh((logit + correction) / 2) - torch.tanh(logit / 2)
    of_update = cache.owned_margins(number, box, logits, tuple(span[0] for span in window.network_box))
    values = np.clip(of_update.values.astype(np.float32) + moved.cpu().numpy(), -1, 1)
    return Margins(box, values.astype(np.float16))
