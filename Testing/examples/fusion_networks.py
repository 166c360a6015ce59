"""Fusion networks with seeded random weights instead of a training."""

from __future__ import annotations

import torch

from context_propagation.core.image.boxes import Box, slices_of
from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.edit_fusion import AdaptiveFusion
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.propagation.fusion_inputs import FusionInputs
from context_propagation.core.propagation.fusion_settings import FusionSettings
from context_propagation.core.propagation.trained_fusion import Fusion


def random_fusion(
    model: NnunetModel,
    *,
    channels: int = 8,
    level: int = 2,
    far_thresholds: float = 0.0,
    strength: float = 3.0,
    seed: int = 0,
) -> Fusion:
    """One network per fold, every one with other weights.

    Args:
        model: The base model.
        channels: C' of its f at this level.
        level: Decoder level.
        far_thresholds: See `Fusion`.
        strength: How far the fused features are from f; 0 gives the identity, fused = f.
        seed: Of the weights of the first fold.
    """
    networks = tuple(_random_network(channels, strength, seed + fold) for fold in range(len(model.splits)))
    return Fusion(networks, level, 2, FarThresholds(far_thresholds, far_thresholds), f"{seed:064x}")


class Moved(AdaptiveFusion):
    """f, moved by what an adaptive network of random weights makes."""

    strength = 1.0

    def on_box(self, inputs: FusionInputs, box: Box, of_f: torch.Tensor | None = None) -> torch.Tensor:
        return inputs.f_of_each[(..., *slices_of(box))] + self.strength * super().on_box(inputs, box, of_f)


def _random_network(channels: int, strength: float, seed: int) -> Moved:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Moved(FusionSettings("adaptive", channels, 1.0))
    network.strength = strength
    return network
