"""How sure the general far network must be before a far voxel changes: chosen on examples of phantoms kept for it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import torch

from context_propagation.core.measures.regression import RegressionCount, regressed_slices, slice_dsc
from context_propagation.core.propagation.far_labels import expected_gains
from context_propagation.core.propagation.far_thresholds import FarThresholds
from context_propagation.core.propagation.general_far import FADING_SLICES
from context_propagation.core.propagation.general_network import GeneralFarNetwork
from context_propagation.training.general.general_example import GeneralExample
from context_propagation.training.general.general_training import corrected_logit

THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""For voxels that are added and removed alike: images and models in use are not those of the training, and one number
is less fitted to that than two."""


GAINS = (0.0, 0.02, 0.05, 0.08, 0.12, 0.2)
"""Even the first one holds back slices that are expected to lose."""


CANDIDATES = tuple(FarThresholds(one, one, FADING_SLICES, gain) for one, gain in product(THRESHOLDS, GAINS))


def choose_general_thresholds(
    network: GeneralFarNetwork, examples: Sequence[GeneralExample], allowed: float
) -> tuple[FarThresholds, dict[str, float]]:
    """The candidate with the best mean DSC of far slices among those with which few enough slices become worse.

    Args:
        network: The trained one.
        examples: None of which it learned from.
        allowed: Share of the far slices that may lose more than 0.02 DSC.

    Returns:
        The choice (thresholds of 1, which change nothing, where none is safe enough), and its figures.
    """
    counted = {candidate: _Count() for candidate in CANDIDATES}
    for example in examples:
        margin = torch.tanh(corrected_logit(network, example, "edit") / 2) / _shares(example)
        margin = margin.clamp(-1, 1)[example.far].numpy()
        before, truth = (example.logit > 0)[example.far].numpy(), example.truth[example.far].numpy()
        for threshold in THRESHOLDS:
            flips = np.where(before, margin < -threshold, margin > threshold)
            gains = expected_gains(margin, before, flips, np.zeros(len(before)), 0)
            for least in GAINS:
                taken = flips & (gains >= least)[:, None, None]
                counted[FarThresholds(threshold, threshold, FADING_SLICES, least)].include(
                    before, before ^ taken, truth
                )
    safe = [candidate for candidate, count in counted.items() if count.regression <= allowed]
    best = max(safe, key=lambda candidate: counted[candidate].dsc)
    chosen, untouched = counted[best], counted[CANDIDATES[-1]]
    figures = {"dsc": chosen.dsc, "untouched_dsc": untouched.dsc, "regression_rate": chosen.regression}
    return best, figures


def _shares(example: GeneralExample) -> torch.Tensor:
    """How much of the thresholds counts on each slice, `[D, 1, 1]`; see `FarThresholds`."""
    near = np.flatnonzero(~example.far.numpy())
    slices_away = np.abs(np.arange(len(example.far))[:, None] - near).min(1, initial=FADING_SLICES)
    share = FarThresholds(fading_slices=FADING_SLICES).share(slices_away)
    return torch.from_numpy(share)[:, None, None]


class _Count:
    """DSC and regressions of one threshold over examples."""

    def __init__(self) -> None:
        self.dscs: list[float] = []
        self.regressions: list[RegressionCount] = []

    def include(self, before: np.ndarray, after: np.ndarray, truth: np.ndarray) -> None:
        of_all = (voxels.reshape(1, 1, -1) for voxels in (after, truth))
        self.dscs.append(float(slice_dsc(*of_all, axis=0)[0]))
        self.regressions.append(regressed_slices(before, after, truth, 0, range(len(before))))

    @property
    def dsc(self) -> float:
        return sum(self.dscs) / max(1, len(self.dscs))

    @property
    def regression(self) -> float:
        return RegressionCount(
            sum(count.regressed for count in self.regressions), sum(count.untouched for count in self.regressions)
        ).rate
