"""What the general far network learns from: the evidence of one simulated edit, and the ground truth."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import torch

from context_propagation.core.errors import UserInputError
from context_propagation.core.optional_dependency import require
from context_propagation.core.storage.whole_file import whole_file


@dataclass(frozen=True)
class GeneralExample:
    """One edit; all arrays in a box around ground truth and prediction, the first axis along the slices' normal.

    Attributes:
        maps: float16 `[MAPS, D, H, W]`, see `FarEvidence`.
        numbers: `[NUMBERS]`.
        blind_maps: float16 `[MAPS, D, H, W]`, the same of an edit that draws what was predicted: the control's.
        blind_numbers: `[NUMBERS]`.
        logit: float16 `[D, H, W]`, the untouched target logit.
        updated_logit: float16 `[D, H, W]`, that of f'; the control sees nothing of it.
        truth: bool `[D, H, W]`.
        far: bool `[D]`: the slices outside N(s).
    """

    maps: torch.Tensor
    numbers: torch.Tensor
    blind_maps: torch.Tensor
    blind_numbers: torch.Tensor
    logit: torch.Tensor
    updated_logit: torch.Tensor
    truth: torch.Tensor
    far: torch.Tensor


def save_examples(examples: list[GeneralExample], path: Path) -> None:
    """Write them to a safetensors file, complete or not at all."""
    save = require("safetensors.torch", extra="nnunet").save_file
    tensors = {
        f"{number}.{item.name}": getattr(example, item.name).cpu().contiguous()
        for number, example in enumerate(examples)
        for item in fields(GeneralExample)
    }
    with whole_file(path) as partial:
        save(tensors, partial)


def load_examples(path: Path) -> list[GeneralExample]:
    """Read what `save_examples` wrote.

    Raises:
        UserInputError: The file is damaged.
    """
    try:
        tensors = require("safetensors.torch", extra="nnunet").load_file(path)
        count = len(tensors) // len(fields(GeneralExample))
        names = [item.name for item in fields(GeneralExample)]
        return [GeneralExample(**{name: tensors[f"{number}.{name}"] for name in names}) for number in range(count)]
    except (OSError, KeyError, ValueError, require("safetensors", extra="nnunet").SafetensorError) as error:
        raise UserInputError(f"'{path}' holds no examples ({error}); delete it and run again") from error
