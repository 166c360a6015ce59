"""The controls of a fusion network: the same network, shown less of the edit than the real one (docs/evaluation.md)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, get_args

import torch

from context_propagation.core.errors import UserInputError
from context_propagation.core.image.boxes import Box
from context_propagation.core.propagation.edit_description import DESCRIPTION_SIZE
from context_propagation.core.propagation.fusion_inputs import FusionInputs
from context_propagation.core.propagation.fusion_network import FusionNetwork
from context_propagation.core.propagation.fusion_settings import FusionSettings
from context_propagation.core.propagation.trained_fusion import build_fusion_network

InputsShown = Literal["edit", "no edit", "drawn slice only", "hidden truth"]
"""What of the edit the network is shown.

"edit": all of it (row 4). "no edit": f in place of f' and nothing else (row 5, the no-edit control).
"drawn slice only": without the update (row 6, the edit-as-input control). "hidden truth": the edit, and what the
generator knows (row 8, the oracle).
"""


class BlindfoldedFusion(FusionNetwork):
    """A fusion network behind a blindfold: it takes the real inputs and passes on what may be seen.

    Args:
        network: What fuses.
        inputs_shown: What it is shown. An oracle is given zeros until `set_hidden_truth` is called for a case.
    """

    def __init__(self, network: FusionNetwork, inputs_shown: InputsShown) -> None:
        super().__init__()
        if inputs_shown not in get_args(InputsShown):
            raise UserInputError(
                f"A network cannot be shown '{inputs_shown}'; choose {', '.join(get_args(InputsShown))}"
            )
        self.settings = network.settings
        self.network = network
        self.inputs_shown = inputs_shown
        self.register_buffer("hidden_truth", torch.zeros(1, network.settings.hidden_truth), persistent=False)

    def set_hidden_truth(self, numbers: torch.Tensor) -> None:
        """Set the hidden truth of the next case: `[T]`.

        Raises:
            UserInputError: The network takes another number of values.
        """
        kept: torch.Tensor = self.get_buffer("hidden_truth")
        if numbers.shape != kept.shape[1:]:
            raise UserInputError(f"{numbers.numel()} numbers of hidden truth; this network takes {kept.shape[1]}")
        kept.copy_(numbers.to(kept)[None])

    def forward(self, inputs: FusionInputs) -> torch.Tensor:
        """See `FusionNetwork`."""
        fused: torch.Tensor = self.network(self._shown(inputs))
        return fused

    def of_f(self, f: torch.Tensor) -> torch.Tensor | None:
        """See `FusionNetwork`; every control sees f."""
        return self.network.of_f(f)

    def on_box(self, inputs: FusionInputs, box: Box, of_f: torch.Tensor | None = None) -> torch.Tensor:
        """See `FusionNetwork`."""
        return self.network.on_box(self._shown(inputs), box, of_f)

    def _shown(self, inputs: FusionInputs) -> FusionInputs:
        """What is left of the inputs."""
        if self.inputs_shown in ("no edit", "drawn slice only"):
            descriptions = torch.zeros_like(inputs.descriptions)
            inputs = replace(inputs, f_updated=inputs.f_of_each, descriptions=descriptions)
        if self.inputs_shown == "no edit":
            nothing = torch.zeros_like(inputs.edit_maps), torch.zeros_like(inputs.prototypes)
            inputs = replace(inputs, edit_maps=nothing[0], prototypes=nothing[1])
        hidden_truth = self.get_buffer("hidden_truth").expand(len(inputs), -1)
        hidden_truth = hidden_truth if self.inputs_shown == "hidden truth" else torch.zeros_like(hidden_truth)
        descriptions = torch.cat((inputs.descriptions[:, :DESCRIPTION_SIZE], hidden_truth), 1)
        return replace(inputs, descriptions=descriptions)


def build_blindfolded(settings: FusionSettings, inputs_shown: InputsShown) -> BlindfoldedFusion:
    """A network with fresh weights behind its blindfold."""
    return BlindfoldedFusion(build_fusion_network(settings), inputs_shown)
