"""Weights in a safetensors file: nothing in it is code, and nothing is allocated before it is found to fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require
from context_propagation.core.storage.own_files import refuse_foreign_file
from context_propagation.core.storage.sound_weights import refuse_unsound_weights

Network = TypeVar("Network", bound=nn.Module)


def read_weights(file: Path, build: Callable[[], Network], remedy: str) -> Network:
    """Read a network; nothing is allocated before the names, types and shapes of its tensors are right.

    Args:
        file: safetensors.
        build: Makes the network; it is called where tensors have no storage.
        remedy: What the user should do where the file is damaged.

    Returns:
        The network on the CPU, in eval mode, without gradients for the weights.

    Raises:
        UserInputError: The file is damaged, its tensors are not those of this architecture, or not finite.
    """
    refuse_foreign_file(file.parent, file)
    with torch.device("meta"):
        network = build()
    expected = network.state_dict()
    safetensors = require("safetensors", extra="nnunet")
    try:
        with safetensors.safe_open(file, framework="pt") as stored:
            _refuse_other_tensors(file, stored, expected, remedy)
            tensors = {name: stored.get_tensor(name).clone() for name in expected}
    except (OSError, safetensors.SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise UserInputError(f"'{file}' is truncated or damaged ({reason:.200}); {remedy}") from error
    refuse_unsound_weights(file, tensors, "train again")
    network.load_state_dict(tensors, assign=True)
    return network.eval().requires_grad_(False)


def _refuse_other_tensors(file: Path, stored: Any, expected: Mapping[str, torch.Tensor], remedy: str) -> None:
    names = set(stored.keys())
    for name in sorted(expected.keys() - names):
        raise UserInputError(f"'{file}' lacks the tensor '{name}'; {remedy}")
    for name in sorted(names - expected.keys()):
        raise UserInputError(f"'{file}' has the tensor {name!r:.100}, which its network lacks; {remedy}")
    for name, tensor in expected.items():
        piece = stored.get_slice(name)
        found, wanted = (piece.get_dtype(), *piece.get_shape()), ("F32", *tensor.shape)
        if found != wanted:
            raise UserInputError(f"Tensor '{name}' in '{file}' is {_brief(found)}, not {_brief(wanted)}; {remedy}")


def _brief(kind: Sequence[object]) -> str:
    return f"{kind[0]} {' x '.join(map(str, kind[1:]))}"
