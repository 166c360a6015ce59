"""All that decides a fusion network's architecture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from context_propagation.core.errors import UserInputError

Variant = Literal["paper", "adaptive", "attention"]


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
