"""Norms that can use the statistics of an earlier pass, so that an update stays local."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

Statistics = tuple[torch.Tensor, torch.Tensor]
"""Mean and variance, `[1, C, 1, 1, 1]` each."""


class FreezableNorm(nn.Module):
    """A norm whose statistics come from its input, or from an earlier pass.

    With `statistics` None it normalises by its input, and keeps what it saw of one sample in `seen`; else by
    `statistics`. They are those that torch pools for the norm itself: pooling them apart takes as long as the norm.
    """

    def __init__(self, norm: nn.InstanceNorm3d | nn.GroupNorm | nn.BatchNorm3d) -> None:
        super().__init__()
        self.norm = norm
        self.statistics: Statistics | None = None
        self.seen: Statistics | None = None

    def is_of_one_value(self, x: torch.Tensor) -> bool:
        """Whether each mean would be of one value."""
        return x[0, 0].numel() == 1

    def normalised(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What the norm makes of one sample `[1, C, D, H, W]`; mean and 1 / deviation `[C]` that it pooled for it."""
        weight, bias = self.norm.weight, self.norm.bias
        return torch.native_batch_norm(x, weight, bias, None, None, True, 0.0, self.norm.eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.statistics is not None:
            scale, shift = self.scale_and_shift(self.statistics)
            return x * scale + shift
        if x.shape[0] > 1 or self.is_of_one_value(x):
            self.seen = None
            return cast(torch.Tensor, self.norm(x))  # torch refuses one value
        result, mean, inverse = (t.detach() if n else t for n, t in enumerate(self.normalised(x)))
        variance = (inverse**-2 - self.norm.eps).clamp_min(0)
        self.seen = mean.view(1, -1, 1, 1, 1), variance.view(1, -1, 1, 1, 1)
        return result

    def scale_and_shift(self, statistics: Statistics) -> Statistics:
        """What the norm multiplies by and adds with these statistics, `[1, C, 1, 1, 1]` each."""
        mean, variance = statistics
        scale = torch.rsqrt(variance + self.norm.eps)
        if not self.norm.affine:
            return scale, -mean * scale
        scale = scale * self.norm.weight.view(1, -1, 1, 1, 1)
        return scale, self.norm.bias.view(1, -1, 1, 1, 1) - mean * scale


class FreezableInstanceNorm(FreezableNorm):
    """An instance norm; also a batch norm without running statistics, which on one sample is the same."""


class FreezableGroupNorm(FreezableNorm):
    """A group norm: the channels of a group share mean and variance."""

    def is_of_one_value(self, x: torch.Tensor) -> bool:
        """See `FreezableNorm`."""
        return x[0].numel() == cast(nn.GroupNorm, self.norm).num_groups

    def normalised(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """See `FreezableNorm`."""
        norm = cast(nn.GroupNorm, self.norm)
        channels, voxels, groups = x.shape[1], x[0, 0].numel(), norm.num_groups
        result, *of_groups = torch.native_group_norm(x, norm.weight, norm.bias, 1, channels, voxels, groups, norm.eps)
        mean, inverse = (pooled[0].repeat_interleave(channels // groups) for pooled in of_groups)
        return result, mean, inverse


def freezable(norm: nn.Module) -> FreezableNorm | None:
    """The same norm with statistics that can be frozen; None for what computes no statistics in evaluation mode."""
    if isinstance(norm, nn.GroupNorm):
        return FreezableGroupNorm(norm)
    if isinstance(norm, nn.InstanceNorm3d | nn.BatchNorm3d) and norm.running_mean is None:
        return FreezableInstanceNorm(norm)
    return None


def replace_norms(parent: nn.Module) -> list[FreezableNorm]:
    """Make every norm with input statistics inside a module freezable, in place.

    Returns:
        The new norms in the order of `parent.modules()`, one for each norm however often it is registered.
    """
    replaced: dict[int, FreezableNorm] = {}
    for module in list(parent.modules()):
        if isinstance(module, FreezableNorm):
            continue
        for name, child in module._modules.items():
            new = None if child is None else replaced.get(id(child)) or freezable(child)
            if child is not None and new is not None:
                module._modules[name] = replaced.setdefault(id(child), new)
    return list(replaced.values())


def use_statistics(norms: Sequence[FreezableNorm], statistics: Sequence[Statistics] | None) -> None:
    """Normalise by these statistics, one pair for each norm; by the input's own for None."""
    for number, norm in enumerate(norms):
        norm.statistics = None if statistics is None else statistics[number]


def seen_statistics(norms: Sequence[FreezableNorm]) -> tuple[Statistics, ...]:
    """What each norm saw in the last pass by its input's own statistics."""
    return tuple(cast(Statistics, norm.seen) for norm in norms)
