"""Bundles on disk, with seeded random fusion weights instead of a training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from context_propagation.core.bundle.bundle import fusion_of
from context_propagation.core.bundle.bundle_saving import save_bundle
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.propagation.fusion_network import FusionNetwork
from context_propagation.core.propagation.fusion_settings import FusionSettings, Variant
from context_propagation.core.propagation.trained_fusion import Fusion, build_fusion_network

PROVENANCE = {"cases": {"train": 60, "test": 20}, "seed": 0, "far DSC": {"fusion": 0.91, "control": 0.9}}


def random_network(settings: FusionSettings, seed: int) -> FusionNetwork:
    """A network whose every weight is drawn."""
    generator = torch.Generator().manual_seed(seed)
    network = build_fusion_network(settings)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return network.eval().requires_grad_(False)


def random_fusion(
    *,
    folds: int = 1,
    variant: Variant = "adaptive",
    channels: int = 8,
    width: float = 0.5,
    level: int = 2,
    neighbours: int = 1,
    far_thresholds: float = 0.0,
    seed: int = 0,
    hidden_truth: int = 0,
) -> Fusion:
    """One random network per fold; 8 channels fit level 1 and 2 of what `write_nnunet_folder` writes."""
    settings = FusionSettings(variant, channels, width, hidden_truth)
    networks = [random_network(settings, seed + number) for number in range(folds)]
    return fusion_of(networks, level, neighbours, FarThresholds(far_thresholds, far_thresholds))


def write_bundle(
    path: Path, base: Path, *, folds: Sequence[int | str] | None = None, label: str = "GTV", **options: Any
) -> Path:
    """Save a bundle on a base model; `options` go to `random_fusion`, but `copy_base` and `orientation`."""
    saving = {name: options.pop(name) for name in ("copy_base", "orientation") if name in options}
    fusion = random_fusion(folds=len(folds or [0]), **options)
    save_bundle(path, base, fusion, PROVENANCE, label=label, folds=folds, **saving)
    return path
