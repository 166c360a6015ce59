"""The split of nnU-Net's PlainConvUNet and ResidualEncoderUNet: encoder and deep stages, then the last k stages."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import cast

import torch
from torch import nn

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import Box, Span, box_of, dilate, slices_of, whole
from context_propagation.core.network.direct_convolution import DirectConvolution
from context_propagation.core.network.freezable_norm import replace_norms, seen_statistics, use_statistics
from context_propagation.core.network.split_network import CachedFeatures, Slab


class DecoderTail(nn.Module):
    """The last k decoder stages and the segmentation head; shares its weights with the network it is cut from."""

    def __init__(self, decoder: nn.Module, level: int) -> None:
        super().__init__()
        shared: dict[int, object] = {id(p): p for p in decoder.parameters()}
        self.transpconvs = copy.deepcopy(cast(nn.ModuleList, decoder.transpconvs)[-level:], shared)
        self.stages = copy.deepcopy(cast(nn.ModuleList, decoder.stages)[-level:], shared)
        self.head = copy.deepcopy(cast(nn.ModuleList, decoder.seg_layers)[-1], shared)
        self.norms = replace_norms(self)
        for module in self.modules():
            if hasattr(module, "inplace"):
                setattr(module, "inplace", False)  # noqa: B010 - the cache must survive

    def forward(self, f: torch.Tensor, skips: tuple[torch.Tensor, ...]) -> torch.Tensor:
        with DirectConvolution():
            for upsample, stage, skip in zip(self.transpconvs, self.stages, skips, strict=True):
                f = stage(torch.cat((upsample(f), skip), 1))
            return cast(torch.Tensor, self.head(f))

    def use_statistics(self, statistics: tuple[tuple[torch.Tensor, torch.Tensor], ...] | None) -> None:
        """Normalise by these statistics, or by the input's own."""
        use_statistics(self.norms, statistics)

    def strides(self) -> list[tuple[int, ...]]:
        """Up-sampling factors (D, H, W) of each stage, coarse to fine."""
        return [tuple(cast(nn.ConvTranspose3d, t).stride) for t in self.transpconvs]

    def reaches(self) -> list[tuple[int, int, int]]:
        """How far (D, H, W) the convolutions of each stage see, coarse to fine."""
        result = []
        for stage in self.stages:
            convolutions = {id(m): m for m in stage.modules() if isinstance(m, nn.Conv3d)}.values()
            reach = [sum((m.kernel_size[axis] // 2) * m.dilation[axis] for m in convolutions) for axis in range(3)]
            result.append((reach[0], reach[1], reach[2]))
        return result


class UNetSplit:
    """A `SplitNetwork` over nnU-Net's `encoder` and `decoder` modules; the network itself is not changed.

    `TracedSplit` computes the same of these networks. This one loads without running the network, where tracing runs it
    several times, and on a CPU an evaluation takes a fraction of the time and memory, because it convolves one sample
    directly. `python benchmarks/split_cost.py` measures both.

    Args:
        network: PlainConvUNet or ResidualEncoderUNet without deep supervision, on its device, in evaluation mode.
    """

    def __init__(self, network: nn.Module) -> None:
        self.encoder = cast(nn.Module, network.encoder)
        self.decoder = cast(nn.Module, network.decoder)
        self._tails: dict[int, DecoderTail] = {}
        self._channels = list(cast(list[int], self.encoder.output_channels))
        self._strides = [tuple(s) for s in cast(list[list[int]], self.encoder.strides)]
        self._classes = int(cast(int, self.decoder.num_classes))

    @property
    def max_level(self) -> int:
        return len(cast(nn.ModuleList, self.decoder.stages))

    @property
    def total_stride(self) -> tuple[int, int, int]:
        """Factor (D, H, W) between the input and the deepest features; it divides every window."""
        d, h, w = (math.prod(s[axis] for s in self._strides) for axis in range(3))
        return d, h, w

    def f_channels(self, level: int) -> int:
        """See `SplitNetwork`."""
        return cast(nn.ConvTranspose3d, self.tail(level).transpconvs[0]).in_channels

    def tail(self, level: int) -> DecoderTail:
        """The last `level` stages.

        Raises:
            UserInputError: The decoder has fewer stages.
        """
        if not 1 <= level <= self.max_level:
            raise UserInputError(
                f"Decoder level {level} is beyond this network's decoder, which has {self.max_level} stages; "
                f"choose a level from 1 to {min(3, self.max_level)}"
            )
        if level not in self._tails:
            self._tails[level] = DecoderTail(self.decoder, level).eval().requires_grad_(False)
        return self._tails[level]

    @torch.no_grad()
    def encode(self, x: torch.Tensor, level: int) -> CachedFeatures:
        """See `SplitNetwork`. Raises `UserInputError` for a level beyond the decoder's stages."""
        tail = self.tail(level)
        with DirectConvolution():
            skips = self.encoder(x)
            f = skips[-1]
            deep = self.max_level - level
            for stage in range(deep):
                up = cast(nn.ModuleList, self.decoder.transpconvs)[stage](f)
                f = cast(nn.ModuleList, self.decoder.stages)[stage](torch.cat((up, skips[-(stage + 2)]), 1))
        used = tuple(skips[-(stage + 2)] for stage in range(deep, self.max_level))
        del skips
        tail.use_statistics(None)
        logits = tail(f, used)
        return CachedFeatures(level, f, used, seen_statistics(tail.norms), logits)

    def decode(self, features: CachedFeatures, f: torch.Tensor, frozen_statistics: bool = True) -> torch.Tensor:
        """See `SplitNetwork`."""
        tail = self.tail(features.level)
        tail.use_statistics(features.norm_statistics if frozen_statistics else None)
        return cast(torch.Tensor, tail(f, features.skips))

    def slab(self, features: CachedFeatures, output_box: Box) -> Slab:
        """See `SplitNetwork`: walks the receptive field back from the logits to f."""
        tail = self.tail(features.level)
        box = output_box
        for skip, reach, stride in reversed(list(zip(features.skips, tail.reaches(), tail.strides(), strict=True))):
            box = dilate(box, reach, whole(skip.shape[2:]))
            box = box_of([(start // s, -(-stop // s)) for (start, stop), s in zip(box, stride, strict=True)])
        f_box, skips = box, []
        for skip, stride in zip(features.skips, tail.strides(), strict=True):
            box = _scaled(box, stride)
            skips.append(_cut(skip, box))
        cut = replace(features, f=_cut(features.f, f_box), skips=tuple(skips), logits=_cut(features.logits, box))
        return Slab(cut, f_box, box)

    def affected_box(self, features: CachedFeatures, f_box: Box) -> Box:
        """See `SplitNetwork`: walks forward from f to the logits."""
        tail = self.tail(features.level)
        for skip, reach, stride in zip(features.skips, tail.reaches(), tail.strides(), strict=True):
            f_box = dilate(_scaled(f_box, stride), reach, whole(skip.shape[2:]))
        return f_box

    def cached_bytes(self, window_shape: tuple[int, int, int], level: int) -> int:
        """See `SplitNetwork`; exact for float32, norm statistics left out."""
        stage_bytes = self._stage_bytes(window_shape)
        voxels = math.prod(window_shape)
        return sum(stage_bytes[: level + 1]) + 4 * self._classes * voxels

    def peak_bytes(self, window_shape: tuple[int, int, int], level: int) -> int:
        """See `SplitNetwork`: all skips, and four times the largest feature map for the finest stage's working set."""
        stage_bytes = self._stage_bytes(window_shape)
        return sum(stage_bytes) + 4 * max(stage_bytes) + 4 * self._classes * math.prod(window_shape)

    def _stage_bytes(self, window_shape: tuple[int, int, int]) -> list[int]:
        """float32 bytes of each encoder stage's output, fine to coarse; the decoder's stages have the same sizes."""
        shape = list(window_shape)
        result = []
        for channels, stride in zip(self._channels, self._strides, strict=True):
            shape = [-(-n // s) for n, s in zip(shape, stride, strict=True)]
            result.append(4 * channels * math.prod(shape))
        return result


def _scaled(box: Box, stride: tuple[int, ...]) -> Box:
    spans: list[Span] = [(start * s, stop * s) for (start, stop), s in zip(box, stride, strict=True)]
    return box_of(spans)


def _cut(tensor: torch.Tensor, box: Box) -> torch.Tensor:
    return tensor[(slice(None), slice(None), *slices_of(box))]
