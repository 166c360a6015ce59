"""The seam: a frozen network cut in two, an encoder that runs once and a decoder that follows each edit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from context_propagation.core.image.boxes import Box, whole


@dataclass(frozen=True)
class CachedFeatures:
    """What one encoder pass leaves behind (paper II-A).

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


@dataclass(frozen=True)
class LocalDecode:
    """From a box of f to a box of logits: what an edit computes at every evaluation.

    Attributes:
        f_box: The box of f that is read.
        output_box: The box of logits that comes out; it holds the one that was asked for.
        run: From `[1, C', *f_box]` to logits `[1, C, *output_box]`; differentiable.
    """

    f_box: Box
    output_box: Box
    run: Callable[[torch.Tensor], torch.Tensor]


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

    def local(self, features: CachedFeatures, output_box: Box) -> LocalDecode:
        """The decode of a box of logits alone, norm statistics frozen."""

    def slab(self, features: CachedFeatures, output_box: Box) -> Slab:
        """The cut in which logits inside `output_box` are exact, norm statistics frozen."""

    def affected_box(self, features: CachedFeatures, f_box: Box) -> Box:
        """The box of logits that a change of `f` inside `f_box` can reach, norm statistics frozen."""

    def cached_bytes(self, window_shape: tuple[int, int, int], level: int) -> int:
        """Bytes that `encode` leaves in memory."""

    def peak_bytes(self, window_shape: tuple[int, int, int], level: int) -> int:
        """Bytes that `encode` needs at its peak, an estimate."""


def whole_decode(split: SplitNetwork, features: CachedFeatures, frozen_statistics: bool) -> LocalDecode:
    """The decode of all logits from all of f."""
    f_box, output_box = (whole(tuple(tensor.shape[2:])) for tensor in (features.f, features.logits))
    return LocalDecode(f_box, output_box, lambda f: split.decode(features, f, frozen_statistics))
