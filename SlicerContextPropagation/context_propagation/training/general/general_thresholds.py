"""How sure the general far network must be before a far voxel changes: chosen on examples of phantoms kept for it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import torch

from context_propagation.core.measures.regression import DSC_FALL
from context_propagation.core.propagation.fusion_network import FarThresholds
from context_propagation.core.propagation.general_network import GeneralFarNetwork
from context_propagation.training.general.general_example import GeneralExample
from context_propagation.training.general.general_training import corrected_logit

ADD = REMOVE = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


ALLOWED_REGRESSION = 0.02
"""Share of the far slices of the validation examples that may lose more than 0.02 DSC."""


def choose_general_thresholds(
    network: GeneralFarNetwork, examples: Sequence[GeneralExample], allowed: float = ALLOWED_REGRESSION
) -> tuple[FarThresholds, dict[str, float]]:
    """The pair with the best mean DSC of far slices among those with which few enough slices become worse.

    Args:
        network: The trained one.
        examples: None of which it learned from.
        allowed: Share of far slices that may become worse.

    Returns:
        The choice (1 and 1, which change nothing, where none is safe enough), and its figures.
    """
    counted = {pair: _Count() for pair in product(ADD, REMOVE)}
    for example in examples:
        margin = torch.tanh(corrected_logit(network, example, "edit") / 2)[example.far]
        before, truth = (example.logit > 0)[example.far], example.truth[example.far]
        for (add, remove), count in counted.items():
            count.include(before, (before & (margin >= -remove)) | (margin > add), truth)
    best, best_dsc = (1.0, 1.0), -1.0
    for pair, count in counted.items():
        if count.regression <= allowed and count.dsc > best_dsc:
            best, best_dsc = pair, count.dsc
    chosen, untouched = counted[best], counted[1.0, 1.0]
    figures = {"dsc": chosen.dsc, "untouched_dsc": untouched.dsc, "regression_rate": chosen.regression}
    return FarThresholds(*best), figures


class _Count:
    """DSC and regressions of one pair over examples."""

    def __init__(self) -> None:
        self.dscs: list[float] = []
        self.regressed = self.slices = 0

    def include(self, before: torch.Tensor, after: torch.Tensor, truth: torch.Tensor) -> None:
        self.dscs.append(float(_dsc(after[None].flatten(1), truth[None].flatten(1))))
        fall = _dsc(before.flatten(1), truth.flatten(1)) - _dsc(after.flatten(1), truth.flatten(1))
        self.regressed += int((fall > DSC_FALL + 1e-6).sum())
        self.slices += len(before)

    @property
    def dsc(self) -> float:
        return sum(self.dscs) / max(1, len(self.dscs))

    @property
    def regression(self) -> float:
        return self.regressed / max(1, self.slices)


def _dsc(found: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Of each row; 1 where both are empty."""
    total = found.sum(1) + truth.sum(1)
    return torch.where(total > 0, 2 * (found & truth).sum(1) / total.clamp(min=1), 1.0)
