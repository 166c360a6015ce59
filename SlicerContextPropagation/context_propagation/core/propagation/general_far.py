"""Far slices without a network trained for the model: the decode of f', corrected by what the edit shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from context_propagation.core.callbacks import CancelCheck, Progress
from context_propagation.core.errors import Cancelled
from context_propagation.core.image.boxes import Box, box_shape, dilate, inside_of, pieces_of, slices_of
from context_propagation.core.image.slices import WHOLE_VOLUME, WHOLE_VOLUME_GENERAL
from context_propagation.core.propagation.drawn_slices import NetworkEdit
from context_propagation.core.propagation.far_box import margins_where_labels_flip
from context_propagation.core.propagation.far_evidence import EvidenceContext, UpdatedLogits, far_evidence
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.propagation.feature_cache import FeatureCache
from context_propagation.core.propagation.general_network import REACH, GeneralFarNetwork
from context_propagation.core.propagation.margins import Margins
from context_propagation.core.propagation.trained_fusion import Fusion
from context_propagation.core.propagation.updated_features import UpdatedFeatures

FADING_SLICES = 3
"""Of its far thresholds: fewer than a fusion network's, as it knows less of what is further away."""


PIECE_VOXELS = 2**18
"""Image voxels that are corrected at a time: the evidence takes some hundred bytes for each."""


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


@dataclass(frozen=True)
class TunedGeneral(GeneralFar):
    """A general far network that was trained further, on labelled cases of one model.

    Attributes:
        level: The decoder level whose f it read.
        neighbours: N(s) in training was s and so many image slices on each side.
    """

    level: int
    neighbours: int

    reach = WHOLE_VOLUME


TrainedFar = Fusion | TunedGeneral
"""What was trained for a model."""


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
        cancelled: Asked before each piece of a window.

    Returns:
        In the network's axes; a voxel has the margin of the window that owns it. None where nothing is to be said.

    Raises:
        Cancelled: The user cancelled.
    """
    edit, updated = general.seen(edit, updated)
    if not edit.drawn.take(edit.indices, edit.axis).any():
        return None  # erased slices do not say what the target looks like elsewhere
    context = EvidenceContext.of(cache, edit, spacing_mm)
    if context is None:
        return None
    network = general.network.to(cache.model.device)
    logits: dict[int, UpdatedLogits] = {}

    def decode(number: int, box: Box) -> Margins:
        if number not in logits:
            logits.clear()
            logits[number] = UpdatedLogits.of(cache, number, updated)
        values, pieces = np.empty(box_shape(box), np.float16), pieces_of(box, PIECE_VOXELS)
        for done, piece in enumerate(pieces):
            if cancelled():
                raise Cancelled
            progress("fuse", (number + done / len(pieces)) / len(cache.windows))
            place = slices_of(inside_of(piece, box))
            values[place] = _corrected(network, edit, logits[number], context, spacing_mm, piece)
        return Margins(box, values)

    margins = margins_where_labels_flip(cache, edit, spacing_mm, decode)
    progress("fuse", 1.0)
    return margins


def _corrected(
    network: GeneralFarNetwork,
    edit: NetworkEdit,
    updated: UpdatedLogits,
    context: EvidenceContext,
    spacing_mm: Sequence[float],
    box: Box,
) -> np.ndarray:
    """The margins in a box of a window, NaN where another one owns the voxel: those of f', corrected."""
    outer = dilate(box, (REACH,) * 3, updated.cache.windows[updated.number].image_box)
    evidence = far_evidence(edit, updated, context, spacing_mm, outer)
    maps = evidence.maps.movedim(edit.axis + 1, 1)
    correction = network(maps[None], evidence.numbers[None])[0].movedim(0, edit.axis)
    place = slices_of(inside_of(box, outer))
    logit, correction = evidence.updated_logit[place], correction[place]
    moved = torch.tanh((logit + correction) / 2) - torch.tanh(logit / 2)
    of_update = updated.cache.owned_margins(updated.number, box, *updated.for_box(box))
    values: np.ndarray = np.clip(of_update.values.astype(np.float32) + moved.cpu().numpy(), -1, 1).astype(np.float16)
    return values
