"""Where a model computes."""

from __future__ import annotations

import torch

from context_propagation.core.errors import UserInputError


def select_device(name: str) -> torch.device:
    """Resolve "auto", "cpu" or "cuda".

    Raises:
        UserInputError: Unknown name, or "cuda" without a CUDA device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserInputError("Device 'cuda' was asked for and no CUDA device is available; use cpu or auto")
    if name not in ("cpu", "cuda"):
        raise UserInputError(f"Unknown device '{name}'; choose auto, cpu or cuda")
    return torch.device(name)
