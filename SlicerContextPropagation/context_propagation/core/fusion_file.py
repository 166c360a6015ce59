"""The weights of one fusion network in a safetensors file; nothing in it is code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from context_propagation.core.bundle_file import COPY_AGAIN
from context_propagation.core.errors import UserInputError
from context_propagation.core.fusion_network import FusionNetwork, FusionSettings, build_fusion_network
from context_propagation.core.optional_dependency import require


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
    with torch.device("meta"):
        network = build_fusion_network(settings)
    expected = network.state_dict()
    safetensors = require("safetensors", extra="nnunet")
    try:
        with safetensors.safe_open(file, framework="pt") as stored:
            _refuse_other_tensors(file, stored, expected)
            tensors = {name: stored.get_tensor(name).clone() for name in expected}
    except (OSError, safetensors.SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise UserInputError(f"'{file}' is truncated or damaged ({reason:.200}); {COPY_AGAIN}") from error
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise UserInputError(f"Tensor '{name}' in '{file}' holds NaN or infinite weights; make the bundle again")
    network.load_state_dict(tensors, assign=True)
    return network.eval().requires_grad_(False)


def _refuse_other_tensors(file: Path, stored: Any, expected: Mapping[str, torch.Tensor]) -> None:
    names = set(stored.keys())
    for name in sorted(expected.keys() - names):
        raise UserInputError(f"'{file}' lacks the tensor '{name}'; {COPY_AGAIN}")
    for name in sorted(names - expected.keys()):
        raise UserInputError(f"'{file}' has the tensor {name!r:.100}, which its network lacks; {COPY_AGAIN}")
    for name, tensor in expected.items():
        piece = stored.get_slice(name)
        found, wanted = (piece.get_dtype(), *piece.get_shape()), ("F32", *tensor.shape)
        if found != wanted:
            raise UserInputError(f"Tensor '{name}' in '{file}' is {_brief(found)}, not {_brief(wanted)}; {COPY_AGAIN}")


def _brief(kind: Sequence[object]) -> str:
    return f"{kind[0]} {' x '.join(map(str, kind[1:]))}"
