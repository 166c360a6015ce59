"""The split of a PSNN and of its chain.

The decoder of a PSNN has no weights, so a cut in it would leave class logits to move, which is label editing. f at
level k is therefore the feature map, *before* its collapse, of the k-th last stage that enters the sum. What else the
sum reads is cached: the deeper levels' sum, already up-sampled to f's size, and the shallower stages' collapsed logits.

From f to the logits there is one 1 x 1 x 1 convolution, k - 1 trilinear up-samplings and additions: no norm, so a cut
piece is exact without frozen statistics, and an edit reaches only as far as the interpolation does.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import Box, box_of, dilate, intersection, slices_of, whole
from context_propagation.core.network.direct_convolution import DirectConvolution
from context_propagation.core.network.psnn import Factors, Psnn, PsnnChain, PsnnSettings, upsampled
from context_propagation.core.network.split_network import CachedFeatures, LocalDecode, Slab


class PsnnSplit:
    """A `SplitNetwork` over a PSNN; the network itself is not changed.

    The skips are the deeper levels' sum at f's size (zeros at the deepest stage), then the collapsed logits of the
    shallower stages, coarse to fine: `level` tensors of as many channels as classes.

    Args:
        network: On its device, in evaluation mode.
    """

    def __init__(self, network: Psnn) -> None:
        self.network = network
        self.settings: PsnnSettings = network.settings

    @property
    def max_level(self) -> int:
        return len(self.settings.channels)

    @property
    def total_stride(self) -> Factors:
        """Factor (D, H, W) between the input and the deepest features."""
        return self.settings.total_stride

    def f_channels(self, level: int) -> int:
        """Channels of f.

        Raises:
            UserInputError: The network has fewer stages.
        """
        self._check(level)
        return self.settings.channels[level - 1]

    @torch.no_grad()
    def encode(self, x: torch.Tensor, level: int) -> CachedFeatures:
        """See `SplitNetwork`. Raises `UserInputError` for a level beyond the stages."""
        self._check(level)
        with DirectConvolution():
            features = self.network.features(x)
            collapsed = self.network.collapse(features)
        f = features[level - 1]
        del features
        sums = self.network.sums(collapsed)
        deeper = torch.zeros_like(collapsed[-1])
        if level < self.max_level:
            deeper = upsampled(sums[level], self.settings.poolings[level - 1], f.shape)
        skips = (deeper, *collapsed[: level - 1][::-1])
        return CachedFeatures(level, f, tuple(skip.contiguous() for skip in skips), (), sums[0])

    def decode(self, features: CachedFeatures, f: torch.Tensor, frozen_statistics: bool = True) -> torch.Tensor:
        """See `SplitNetwork`; there is no norm, so that `frozen_statistics` makes no difference."""
        logits: torch.Tensor = self.network.collapses[features.level - 1](f) + features.skips[0]
        for skip, factors in zip(features.skips[1:], self._upsamplings(features.level), strict=True):
            logits = upsampled(logits, factors, skip.shape) + skip
        return logits

    def local(self, features: CachedFeatures, output_box: Box) -> LocalDecode:
        """See `SplitNetwork`: a slab's; that little is computed behind f."""
        slab = self.slab(features, output_box)
        return LocalDecode(slab.f_box, slab.output_box, lambda f: self.decode(slab.features, f))

    def slab(self, features: CachedFeatures, output_box: Box) -> Slab:
        """See `SplitNetwork`: walks the interpolations back from the logits to f."""
        shapes = [skip.shape[2:] for skip in features.skips]
        box = output_box
        for shape, factors in reversed(list(zip(shapes[1:], self._upsamplings(features.level), strict=True))):
            box = dilate(box, _reach(factors), whole(shape))
            box = box_of([(start // n, -(-stop // n)) for (start, stop), n in zip(box, factors, strict=True)])
        f_box = box
        skips = [_cut(features.skips[0], box)]
        for skip, factors in zip(features.skips[1:], self._upsamplings(features.level), strict=True):
            box = _finer(box, factors, skip.shape)
            skips.append(_cut(skip, box))
        cut = replace(features, f=_cut(features.f, f_box), skips=tuple(skips), logits=_cut(features.logits, box))
        return Slab(cut, f_box, box)

    def affected_box(self, features: CachedFeatures, f_box: Box) -> Box:
        """See `SplitNetwork`: walks forward from f to the logits."""
        for skip, factors in zip(features.skips[1:], self._upsamplings(features.level), strict=True):
            f_box = dilate(_finer(f_box, factors, skip.shape), _reach(factors), whole(skip.shape[2:]))
        return f_box

    def cached_bytes(self, window_shape: tuple[int, int, int], level: int) -> int:
        """See `SplitNetwork`; exact for float32."""
        voxels = self._stage_voxels(window_shape)
        skips = self.settings.classes * sum(voxels[:level])
        return 4 * (self.settings.channels[level - 1] * voxels[level - 1] + skips + self.settings.classes * voxels[0])

    def peak_bytes(self, window_shape: tuple[int, int, int], level: int) -> int:
        """See `SplitNetwork`: all stages' features and logits, and three times the largest for a unit's working set."""
        stages = [4 * c * n for c, n in zip(self.settings.channels, self._stage_voxels(window_shape), strict=True)]
        logits = 4 * self.settings.classes * sum(self._stage_voxels(window_shape))
        return sum(stages) + 3 * max(stages) + 3 * logits

    def _check(self, level: int) -> None:
        if not 1 <= level <= self.max_level:
            raise UserInputError(
                f"Decoder level {level} is beyond this network, which has {self.max_level} stages; "
                f"choose a level from 1 to {min(3, self.max_level)}"
            )

    def _upsamplings(self, level: int) -> list[Factors]:
        """Factors of the interpolations between f and the logits, coarse to fine."""
        return list(self.settings.poolings[: level - 1][::-1])

    def _stage_voxels(self, window_shape: tuple[int, int, int]) -> list[int]:
        """Voxels of each stage's feature map, shallow to deep."""
        shape = list(window_shape)
        result = []
        for factors in self.settings.strides:
            shape = [-(-n // factor) for n, factor in zip(shape, factors, strict=True)]
            result.append(math.prod(shape))
        return result


class ChainSplit(PsnnSplit):
    """A `SplitNetwork` over a chain: both streams run once, in `encode`; the cut is in the late-fusion network."""

    def __init__(self, chain: PsnnChain) -> None:
        super().__init__(chain.late)
        self.chain = chain

    @torch.no_grad()
    def encode(self, x: torch.Tensor, level: int) -> CachedFeatures:
        """See `SplitNetwork`; `x` is `[1, 2, D, H, W]`, CT and PET."""
        self._check(level)
        with DirectConvolution():
            late_input = self.chain.late_input(x)
        return super().encode(late_input, level)


def _reach(factors: Factors) -> tuple[int, ...]:
    """How many fine voxels beyond its own a coarse voxel reaches by linear interpolation."""
    return tuple(factor // 2 for factor in factors)


def _finer(box: Box, factors: Factors, shape: torch.Size) -> Box:
    """The fine voxels of a box of coarse ones; the finer level may end within the last coarse voxel."""
    scaled = box_of([(start * factor, stop * factor) for (start, stop), factor in zip(box, factors, strict=True)])
    inside = intersection(scaled, whole(shape[2:]))
    if inside is None:
        raise ValueError(f"box {box} lies outside the finer level {tuple(shape[2:])}")
    return inside


def _cut(tensor: torch.Tensor, box: Box) -> torch.Tensor:
    return tensor[(slice(None), slice(None), *slices_of(box))]
