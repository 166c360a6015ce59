"""The label or region that is refined, and how it is read off the network's output channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

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

    def __post_init__(self) -> None:
        try:
            self.name.encode()
        except UnicodeEncodeError:
            shown = ascii(self.name)
            raise UserInputError(
                f"The model's label {shown:.60} holds half a character, which no file can store; correct its name"
            ) from None

    @property
    def only_trained(self) -> tuple[int, ...]:
        """Values that it has in labelmaps of the training alone."""
        return tuple(value for value in self.trained if value not in self.label)

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

    def deciding(self, logits: torch.Tensor) -> torch.Tensor:
        """See `SegmentationModel.deciding_logits`."""
        if self.regions:
            return logits[:, self.channel : self.channel + 1]
        if self._against_background(logits):
            return logits[:, 1:] - logits[:, :1]
        return logits

    def margin(self, fold_logits: Sequence[torch.Tensor]) -> torch.Tensor:
        """See `SegmentationModel.target_margin`; where labels tie, the lowest has it, as with argmax."""
        return self.margin_of_deciding([self.deciding(logits) for logits in fold_logits])

    def margin_of_deciding(self, fold_logits: Sequence[torch.Tensor]) -> torch.Tensor:
        """The margin from the deciding logits of each fold; a single channel's sigmoid is the target's probability."""
        if fold_logits[0].shape[1] == 1:
            return 2 * _mean([torch.sigmoid(logits[:, 0]) for logits in fold_logits]) - 1
        mean = _mean([torch.softmax(logits, 1) for logits in fold_logits]).unbind(1)
        target, lower, higher = mean[self.channel], mean[: self.channel], mean[self.channel + 1 :]
        margin = target - reduce(torch.maximum, (*lower, *higher))
        won_tie = margin == 0
        for probability in lower:
            won_tie &= target > probability
        return margin.masked_fill(won_tie, torch.finfo(margin.dtype).tiny)

    def won(self, logits: torch.Tensor) -> torch.Tensor:
        """Where the target has the largest logit, as with argmax, which takes the lowest of equal ones; or its region.

        Args:
            logits: `[C, D, H, W]`, on the CPU, of any precision; looked at slice by slice.

        Returns:
            bool `[D, H, W]`.
        """
        won = torch.empty(logits.shape[1:], dtype=torch.bool)
        for number in range(logits.shape[1]):
            target = logits[self.channel, number].float()
            if self.regions:
                won[number] = torch.sigmoid(target) > 0.5
                continue
            won[number] = True
            for channel in range(len(logits)):
                if channel != self.channel:
                    other = logits[channel, number].float()
                    won[number] &= target > other if channel < self.channel else target >= other
        return won

    def _against_background(self, logits: torch.Tensor) -> bool:
        return logits.shape[1] == 2 and self.channel == 1


def _mean(folds: Sequence[torch.Tensor]) -> torch.Tensor:
    """Of the folds, which are equally large."""
    return folds[0] if len(folds) == 1 else torch.stack(list(folds)).mean(0)


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
