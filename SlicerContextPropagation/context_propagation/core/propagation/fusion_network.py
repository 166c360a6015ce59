"""The fusion network (Fig. 2c): from the features before and after an edit to features for the far slices.

    phi_fusion(f, f')        what Eq. 4 decodes on the slices far from the edited one

`PaperFusion` is the figure's network; `AdaptiveFusion` and `AttentionFusion` are ours (docs/fusion.md).

Source: Chao et al., section II-C and Fig. 2c.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import nn

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import Box, Span, box_of, dilate, inside_of, slices_of, whole
from context_propagation.core.image.slices import WHOLE_VOLUME
from context_propagation.core.network.direct_convolution import DirectConvolution
from context_propagation.core.propagation.edit_description import DESCRIPTION_SIZE
from context_propagation.core.propagation.fusion_inputs import FusionInputs

Variant = Literal["paper", "adaptive", "attention"]


MAP_CHANNELS = 2
"""Channels of the edit map: the drawn target, and the edited slices, both as occupied fractions of f's cells."""


FADING_SLICES = 6
"""Of fusion networks' far thresholds."""


LOG_SHARPNESS = 2.5
"""Of the attention at the start: a cell as alike as can be counts e^12 times one that has nothing in common."""


NORM_EPSILON = 1e-5
"""Added to a variance, as torch's instance norm does."""


NEGATIVE_SLOPE = 0.01
"""Of the last activation, as nnU-Net's have it: features below 0 can be made."""


PROTOTYPES = 2
"""Feature vectors of the edit: the mean of f over the drawn target, and over the rest of the drawn slices."""


@dataclass(frozen=True)
class FusionSettings:
    """All that decides the architecture; a bundle stores it beside the weights.

    Attributes:
        variant: "paper" (Fig. 2c), "adaptive" (ours, the default), or "attention" (ours: a correction of f that reads
            at every place what the update did at similar places of the drawn slices).
        channels: C', the channels of f.
        width: Channels of the hidden layers as a multiple of C'; the paper has 8.
        hidden_truth: How many numbers an oracle is given besides the description; only in evaluations.
    """

    variant: Variant
    channels: int
    width: float
    hidden_truth: int = 0

    def __post_init__(self) -> None:
        if self.variant not in get_args(Variant):
            raise UserInputError(f"Unknown fusion variant '{self.variant}'; choose {', '.join(get_args(Variant))}")
        if self.channels < 1:
            raise UserInputError(f"{self.channels} feature channels; give at least 1")
        if not self.width > 0:
            raise UserInputError(f"The fusion network's width is {self.width}; give a number above 0")

    @property
    def hidden(self) -> int:
        """Channels of the hidden layers."""
        return max(1, round(self.width * self.channels))


class FusionNetwork(nn.Module):
    """What every variant has: `forward(inputs: FusionInputs)` gives the fused maps, `[E, C', D', H', W']`.

    They take the place of f in the decode of the far slices (Fig. 3).
    """

    settings: FusionSettings

    def on_box(self, inputs: FusionInputs, box: Box) -> torch.Tensor:
        """The fused maps in a box of f, `[E, C', *box]`: the same values as without a box."""
        fused: torch.Tensor = self(inputs)
        return fused[(..., *slices_of(box))]


def build_fusion_network(settings: FusionSettings) -> FusionNetwork:
    """A network with fresh weights."""
    variants = {"paper": PaperFusion, "adaptive": AdaptiveFusion, "attention": AttentionFusion}
    return variants[settings.variant](settings)


class PaperFusion(FusionNetwork):
    """Fig. 2c: two input blocks, a join block, an output block; it sees f and f' alone.

        phi_fusion(f, f') = output(join([up(input(f)), up(input'(f'))]))

    Each block is three times convolution 3 x 3 x 3, instance norm, ReLU; the first convolution of an input block has
    stride 2, and `up` is the trilinear way back.

    The output ends in a ReLU, as every unit of the paper does, so it cannot give back a feature below 0.

    Source: Chao et al., section II-C and Fig. 2c; block widths after the reductions are not in the paper.
    """

    def __init__(self, settings: FusionSettings) -> None:
        super().__init__()
        self.settings = settings
        channels, hidden = settings.channels, settings.hidden
        self.input_original = _block(channels, hidden, stride=2)
        self.input_updated = _block(channels, hidden, stride=2)
        self.join = _block(2 * hidden, hidden)
        self.output = _block(hidden, channels)

    def forward(self, inputs: FusionInputs) -> torch.Tensor:
        """See `FusionNetwork`."""
        f = inputs.f_of_each
        if max(f.shape[2:]) <= 2:
            raise UserInputError(
                f"The features have {tuple(f.shape[2:])} voxels; the paper's fusion network needs more than 2 along "
                "some axis: choose a smaller decoder level, or the adaptive variant"
            )
        with DirectConvolution():
            streams = (self.input_original(f), self.input_updated(inputs.f_updated))
            grown = [F.interpolate(s, f.shape[2:], mode="trilinear", align_corners=False) for s in streams]
            fused: torch.Tensor = self.output(self.join(torch.cat(grown, 1)))
        return fused


class InstanceNorm(nn.Module):
    """Each channel of each edit with mean 0 and variance 1 over space, then scaled and shifted.

    Args:
        channels: How many.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, maps: torch.Tensor, measured: torch.Tensor | None = None) -> torch.Tensor:
        """The maps `[E, C, d, h, w]`, normalised by mean and variance of `measured` (by default their own).

        A map of one voxel has variance 0.
        """
        of = maps if measured is None else measured
        variance, mean = torch.var_mean(of, (2, 3, 4), correction=0, keepdim=True)
        scale = self.weight[:, None, None, None] * (variance + NORM_EPSILON).rsqrt()
        return maps * scale + (self.bias[:, None, None, None] - mean * scale)


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

    def _entry(self, inputs: FusionInputs, read: torch.Tensor) -> torch.Tensor:
        """The first convolution, of (f, f' - f, `read`).

        f counts once for all edits, f' - f only where it is not 0.
        """
        channels = inputs.f.shape[1]
        of_f, of_change, of_read = torch.split(self.entry.weight, [channels, channels, read.shape[1]], 1)
        result = F.conv3d(inputs.f, of_f, self.entry.bias, padding=1) + F.conv3d(read, of_read, padding=1)
        change = inputs.f_updated - inputs.f
        changed = _nonzero_box(change.detach())
        if changed is None:
            return result
        limits = whole(tuple(change.shape[2:]))
        reached = dilate(changed, (1, 1, 1), limits)
        halo = dilate(reached, (1, 1, 1), limits)
        moved = F.conv3d(change[(..., *slices_of(halo))], of_change, padding=1)
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

    def on_box(self, inputs: FusionInputs, box: Box) -> torch.Tensor:
        """See `FusionNetwork`."""
        everything = whole(tuple(inputs.f.shape[2:]))
        scale, shift = self._scale_and_shift(inputs.descriptions)[:, :, None, None, None].chunk(2, 1)
        with DirectConvolution():
            near = F.relu(self.entry_norm(self._entry(inputs, self.beside_f(inputs, everything))))
            wide = F.relu(self.deep_norm(self.deep(F.relu(self.wide_norm(self.wide(near))))))
            grown = F.interpolate(wide, near.shape[2:], mode="trilinear", align_corners=False)
            read = torch.cat((near, grown), 1)
            every_second = F.conv3d(read, self.join.weight, self.join.bias, stride=2, padding=1)
            halo = dilate(box, (1, 1, 1), everything)
            here = self.join(read[(..., *slices_of(halo))])[(..., *slices_of(inside_of(box, halo)))]
            hidden = [
                F.relu(self.join_norm(joined, every_second) * (1 + scale) + shift) for joined in (here, every_second)
            ]
            made, measured = (self.output(of) for of in hidden)
        return F.leaky_relu(self.output_norm(made, measured), NEGATIVE_SLOPE)


class AttentionFusion(EditFusion):
    """f plus a correction that starts at zero, told what the update did where f is similar.

    Every place asks all cells of the drawn slices, each counting as much as its f is similar (and as much of it as was
    drawn on), and reads the mean of f' - f and of the drawn target there; 0 in a window without a drawn slice.

    Source: read as in Oh et al., Video object segmentation using space-time memory networks, ICCV 2019.
    """

    def __init__(self, settings: FusionSettings) -> None:
        super().__init__(settings)
        channels = settings.channels
        self.correction = nn.Conv3d(settings.hidden, channels, 1)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(cast(torch.Tensor, self.correction.bias))
        self.query = nn.Linear(channels, channels, bias=False)
        self.key = nn.Linear(channels, channels, bias=False)
        for layer in (self.query, self.key):  # starts as the cosine similarity of f itself
            nn.init.eye_(layer.weight)
        self.log_sharpness = nn.Parameter(torch.tensor(LOG_SHARPNESS))
        self.told_the_hidden_truth()

    def on_box(self, inputs: FusionInputs, box: Box) -> torch.Tensor:
        """See `FusionNetwork`; computes what the box depends on."""
        limits = whole(tuple(inputs.f.shape[2:]))
        around = box_of([_around(span, *of) for span, of in zip(box, limits, strict=True)])
        return self._fused(inputs.within(around), self.beside_f(inputs, around), inside_of(box, around))

    def _fused(self, inputs: FusionInputs, read: torch.Tensor, box: Box) -> torch.Tensor:
        """The fused maps in a box of the inputs' f."""
        f_shape = inputs.f.shape[2:]
        with DirectConvolution():
            near = F.relu(self._entry(inputs, read))
            wide = F.relu(self.deep(F.relu(self.wide(near))))
            grown = F.interpolate(wide, f_shape, mode="trilinear", align_corners=False)
            halo = dilate(box, (1, 1, 1), whole(tuple(f_shape)))
            joined = self.join(torch.cat([part[(..., *slices_of(halo))] for part in (near, grown)], 1))
            joined = joined[(..., *slices_of(inside_of(box, halo)))]
            scale, shift = self._scale_and_shift(inputs.descriptions)[:, :, None, None, None].chunk(2, 1)
            correction: torch.Tensor = self.correction(F.relu(joined * (1 + scale) + shift))
        return inputs.f_of_each[(..., *slices_of(box))] + correction

    @staticmethod
    def entry_channels(channels: int) -> int:
        """See `EditFusion`."""
        return EditFusion.entry_channels(channels) + channels + 1

    def beside_f(self, inputs: FusionInputs, box: Box) -> torch.Tensor:
        """See `EditFusion`."""
        here = inputs.within(box).f_of_each
        queries = F.normalize(self.query(here.flatten(2).transpose(1, 2)), dim=2) * self.log_sharpness.exp()
        attended = torch.stack([self._attended(inputs, edit, of_edit) for edit, of_edit in enumerate(queries)])
        read = attended.transpose(1, 2).reshape(len(inputs), -1, *here.shape[2:])
        return torch.cat((super().beside_f(inputs, box), read), 1)

    def _attended(self, inputs: FusionInputs, edit: int, queries: torch.Tensor) -> torch.Tensor:
        """What the places that ask `[P, C']` read of the cells that an edit's slices are drawn on, `[P, C' + 1]`."""
        drawn_on = inputs.edit_maps[edit, 1].flatten()
        cells = drawn_on > 0
        f, f_updated = (of_all[edit].flatten(1)[:, cells].T for of_all in (inputs.f_of_each, inputs.f_updated))
        values = torch.cat((f_updated - f, inputs.edit_maps[edit, 0].flatten()[cells, None]), 1)
        return _attend(queries, F.normalize(self.key(f), dim=1), values, drawn_on[cells])


def _attend(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, drawn_on: torch.Tensor) -> torch.Tensor:
    """Attention: softmax(q k^T + log drawn_on) v, over the cells that are drawn on.

    The logarithm is a last number of the key, which every query asks for. So queries, keys and values are equally
    long, and torch attends without a matrix of all places by all cells.

    Args:
        queries: `[P, V - 1]`.
        keys: `[N, V - 1]`.
        values: `[N, V]`.
        drawn_on: `[N]`, how much of each cell is drawn on, above 0; it weighs the cell.

    Returns:
        `[P, V]`; zeros where no cell is drawn on.
    """
    if not len(values):
        return values.new_zeros((len(queries), values.shape[1]))
    q = torch.cat((queries, torch.ones_like(queries[:, :1])), 1)
    k = torch.cat((keys, drawn_on[:, None].log()), 1)
    q, k, v = (tensor[None, None] for tensor in (q, k, values))
    return F.scaled_dot_product_attention(q, k, v, scale=1.0)[0, 0]


def _around(span: Span, low: int, high: int) -> Span:
    """What a span of the fused map depends on in `AttentionFusion`: 8 cells more on each side, from an even one on.

    That is 1 of each of `entry` and `join`, 1 and 2 of `wide` and `deep` behind its stride, 2 of the interpolation; odd
    sizes end where f does, because their interpolation is by another factor.
    """
    if (high - low) % 2:
        return low, high
    start, stop = max(low, span[0] - 8), min(high, span[1] + 8)
    return start - start % 2, stop + stop % 2


def _nonzero_box(tensor: torch.Tensor) -> Box | None:
    """The box of space around the values of `[E, C, D, H, W]` that are not 0; None where all are."""
    some = (tensor != 0).any(1).any(0)
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


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Three Conv3d-InstanceNorm3d-ReLU units; the first one changes the channels and may stride."""
    units: list[nn.Module] = []
    for number in range(3):
        first = number == 0
        units += [
            nn.Conv3d(inputs if first else outputs, outputs, 3, stride if first else 1, padding=1),
            nn.InstanceNorm3d(outputs, affine=True),
            nn.ReLU(),
        ]
    return nn.Sequential(*units)


@dataclass(frozen=True)
class Fusion:
    """The trained fusion networks of a base model, and what they were trained for.

    Attributes:
        networks: One per fold of the base model, in its order.
        level: The decoder level whose features they fuse.
        neighbours: N(s) in training was s and so many image slices on each side.
        far_thresholds: How sure they must be before a far voxel changes its label.
        content_hash: SHA-256 of the weights and settings.
    """

    networks: tuple[FusionNetwork, ...]
    level: int
    neighbours: int
    far_thresholds: FarThresholds
    content_hash: str

    reach = WHOLE_VOLUME


@dataclass(frozen=True)
class FarThresholds:
    """How sure the fused features must be before a far voxel changes its label; 0 to 1, 1 changes nothing.

    Attributes:
        add: A voxel becomes target where the margin is above this.
        remove: A voxel becomes background where the margin is below minus this.
        fading_slices: Over so many far slices, counted from the near ones, both grow to what they are; 1: at once.
    """

    add: float = 0.0
    remove: float = 0.0
    fading_slices: int = FADING_SLICES
