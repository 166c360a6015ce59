"""How the target is read off a network's output channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch


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


class DecidesByRule:
    """The part of a `SegmentationModel` that its rule alone answers; the model sets it as `_rule`."""

    _rule: TargetRule

    def target_logit(self, logits: torch.Tensor) -> torch.Tensor:
        """See `SegmentationModel`."""
        return self._rule.logit(logits)

    def target_margin(self, fold_logits: list[torch.Tensor]) -> torch.Tensor:
        """See `SegmentationModel`."""
        return self._rule.margin(fold_logits)

    def deciding_logits(self, logits: torch.Tensor) -> torch.Tensor:
        """See `SegmentationModel`."""
        return self._rule.deciding(logits)

    def margin_of_deciding(self, fold_logits: Sequence[torch.Tensor]) -> torch.Tensor:
        """See `SegmentationModel`."""
        return self._rule.margin_of_deciding(fold_logits)

    def is_target(self, fold_logits: list[torch.Tensor]) -> torch.Tensor:
        """See `SegmentationModel`."""
        return self.target_margin(fold_logits) > 0


def _mean(folds: Sequence[torch.Tensor]) -> torch.Tensor:
    """Of the folds, which are equally large."""
    return folds[0] if len(folds) == 1 else torch.stack(list(folds)).mean(0)
