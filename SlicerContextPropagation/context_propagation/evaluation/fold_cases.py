"""Which cases train, validate and test in a fold of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest

import numpy as np

from context_propagation.core.errors import UserInputError
from context_propagation.evaluation.plan import EvaluationPlan
from context_propagation.evaluation.variants import STYLES, style_of


@dataclass(frozen=True)
class FoldCases:
    """Names of the cases of one test fold; no case is in two of them.

    Attributes:
        base: What the base model is trained on.
        fusion: What the fusion networks are trained on.
        validation: What chooses the best epoch of their training.
        thresholds: What chooses the far thresholds.
        test: What is tested.
    """

    base: tuple[str, ...]
    fusion: tuple[str, ...]
    validation: tuple[str, ...]
    thresholds: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return self.base + self.fusion + self.validation + self.thresholds + self.test


def cases_of_fold(folds: Mapping[str, int], plan: EvaluationPlan, fold: int) -> FoldCases:
    """Choose the cases: spread over the other folds in name order for the base model, the rest drawn by the seed.

    Args:
        folds: The fold of every case.
        plan: Says how many cases serve what.
        fold: Is tested.

    Raises:
        UserInputError: There are too few cases.
    """
    test = sorted(name for name, own in folds.items() if own == fold)
    others = sorted(name for name, own in folds.items() if own != fold)
    if not test:
        raise UserInputError(f"Fold {fold} has no cases in the data of '{plan.name}'; correct test_folds")
    needed = plan.base_cases + plan.fusion_cases + plan.validation_cases + plan.threshold_cases
    if needed > len(others):
        raise UserInputError(
            f"The protocol asks for {needed} training cases and {len(others)} lie outside fold {fold}; ask for fewer"
        )
    base = others[:: len(others) // plan.base_cases][: plan.base_cases]
    rest = [name for name in others if name not in base]
    drawn = np.random.default_rng([plan.seed, fold]).permutation(rest).tolist()
    if plan.variant == "observer style":
        drawn, test = _styles_in_turn(drawn), _styles_in_turn(test)
    of_kind = iter(drawn)
    counts = (plan.fusion_cases, plan.validation_cases, plan.threshold_cases)
    fusion, validation, thresholds = (tuple(islice(of_kind, count)) for count in counts)
    return FoldCases(tuple(base), fusion, validation, thresholds, tuple(test[: plan.test_cases]))


def _styles_in_turn(names: Sequence[str]) -> list[str]:
    """Every style equally often as long as there are cases of it, in the given order within a style."""
    of_style = [[name for name in names if style_of(name) == style] for style in STYLES]
    return [name for turn in zip_longest(*of_style) for name in turn if name is not None]
