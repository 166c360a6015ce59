"""The progressive semantically nested network (PSNN) and the chain of two streams for CT and PET.

Tensors are `[N, C, D, H, W]`. Levels are counted from the shallowest stage: level 1 has the input's size.

Source: Jin et al., Accurate Esophageal Gross Tumor Volume Segmentation in PET/CT using Two-Stream Chained 3D Deep
Network Fusion, arXiv:1909.01524. What it leaves open and what was chosen here is in docs/psnn.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from context_propagation.core.errors import UserInputError, counted

Factors = tuple[int, int, int]
"""Of one pooling, along D, H, W."""


MAX_STAGES = 8


FACTORS = (1, 2, 4)
"""Their reciprocals are exact, and with them the weights of the interpolation: a cut sees no more than it should."""


@dataclass(frozen=True)
class PsnnSettings:
    """The architecture of one PSNN.

    Attributes:
        in_channels: Image channels.
        classes: Output channels, background first; at least 2.
        channels: Feature channels of each stage, shallow to deep.
        poolings: Factors (D, H, W) between neighbouring stages, one fewer than stages; each 1, 2 or 4, and 1
            leaves an axis as it is.
    """

    in_channels: int
    classes: int = 2
    channels: tuple[int, ...] = (8, 16, 32, 64)
    poolings: tuple[Factors, ...] = ((2, 2, 2), (2, 2, 2), (2, 2, 2))

    def __post_init__(self) -> None:
        if self.in_channels < 1 or self.classes < 2:
            raise UserInputError(
                f"{counted(self.in_channels, 'channel')} and {self.classes} classes; give at least 1 and 2"
            )
        if not 2 <= len(self.channels) <= MAX_STAGES or min(self.channels) < 1:
            raise UserInputError(f"Stages of {self.channels} channels; give 2 to {MAX_STAGES} numbers above 0")
        if len(self.poolings) != len(self.channels) - 1:
            raise UserInputError(
                f"{len(self.poolings)} poolings for {len(self.channels)} stages; give one fewer than stages"
            )
        for factors in self.poolings:
            if len(factors) != 3 or not all(factor in FACTORS for factor in factors):
                raise UserInputError(f"Pooling by {factors}; give three factors (D, H, W), each 1, 2 or 4")

    @property
    def strides(self) -> tuple[Factors, ...]:
        """Factor of each stage towards the next shallower one, shallow to deep; the first is 1."""
        return ((1, 1, 1), *self.poolings)

    @property
    def total_stride(self) -> Factors:
        """Factor (D, H, W) between the input and the deepest stage."""
        d, h, w = (math.prod(factors[axis] for factors in self.poolings) for axis in range(3))
        return d, h, w


class Psnn(nn.Module):
    """A PSNN: every stage's features become class logits, which are summed from the deepest stage to the shallowest.

    A stage is two units of 3 x 3 x 3 convolution, instance norm and ReLU; max pooling separates stages. The decoder has
    no weights of its own.

    Source: Jin et al., section 2.2.
    """

    def __init__(self, settings: PsnnSettings) -> None:
        super().__init__()
        self.settings = settings
        inputs = (settings.in_channels, *settings.channels[:-1])
        self.stages = nn.ModuleList(_stage(*pair) for pair in zip(inputs, settings.channels, strict=True))
        # ceil_mode: pooled voxel c covers voxels c * factor and on, at the end of an odd size too
        self.poolings = nn.ModuleList(nn.MaxPool3d(factors, ceil_mode=True) for factors in settings.poolings)
        self.collapses = nn.ModuleList(nn.Conv3d(channels, settings.classes, 1) for channels in settings.channels)

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Each stage's feature map, shallow to deep."""
        found = [cast(torch.Tensor, self.stages[0](x))]
        for pooling, stage in zip(self.poolings, self.stages[1:], strict=True):
            found.append(stage(pooling(found[-1])))
        return found

    def collapse(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The class logits of each feature map, not summed."""
        return [collapse(f) for collapse, f in zip(self.collapses, features, strict=True)]

    def sums(self, collapsed: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The logits of each level: its own plus the up-sampled logits of the next deeper level."""
        found = [collapsed[-1]]
        for own, factors in zip(collapsed[-2::-1], self.settings.poolings[::-1], strict=True):
            found.insert(0, own + upsampled(found[0], factors, own.shape))
        return found

    def level_logits(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The logits of each level at the level's size, shallow to deep; the first are the network's output."""
        return self.sums(self.collapse(self.features(x)))

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """`[N, classes, D, H, W]` in evaluation mode; `level_logits` in training mode, for deep supervision."""
        levels = self.level_logits(x)
        return levels if self.training else levels[0]


class PsnnChain(nn.Module):
    """Two streams and a late fusion; the input is CT and PET, in this order.

    The CT stream sees the CT, the early-fusion stream CT and PET. The late-fusion network sees the CT and both streams'
    foreground probabilities; it does not train them.

    Source: Jin et al., section 2.1.
    """

    def __init__(self, ct: Psnn, early: Psnn, late: Psnn) -> None:
        """Chain three networks.

        Raises:
            UserInputError: Their channels or classes do not fit each other.
        """
        super().__init__()
        classes = late.settings.classes
        if {ct.settings.classes, early.settings.classes} != {classes}:
            raise UserInputError("The networks of a chain differ in their classes; give all three the same")
        found = [network.settings.in_channels for network in (ct, early, late)]
        expected = [1, 2, 1 + 2 * (classes - 1)]
        if found != expected:
            raise UserInputError(f"The networks of a chain read {found} channels; they must read {expected}")
        self.ct, self.early, self.late = ct, early, late

    @torch.no_grad()
    def late_input(self, x: torch.Tensor) -> torch.Tensor:
        """What the late-fusion network reads, from `x` `[N, 2, D, H, W]`: the CT, then each stream's foreground."""
        streams = (self.ct.level_logits(x[:, :1])[0], self.early.level_logits(x)[0])
        return torch.cat((x[:, :1], *(torch.softmax(logits, 1)[:, 1:] for logits in streams)), 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """See `Psnn.forward`: the late-fusion network's output."""
        found: torch.Tensor | list[torch.Tensor] = self.late(self.late_input(x))
        return found


def chain_of(settings: PsnnSettings) -> PsnnChain:
    """A chain of three networks that differ only in what they read; `settings.in_channels` does not count."""
    classes, channels, poolings = settings.classes, settings.channels, settings.poolings
    inputs = (1, 2, 1 + 2 * (classes - 1))
    return PsnnChain(*(Psnn(PsnnSettings(n, classes, channels, poolings)) for n in inputs))


def upsampled(logits: torch.Tensor, factors: Sequence[int], shape: Sequence[int]) -> torch.Tensor:
    """Logits interpolated trilinearly to a finer level, whose voxels tile the coarse ones.

    Args:
        logits: `[N, C, d, h, w]`.
        factors: (D, H, W); fine voxel o lies at coarse coordinate (o + 0.5) / factor - 0.5.
        shape: The fine level's; its last three numbers count. It may end within the last coarse voxel.
    """
    d, h, w = shape[-3:]
    scale = [float(factor) for factor in factors]
    fine = F.interpolate(logits, scale_factor=scale, mode="trilinear", align_corners=False)
    return fine[:, :, :d, :h, :w]


def _stage(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*_unit(inputs, outputs), *_unit(outputs, outputs))


def _unit(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv3d(inputs, outputs, 3, padding=1, bias=False)  # the norm would take a bias away
    nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
    return convolution, nn.InstanceNorm3d(outputs, affine=True), nn.ReLU()
