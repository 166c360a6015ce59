"""The files that the timed processes read: a trained-model folder, fusion networks, images and drawings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from context_propagation.benchmark.blob import Blob, noisy
from context_propagation.benchmark.networks import Kind, architecture, write_folder
from context_propagation.benchmark.request import BenchmarkRequest
from context_propagation.benchmark.target_training import trained_network
from context_propagation.core.bundle.bundle_file import write_network
from context_propagation.core.propagation.fusion_settings import FusionSettings
from context_propagation.core.propagation.trained_fusion import build_fusion_network

SEED = 0


FUSION_WIDTH, MOST_HIDDEN = 2.0, 128
"""Hidden channels as a multiple of f's, and the most of them."""


FEATURES = 0.1
"""Size of the features that the fusion network makes: its weights are random, and far voxels must flip."""


@dataclass(frozen=True)
class MeasuredModel:
    """A network in a window.

    Attributes:
        kind: Which one.
        window: Edge of the window.
        network: The network itself, on the CPU.
        folder: Its trained-model folder.
        fusion: For each decoder level the fusion network: its file, and its settings.
    """

    kind: Kind
    window: int
    network: nn.Module
    folder: Path
    fusion: dict[int, dict[str, Any]]


def write_model(kind: Kind, window: int, request: BenchmarkRequest, folder: Path) -> MeasuredModel:
    """Train the network, or take what was trained before, and write its files into a new folder."""
    network = trained_network(kind, window, request.first_channels, request.steps, SEED, request.cache)
    plan = architecture(kind, window, request.first_channels)
    write_folder(folder, plan, window, network.state_dict())
    channels = plan["arch_kwargs"]["features_per_stage"]
    fusion = {level: _write_fusion(folder / f"fusion{level}.safetensors", channels[level]) for level in request.levels}
    return MeasuredModel(kind, window, network, folder, fusion)


def fusion_settings(channels: int) -> FusionSettings:
    """What `train-fusion` makes by default for f with so many channels."""
    return FusionSettings("adaptive", channels, min(FUSION_WIDTH, MOST_HIDDEN / channels))


def _write_fusion(file: Path, channels: int) -> dict[str, Any]:
    """A fusion network with seeded weights."""
    settings = fusion_settings(channels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = build_fusion_network(settings)
        nn.init.constant_(network.get_submodule("output_norm").get_parameter("weight"), FEATURES)
    write_network(file, network)
    made = {"variant": settings.variant, "channels": channels, "width": settings.width}  # all that older versions know
    return {"file": str(file), "settings": made}


def write_case(file: Path, blob: Blob, images: int, edits: int, deeper: bool = False) -> None:
    """Images of one blob, each with its own noise, the blob itself, and drawn slices of it.

    Args:
        file: Ends in .npz.
        blob: Which one.
        images: How many.
        edits: How many slices are drawn.
        deeper: The image has twice as many slices, half as many again on either side.
    """
    around = [(blob.window // 2,) * 2 if deeper else (0, 0), (0, 0), (0, 0)]
    mask = np.pad(blob.mask, around)
    drawn = [blob.drawn(number) for number in range(edits)]
    np.savez(
        file,
        images=np.stack([noisy(mask, np.random.default_rng(SEED + seed))[None] for seed in range(images)]),
        mask=mask,
        indices=np.array([index + around[0][0] for index, _ in drawn]),
        drawn=np.stack([slice_mask for _, slice_mask in drawn]),
    )
