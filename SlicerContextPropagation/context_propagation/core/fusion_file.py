"""The weights of one fusion network in a safetensors file; nothing in it is code."""

from __future__ import annotations

from pathlib import Path

from context_propagation.core.bundle_file import COPY_AGAIN
from context_propagation.core.fusion_network import FusionNetwork, FusionSettings, build_fusion_network
from context_propagation.core.optional_dependency import require
from context_propagation.core.weights_file import read_weights


def write_network(file: Path, network: FusionNetwork) -> None:
    """Write a network's weights.

    Raises:
        OSError: The file cannot be written.
    """
    serialize = require("safetensors.torch", extra="nnunet").save  # its save_file would let only this user read them
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    file.write_bytes(serialize(tensors))


def read_network(file: Path, settings: FusionSettings) -> FusionNetwork:
    """Read a network; nothing is allocated before the names, types and shapes of its tensors are right.

    Returns:
        The network on the CPU, in eval mode, without gradients for the weights.

    Raises:
        UserInputError: The file is damaged, its tensors are not those of this architecture, or not finite.
    """
    return read_weights(file, lambda: build_fusion_network(settings), COPY_AGAIN)
