"""Our fusion network of the bundle that ships: a correction of f that reads the drawn slices (docs/fusion.md)."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from context_propagation.core.image.boxes import Box, Span, box_of, dilate, inside_of, slices_of, whole
from context_propagation.core.network.direct_convolution import DirectConvolution
from context_propagation.core.propagation.edit_fusion import EditFusion
from context_propagation.core.propagation.fusion_inputs import FusionInputs
from context_propagation.core.propagation.fusion_settings import FusionSettings

LOG_SHARPNESS = 2.5
"""Of the attention at the start: a cell as alike as can be counts e^12 times one that has nothing in common."""


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

    def on_box(self, inputs: FusionInputs, box: Box, of_f: torch.Tensor | None = None) -> torch.Tensor:
        """See `FusionNetwork`; computes what the box depends on."""
        limits = whole(tuple(inputs.f.shape[2:]))
        around = box_of([_around(span, *of) for span, of in zip(box, limits, strict=True)])
        known = None if of_f is None else of_f[(..., *slices_of(around))]
        return self._fused(inputs.within(around), self.beside_f(inputs, around), inside_of(box, around), known)

    def _fused(self, inputs: FusionInputs, read: torch.Tensor, box: Box, of_f: torch.Tensor | None) -> torch.Tensor:
        """The fused maps in a box of the inputs' f."""
        f_shape = inputs.f.shape[2:]
        with DirectConvolution():
            near = F.relu(self._entry(inputs, read, of_f))
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
