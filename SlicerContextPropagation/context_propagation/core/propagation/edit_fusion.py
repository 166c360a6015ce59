"""Our fusion networks: the edit speaks about every slice (docs/fusion.md)."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from context_propagation.core.image.boxes import Box, box_of, dilate, inside_of, slices_of, whole
from context_propagation.core.network.direct_convolution import DirectConvolution
from context_propagation.core.propagation.edit_description import DESCRIPTION_SIZE
from context_propagation.core.propagation.fusion_inputs import FusionInputs
from context_propagation.core.propagation.fusion_network import FusionNetwork
from context_propagation.core.propagation.fusion_settings import FusionSettings

MAP_CHANNELS = 2
"""Channels of the edit map: the drawn target, and the edited slices, both as occupied fractions of f's cells."""


NORM_EPSILON = 1e-5
"""Added to a variance, as torch's instance norm does."""


NEGATIVE_SLOPE = 0.01
"""Of the last activation, as nnU-Net's have it: features below 0 can be made."""


PROTOTYPES = 2
"""Feature vectors of the edit: the mean of f over the drawn target, and over the rest of the drawn slices."""


class InstanceNorm(nn.Module):
    """Each channel of each edit with mean 0 and variance 1 over space, then scaled and shifted.

    Args:
        channels: How many.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """The maps `[E, C, d, h, w]`, normalised by their own mean and variance; see `_scaled`."""
        return _scaled(maps, *self.scale_and_shift(maps))

    def scale_and_shift(self, measured: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What normalises maps by mean and variance of `measured`, `[E, C, 1, 1, 1]`; one voxel has variance 0."""
        variance, mean = torch.var_mean(measured, (2, 3, 4), correction=0, keepdim=True)
        scale = self.weight[:, None, None, None] * (variance + NORM_EPSILON).rsqrt()
        return scale, self.bias[:, None, None, None] - mean * scale


class EditFusion(FusionNetwork):
    """What ours have in common: global paths by which the edit speaks about every slice (docs/fusion.md).

    How alike f is to the prototypes of the edit, anywhere in the volume, is an input beside f, f' - f and the edit map.
    The description scales and shifts the hidden channels.

    Source: prototypes: Wang et al., PANet, ICCV 2019; scale and shift: Perez et al., FiLM, AAAI 2018.
    """

    def __init__(self, settings: FusionSettings) -> None:
        super().__init__()
        self.settings = settings
        channels, hidden = settings.channels, settings.hidden
        self.entry = nn.Conv3d(self.entry_channels(channels), hidden, 3, padding=1)
        self.wide = nn.Conv3d(hidden, hidden, 3, stride=2, padding=1)
        self.deep = nn.Conv3d(hidden, hidden, 3, padding=1)
        self.join = nn.Conv3d(2 * hidden, hidden, 3, padding=1)
        self.described = nn.Linear(DESCRIPTION_SIZE, hidden)
        self.globally = nn.Linear(hidden, 2 * hidden)
        for layer in (self.entry, self.wide, self.deep, self.join):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(cast(torch.Tensor, layer.bias))

    def told_the_hidden_truth(self) -> None:
        """Make an oracle of it: last and from zero, so that it starts from the weights of what it is compared with."""
        if self.settings.hidden_truth:
            self.hidden_truth = nn.Linear(self.settings.hidden_truth, self.settings.hidden, bias=False)
            nn.init.zeros_(self.hidden_truth.weight)

    def forward(self, inputs: FusionInputs) -> torch.Tensor:
        """See `FusionNetwork`."""
        return self.on_box(inputs, whole(tuple(inputs.f.shape[2:])))

    @staticmethod
    def entry_channels(channels: int) -> int:
        """How many channels the first convolution reads, of f with so many."""
        return 2 * channels + MAP_CHANNELS + PROTOTYPES

    def of_f(self, f: torch.Tensor) -> torch.Tensor:
        """See `FusionNetwork`: the share of f in the first convolution."""
        with DirectConvolution():
            return F.conv3d(f, self.entry.weight[:, : f.shape[1]], self.entry.bias, padding=1)

    def _entry(self, inputs: FusionInputs, read: torch.Tensor, of_f: torch.Tensor | None) -> torch.Tensor:
        """The first convolution, of (f, f' - f, `read`).

        f counts once for all edits, f' - f only where it is not 0.
        """
        channels = inputs.f.shape[1]
        _, of_change, of_read = torch.split(self.entry.weight, [channels, channels, read.shape[1]], 1)
        result = F.conv3d(read, of_read, padding=1)
        result += self.of_f(inputs.f) if of_f is None else of_f
        changed = _different_box(inputs.f_updated, inputs.f)
        if changed is None:
            return result
        limits = whole(tuple(inputs.f.shape[2:]))
        reached = dilate(changed, (1, 1, 1), limits)
        halo = dilate(reached, (1, 1, 1), limits)
        around = inputs.within(halo)
        moved = F.conv3d(around.f_updated - around.f, of_change, padding=1)
        result[(..., *slices_of(reached))] += moved[(..., *slices_of(inside_of(reached, halo)))]
        return result

    def beside_f(self, inputs: FusionInputs, box: Box) -> torch.Tensor:
        """What the first convolution reads beside f and f' - f in a box of f, `[E, S, *box]`."""
        here = inputs.within(box)
        return torch.cat((here.edit_maps, _similarities(here.f_of_each, inputs.prototypes)), 1)

    def _scale_and_shift(self, descriptions: torch.Tensor) -> torch.Tensor:
        """Of the hidden channels, `[E, 2 * hidden]`, from descriptions and the hidden truth."""
        hidden = self.described(descriptions[:, :DESCRIPTION_SIZE])
        if self.settings.hidden_truth:
            hidden = hidden + self.hidden_truth(descriptions[:, DESCRIPTION_SIZE:])
        scale_and_shift: torch.Tensor = self.globally(F.relu(hidden))
        return scale_and_shift


class AdaptiveFusion(EditFusion):
    """Makes the features anew through instance norms.

    The description scales and shifts the hidden channels after their norm. The last two norms take their mean and
    variance from every second voxel along each axis, on the whole window. So a part of the window is made from the
    first, cheap layers on the whole window and the last ones on that part.

    Source: adaptive instance norm: Huang and Belongie, ICCV 2017.
    """

    def __init__(self, settings: FusionSettings) -> None:
        super().__init__(settings)
        channels, hidden = settings.channels, settings.hidden
        self.output = nn.Conv3d(hidden, channels, 1)
        nn.init.kaiming_normal_(self.output.weight, nonlinearity="relu")
        nn.init.zeros_(cast(torch.Tensor, self.output.bias))
        self.entry_norm, self.wide_norm, self.deep_norm, self.join_norm = (InstanceNorm(hidden) for _ in range(4))
        self.output_norm = InstanceNorm(channels)
        self.told_the_hidden_truth()

    def on_box(self, inputs: FusionInputs, box: Box, of_f: torch.Tensor | None = None) -> torch.Tensor:
        """See `FusionNetwork`."""
        everything = whole(tuple(inputs.f.shape[2:]))
        told_scale, told_shift = self._scale_and_shift(inputs.descriptions)[:, :, None, None, None].chunk(2, 1)
        with DirectConvolution():
            near = _relu(self.entry_norm(self._entry(inputs, self.beside_f(inputs, everything), of_f)))
            wide = _relu(self.deep_norm(self.deep(_relu(self.wide_norm(self.wide(near))))))
            grown = F.interpolate(wide, near.shape[2:], mode="trilinear", align_corners=False)
            of_near, of_grown = self.join.weight.chunk(2, 1)
            every_second = F.conv3d(near, of_near, self.join.bias, stride=2, padding=1)
            every_second += F.conv3d(grown, of_grown, stride=2, padding=1)
            halo = dilate(box, (1, 1, 1), everything)
            joined = self.join(torch.cat([part[(..., *slices_of(halo))] for part in (near, grown)], 1))
            here = joined[(..., *slices_of(inside_of(box, halo)))]
            scale, shift = self.join_norm.scale_and_shift(every_second)
            scale, shift = scale * (1 + told_scale), shift * (1 + told_scale) + told_shift
            made, measured = (self.output(_relu(_scaled(of, scale, shift))) for of in (here, every_second))
            return F.leaky_relu(_scaled(made, *self.output_norm.scale_and_shift(measured)), NEGATIVE_SLOPE)


def _scaled(maps: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Maps * scale + shift; in the memory of the maps where nothing is learned and all are equally precise."""
    in_place = not torch.is_grad_enabled() and maps.dtype == scale.dtype
    return torch.addcmul(shift, maps, scale, out=maps if in_place else None)


def _relu(made: torch.Tensor) -> torch.Tensor:
    """In the same memory; only of what nothing else needs."""
    return F.relu(made, inplace=True)


def _different_box(maps: torch.Tensor, f: torch.Tensor) -> Box | None:
    """The box of space where maps `[E, C, D, H, W]` differ from `[1, C, D, H, W]`; None where they do not."""
    some = (maps != f).any(1).any(0)
    if not some.any():
        return None
    spans = []
    for axis in range(3):
        places = some.any(dim=tuple(a for a in range(3) if a != axis)).nonzero()
        spans.append((int(places[0]), int(places[-1]) + 1))
    return box_of(spans)


def _similarities(f: torch.Tensor, prototypes: torch.Tensor) -> torch.Tensor:
    """Cosine similarity `[N, 2, D', H', W']` of f at each place to each prototype `[N, 2, C']`; 0 to one of zeros."""
    alike = torch.einsum("ncdhw,npc->npdhw", f, F.normalize(prototypes, dim=2))
    length: torch.Tensor = torch.linalg.vector_norm(f, dim=1, keepdim=True)
    return alike / length.clamp_min(torch.finfo(f.dtype).tiny)
