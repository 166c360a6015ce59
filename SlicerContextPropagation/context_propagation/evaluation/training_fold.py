"""A fold of a base model, with the labelled cases that it never saw."""

from __future__ import annotations

from dataclasses import dataclass

from context_propagation.training.labelled_cases import LabelledCase, ModelSource


@dataclass(frozen=True)
class TrainingFold:
    """What is trained for a fold, and on what.

    Attributes:
        base: The base model with this fold alone.
        training: Cases to learn from.
        validation: Cases that choose epoch and thresholds.
    """

    base: ModelSource
    training: tuple[LabelledCase, ...]
    validation: tuple[LabelledCase, ...]
