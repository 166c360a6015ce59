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

    With `statistics` None it normalises by its input and keeps what it saw in `seen`; else by `statistics`.
    """

    def __init__(self, norm: nn.InstanceNorm3d | nn.GroupNorm | nn.BatchNorm3d) -> None:
        super().__init__()
        self.norm = norm
        self.statistics: Statistics | None = None
        self.seen: Statistics | None = None

    def statistics_of(self, x: torch.Tensor) -> Statistics:
        """Mean and variance of each channel of `x` `[1, C, D, H, W]`, as this norm pools them."""
        variance, mean = torch.var_mean(x, dim=(2, 3, 4), keepdim=True, correction=0)
        return mean, variance

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.statistics is None:
            self.seen = self.statistics_of(x.detach())
            return cast(torch.Tensor, self.norm(x))
        scale, shift = self.scale_and_shift(self.statistics)
        return x * scale + shift

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

    def statistics_of(self, x: torch.Tensor) -> Statistics:
        """See `FreezableNorm`."""
        groups = cast(nn.GroupNorm, self.norm).num_groups
        variance, mean = torch.var_mean(x.reshape(x.shape[0], groups, -1), dim=2, correction=0)
        per_group = x.shape[1] // groups
        mean, variance = (s.repeat_interleave(per_group, 1)[:, :, None, None, None] for s in (mean, variance))
        return mean, variance


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
