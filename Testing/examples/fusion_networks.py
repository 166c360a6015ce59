"""Fusion networks with seeded random weights instead of a training."""

from __future__ import annotations

import torch

from context_propagation.core.model.nnunet_model import NnunetModel
from context_propagation.core.propagation.fusion_network import (
    FarThresholds,
    Fusion,
    FusionNetwork,
    FusionSettings,
    build_fusion_network,
)


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
        strength: Of the correction's weights; 0 gives the identity, fused = f.
        seed: Of the weights of the first fold.
    """
    networks = tuple(_random_network(channels, strength, seed + fold) for fold in range(len(model.splits)))
    return Fusion(networks, level, 2, FarThresholds(far_thresholds, far_thresholds), f"{seed:064x}")


def _random_network(channels: int, strength: float, seed: int) -> FusionNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_fusion_network(FusionSettings("residual", channels, 1.0))
        torch.nn.init.normal_(network.correction.weight, std=strength)
        if not strength:
            torch.nn.init.zeros_(network.correction.weight)
    return network
