"""The seam of the engine: a frozen 3D segmentation network cut at a decoder level.

Network-grid arrays are `[1, C, D, H, W]` tensors; a box is three `(start, stop)` pairs along D, H, W.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import torch

from context_propagation.core.boxes import Box
from context_propagation.core.callbacks import CancelCheck, Progress, never_cancelled, no_progress
from context_propagation.core.grid import GridMap
from context_propagation.core.intensity_check import ChannelExpectation
from context_propagation.core.source_volume import SourceVolume
from context_propagation.core.target import Target

Loss = Literal["dice and cross-entropy", "dice"]
"""A base model's own loss (method 2): Eq. 7 for nnU-Net, Eq. 5 for PSNN."""


@dataclass(frozen=True)
class CachedFeatures:
    """What one encoder pass leaves behind (method 1, paper II-A).

    Attributes:
        level: Decoder level k: `f` enters the last k decoder stages.
        f: `[1, C', D', H', W']`, the feature map that edits update.
        skips: What else the last k stages read, `[1, C, D, H, W]` each; coarse to fine in nnU-Net's networks; constant.
        norm_statistics: Mean and variance `[1, C, 1, 1, 1]` of each norm with input statistics in the last k stages, in
            this pass.
        logits: `[1, C, D, H, W]`, the decode of the untouched `f`.
    """

    level: int
    f: torch.Tensor
    skips: tuple[torch.Tensor, ...]
    norm_statistics: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    logits: torch.Tensor


@dataclass(frozen=True)
class Slab:
    """Cached features cut down to what a box of logits depends on.

    Attributes:
        features: The cut features; their `f` is `cached.f` within `f_box`, their logits are the cut logits.
        f_box: Where the cut lies in the cached `f`.
        output_box: Where its logits lie in the cached logits.
    """

    features: CachedFeatures
    f_box: Box
    output_box: Box


class SplitNetwork(Protocol):
    """A frozen network in two parts: `encode` runs once, `decode` at every evaluation."""

    @property
    def max_level(self) -> int:
        """The deepest decoder level."""

    @property
    def total_stride(self) -> tuple[int, int, int]:
        """Factor (D, H, W) between the input and the deepest features; it divides every window."""

    def f_channels(self, level: int) -> int:
        """C', the channels of f at a decoder level."""

    def encode(self, x: torch.Tensor, level: int) -> CachedFeatures:
        """Run the network up to decoder level `level` on `x` `[1, C, D, H, W]`, and cache.

        The `logits` of what it returns are the plain network's.
        """

    def decode(self, features: CachedFeatures, f: torch.Tensor, frozen_statistics: bool) -> torch.Tensor:
        """Logits `[1, C, D, H, W]` from `f` in place of `features.f`; differentiable in `f`."""

    def slab(self, features: CachedFeatures, output_box: Box) -> Slab:
        """The cut in which logits inside `output_box` are exact, norm statistics frozen."""

    def affected_box(self, features: CachedFeatures, f_box: Box) -> Box:
        """The box of logits that a change of `f` inside `f_box` can reach, norm statistics frozen."""

    def cached_bytes(self, window_shape: tuple[int, int, int], level: int) -> int:
        """Bytes that `encode` leaves in memory."""

    def peak_bytes(self, window_shape: tuple[int, int, int], level: int) -> int:
        """Bytes that `encode` needs at its peak, an estimate."""


@dataclass(frozen=True)
class PreparedImage:
    """An image as the network sees it.

    Attributes:
        network_input: float32 `[C, D, H, W]`, preprocessed, on the CPU.
        grid: The map between image voxels and the network's grid.
        properties: What the model's own postprocessing needs.
    """

    network_input: torch.Tensor
    grid: GridMap
    properties: dict[str, Any]


class SegmentationModel(Protocol):
    """A frozen segmentation model with its own pre- and postprocessing; nothing else knows more of it.

    Attributes:
        splits: One split network per fold.
        folds: Their names: "0", "1", ... or "all".
        patch_size: (D, H, W) that the network was trained on.
        total_stride: (D, H, W) that divides every window.
        content_hash: SHA-256 of what decides predictions.
        target: The label that is refined.
        target_name: Its name.
        orientation: Letters that i, j, k are reoriented to before the network sees the image, or None.
        channels: Number of image channels.
        channel_names: Their names.
        channel_expectations: What each channel should hold, as far as it is known.
        loss: The loss that the network was trained with (method 2); updates and fusion networks are trained with it.
        device: Where it computes.
    """

    splits: tuple[SplitNetwork, ...]
    folds: tuple[str, ...]
    patch_size: tuple[int, int, int]
    total_stride: tuple[int, int, int]
    content_hash: str
    target: Target
    target_name: str
    orientation: str | None
    channels: int
    channel_names: Sequence[str]
    channel_expectations: Sequence[ChannelExpectation]
    loss: Loss
    device: torch.device

    def prepare(self, volume: SourceVolume) -> PreparedImage:
        """Preprocess an image."""

    def predict(
        self,
        prepared: PreparedImage,
        progress: Progress = no_progress,
        cancelled: CancelCheck = never_cancelled,
    ) -> np.ndarray:
        """The initial prediction: bool `[K, J, I]`, the target."""

    def prediction_bytes(self, grid: GridMap) -> int:
        """Bytes of main memory that `predict` needs at its peak beside the network itself, an estimate."""

    def target_logit(self, logits: torch.Tensor) -> torch.Tensor:
        """`[N, C, ...]` to `[N, ...]`: above 0 where the target is more likely than all else together (method 11)."""

    def target_margin(self, fold_logits: list[torch.Tensor]) -> torch.Tensor:
        """`[N, ...]`, -1 to 1, from the mean of the folds' probabilities: above 0 exactly where it `is_target`.

        The target's probability less the largest other one; for a region 2 p - 1.
        """

    def is_target(self, fold_logits: list[torch.Tensor]) -> torch.Tensor:
        """Bool `[N, ...]`: the target label after averaging the folds' probabilities."""
