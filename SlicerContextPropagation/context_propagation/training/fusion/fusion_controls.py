"""The controls of a fusion network: the same network, shown less of the edit than the real one (docs/evaluation.md)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import torch

from context_propagation.core.errors import UserInputError
from context_propagation.core.propagation.edit_description import DESCRIPTION_SIZE
from context_propagation.core.propagation.fusion_inputs import FusionInputs
from context_propagation.core.propagation.fusion_network import FusionNetwork, FusionSettings, build_fusion_network

Sees = Literal["edit", "no edit", "drawn slice only", "hidden truth"]
"""What of the edit the network is shown.

"edit": all of it (row 4). "no edit": f in place of f' and nothing else (row 5, the no-edit control).
"drawn slice only": without the update (row 6, the edit-as-input control). "hidden truth": the edit, and what the
generator knows (row 8, the oracle).
"""


class ShownTo(FusionNetwork):
    """A fusion network behind a blindfold: `forward` takes the real inputs and passes on what may be seen.

    Args:
        network: What fuses.
        sees: What it is shown. An oracle is told zeros until `tell` sets the hidden truth of a case.
    """

    def __init__(self, network: FusionNetwork, sees: Sees) -> None:
        super().__init__()
        if sees not in get_args(Sees):
            raise UserInputError(f"A network cannot see '{sees}'; choose {', '.join(get_args(Sees))}")
        self.settings = network.settings
        self.network = network
        self.sees = sees
        self.register_buffer("told", torch.zeros(1, network.settings.told), persistent=False)

    def tell(self, numbers: torch.Tensor) -> None:
        """Set the hidden truth of the next case: `[T]`.

        Raises:
            UserInputError: The network takes another number of values.
        """
        told: torch.Tensor = self.get_buffer("told")
        if numbers.shape != told.shape[1:]:
            raise UserInputError(f"{numbers.numel()} numbers of hidden truth; this network takes {told.shape[1]}")
        told.copy_(numbers.to(told)[None])

    def forward(self, inputs: FusionInputs) -> torch.Tensor:
        """See `FusionNetwork`."""
        if self.sees in ("no edit", "drawn slice only"):
            descriptions = torch.zeros_like(inputs.descriptions)
            inputs = replace(inputs, f_updated=inputs.f_of_each, descriptions=descriptions)
        if self.sees == "no edit":
            nothing = torch.zeros_like(inputs.edit_maps), torch.zeros_like(inputs.prototypes)
            inputs = replace(inputs, edit_maps=nothing[0], prototypes=nothing[1])
        told = self.get_buffer("told").expand(len(inputs), -1)
        told = told if self.sees == "hidden truth" else torch.zeros_like(told)
        descriptions = torch.cat((inputs.descriptions[:, :DESCRIPTION_SIZE], told), 1)
        fused: torch.Tensor = self.network(replace(inputs, descriptions=descriptions))
        return fused


def build_shown_to(settings: FusionSettings, sees: Sees) -> ShownTo:
    """A network with fresh weights behind its blindfold."""
    return ShownTo(build_fusion_network(settings), sees)
