"""The fusion network (Fig. 2c): from the features before and after an edit to features for the far slices.

    phi_fusion(f, f')        what Eq. 4 decodes on the slices far from the edited one

What every variant has, and the figure's own. Ours are in `edit_fusion`.

Source: Chao et al., section II-C and Fig. 2c.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import Box, slices_of
from context_propagation.core.network.direct_convolution import DirectConvolution
from context_propagation.core.propagation.fusion_inputs import FusionInputs
from context_propagation.core.propagation.fusion_settings import FusionSettings


class FusionNetwork(nn.Module):
    """What every variant has: `forward(inputs: FusionInputs)` gives the fused maps, `[E, C', D', H', W']`.

    They take the place of f in the decode of the far slices (Fig. 3).
    """

    settings: FusionSettings

    def of_f(self, f: torch.Tensor) -> torch.Tensor | None:
        """What it computes of f alone, the same for every edit, `[1, hidden, D', H', W']`; None where that is nothing.

        Args:
            f: `[1, C', D', H', W']`.
        """
        return None

    def on_box(self, inputs: FusionInputs, box: Box, of_f: torch.Tensor | None = None) -> torch.Tensor:
        """The fused maps in a box of f, `[E, C', *box]`: the same values as without a box.

        Args:
            inputs: On the whole f.
            box: Of f.
            of_f: What `of_f` gives, where it is at hand.
        """
        fused: torch.Tensor = self(inputs)
        return fused[(..., *slices_of(box))]


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
