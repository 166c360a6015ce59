"""The general far network: corrects the target logit that f' gives far slices, for any split model, untrained for it.

    logit'(v) = logit(f')(v) + c(v),        c from the evidence of the drawn slices, 0 before any training

Ours, not the paper's; see docs/fusion.md.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from context_propagation.core.propagation.far_evidence import MAPS, NUMBERS

MOST_CORRECTION = 12.0
"""Of the logit, either way."""


DILATIONS = (1, 2, 4)
"""Of the convolutions behind an entry of 1 x 1 x 1, each one axis after the other: on a CPU that takes a quarter of the
time of 3 x 3 x 3 at once (measured)."""


REACH = sum(DILATIONS)
"""Voxels around a place that its correction depends on."""


class GeneralFarNetwork(nn.Module):
    """Convolutions that see `REACH` voxels to each side; without norms, so that a part gives the same as the whole.

    The first axis runs along the drawn slices' normal. Numbers scale and shift the channels.

    Source: scale and shift: Perez et al., FiLM, AAAI 2018.

    Args:
        width: Channels of the hidden layers.
    """

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.ModuleList([nn.Conv3d(MAPS, width, 1), *(_spread(width, dilation) for dilation in DILATIONS)])
        self.described = nn.Linear(NUMBERS, 2 * width)
        self.scales = nn.Linear(2 * width, 2 * width * len(self.layers))
        self.correction = nn.Conv3d(width, 1, 1)
        for layer in self.layers.modules():
            if isinstance(layer, nn.Conv3d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
                nn.init.zeros_(cast(torch.Tensor, layer.bias))
        for last in (self.correction, self.scales):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(cast(torch.Tensor, last.bias))

    def forward(self, maps: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """The correction of the logit.

        Args:
            maps: `[N, MAPS, D, H, W]`, D along the normal of the drawn slices.
            numbers: `[N, NUMBERS]`.

        Returns:
            `[N, D, H, W]`, within +-`MOST_CORRECTION`.
        """
        scales = self.scales(F.relu(self.described(numbers)))[:, :, None, None, None]
        values = maps
        for number, (layer, of_layer) in enumerate(zip(self.layers, scales.chunk(len(self.layers), 1), strict=True)):
            scale, shift = of_layer.chunk(2, 1)
            found = F.relu(layer(values) * (1 + scale) + shift)
            values = found if number == 0 else values + found
        limited: torch.Tensor = MOST_CORRECTION * torch.tanh(self.correction(values)[:, 0] / MOST_CORRECTION)
        return limited


def _spread(width: int, dilation: int) -> nn.Sequential:
    """Convolutions of 3 voxels along each axis in turn."""
    along = []
    for axis in range(3):
        d, h, w = (axis == 0, axis == 1, axis == 2)
        size, padding = (1 + 2 * d, 1 + 2 * h, 1 + 2 * w), (dilation * d, dilation * h, dilation * w)
        along.append(nn.Conv3d(width, width, size, padding=padding, dilation=dilation))  # of 1 voxel it is of no effect
    return nn.Sequential(*along)
