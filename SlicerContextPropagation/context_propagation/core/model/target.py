"""The label or region that is refined, and how it is read off the network's output channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from context_propagation.core.errors import UserInputError


@dataclass(frozen=True)
class Target:
    """The label or region that is refined.

    Attributes:
        name: Its name.
        channel: The network's output channel.
        label: Its value in a predicted labelmap; of a region its own value first, then those of the regions inside it.
        trained: Its values in a labelmap of the training, where they are others than `label`; else empty.
        outer: The values, in a predicted labelmap, of the regions that this one lies in, the innermost first.
    """

    name: str
    channel: int
    label: tuple[int, ...]
    trained: tuple[int, ...] = ()
    outer: tuple[int, ...] = ()

    @property
    def truth_values(self) -> tuple[int, ...]:
        """Its values in a labelmap as the training had them."""
        return self.trained or self.label


@dataclass(frozen=True)
class TargetRule:
    """How logits decide on the target: one implementation for every `SegmentationModel`.

    Attributes:
        channel: The target's output channel.
        regions: The channels are independent regions (sigmoid), not labels that exclude each other (softmax).
    """

    channel: int
    regions: bool

    def logit(self, logits: torch.Tensor) -> torch.Tensor:
        """See `SegmentationModel.target_logit`: z_target - logsumexp(the others), or the region's own channel."""
        if self.regions:
            return logits[:, self.channel]
        others = torch.cat((logits[:, : self.channel], logits[:, self.channel + 1 :]), 1)
        return logits[:, self.channel] - torch.logsumexp(others, 1)

    def margin(self, fold_logits: Sequence[torch.Tensor]) -> torch.Tensor:
        """See `SegmentationModel.target_margin`; where labels tie, the lowest has it, as with argmax."""
        target = self.channel
        if self.regions:
            return 2 * torch.stack([torch.sigmoid(logits[:, target]) for logits in fold_logits]).mean(0) - 1
        mean = torch.stack([torch.softmax(logits, 1) for logits in fold_logits]).mean(0)
        others = torch.cat((mean[:, :target], mean[:, target + 1 :]), 1)
        margin = mean[:, target] - others.amax(1)
        won_tie = (margin == 0) & (mean.argmax(1) == target)
        return margin.masked_fill(won_tie, torch.finfo(margin.dtype).tiny)


def chosen_label(names: Sequence[str], values: Sequence[object], label: str | int | None) -> int:
    """The number (from 0) of the label that a user names.

    Args:
        names: The labels that can be refined.
        values: The value of each in a labelmap; for a region, its values.
        label: Its name or value; None where there is only one.

    Raises:
        UserInputError: Unknown, or not given where there are several.
    """
    known = ", ".join(f"{name} ({value})" for name, value in zip(names, values, strict=True))
    if label is None:
        if len(names) != 1:
            raise UserInputError(f"The model has several labels: {known}; name the one to refine as the label")
        return 0
    for number, (name, value) in enumerate(zip(names, values, strict=True)):
        if str(label) == name or (isinstance(value, int) and str(label) == str(value)):
            return number
    raise UserInputError(f"The model has no label '{label}'; it has {known}")
