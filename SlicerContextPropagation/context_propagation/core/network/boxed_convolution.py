"""A frozen convolution on a box: padded where the box touches the window's edge, a norm behind it in its weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import nn

Scale = tuple[torch.Tensor, torch.Tensor]
"""What a norm with frozen statistics multiplies by and adds, `[1, C, 1, 1, 1]` each."""


@dataclass(frozen=True)
class BoxedConvolution:
    """Stride 1, the same size with the padding of the whole window.

    Attributes:
        weight: `[C, C_in / groups, d, h, w]`.
        bias: `[C]`, or None.
        padding: For each axis how many voxels are padded before and after the box.
        mode: How, in the words of `F.pad`.
        dilation: Of the kernel.
        groups: Of channels.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    padding: tuple[tuple[int, int], ...]
    mode: str
    dilation: tuple[int, ...]
    groups: int

    @classmethod
    def of(cls, layer: nn.Conv3d, padding: Sequence[tuple[int, int]]) -> BoxedConvolution:
        """A layer's convolution with another padding."""
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        return cls(layer.weight, layer.bias, tuple(padding), mode, tuple(layer.dilation), layer.groups)

    def scaled(self, scale: Scale) -> BoxedConvolution:
        """With a norm behind it: scale (W x + b) + shift."""
        factor, shift = (value.reshape(-1) for value in scale)
        bias = shift if self.bias is None else self.bias * factor + shift
        return replace(self, weight=self.weight * factor.view(-1, 1, 1, 1, 1), bias=bias)

    def of_channels(self, channels: Sequence[slice], with_bias: bool) -> BoxedConvolution:
        """The share that some of the input channels have in the result."""
        weight = torch.cat([self.weight[:, part] for part in channels], 1)
        return replace(self, weight=weight, bias=self.bias if with_bias else None)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """`[1, C_in, ...]` to `[1, C, ...]`, the box that all of it is known of."""
        even = [low if low == high and self.mode == "constant" else 0 for low, high in self.padding]
        uneven = [(low - n, high - n) for (low, high), n in zip(self.padding, even, strict=True)]
        if any(low or high for low, high in uneven):
            x = F.pad(x, [n for pair in reversed(uneven) for n in pair], mode=self.mode)
        convolve = cast(Any, F.conv3d)
        return cast(torch.Tensor, convolve(x, self.weight, self.bias, 1, even, self.dilation, self.groups))
